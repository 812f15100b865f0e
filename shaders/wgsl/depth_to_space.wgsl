// output[image, (y, a, c), (x, b, d), channel] = input[image, y, x, a, b, c, d, channel]: the last half of
// one transposed convolution whose kernel equals its stride (inner = 1), or of two in a row: outer steps a
// and b, then inner steps c and d.

struct Params {
    images: u32,
    height: u32,
    width: u32,
    outer: u32,
    inner: u32,
    channels: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

#include "shared/rows.wgsl"

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row = row_of(workgroup, grid);
    let factor = params.outer * params.inner;
    if row >= params.images * params.height * factor { return; }
    // Of the input: the line of tokens, and the steps within its tokens.
    let line = row / factor;
    let a = row % factor / params.inner;
    let c = row % params.inner;
    // Values that lie side by side in the input, too: inner step d and channel.
    let run = params.inner * params.channels;
    let length = params.width * params.outer * run;
    for (var i = thread; i < length; i += THREADS) {
        let step = i / run;
        let token = line * params.width + step / params.outer;
        let block = (token * params.outer + a) * params.outer + step % params.outer;
        output[row * length + i] = input[(block * params.inner + c) * run + i - step * run];
    }
}
