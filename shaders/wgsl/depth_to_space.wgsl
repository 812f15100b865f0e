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

// Each value's place takes divisions by these two. They are constants because software adapters divide by
// anything else lane by lane, which took twice as long.
/// params.outer
override OUTER: u32 = 1u;
/// params.inner · params.channels: inner step d and channel lie side by side in the input, too.
override RUN: u32 = 1u;

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
    let length = params.width * OUTER * RUN;
    for (var i = thread; i < length; i += THREADS) {
        let step = i / RUN;
        let token = line * params.width + step / OUTER;
        let block = (token * OUTER + a) * OUTER + step % OUTER;
        output[row * length + i] = input[(block * params.inner + c) * RUN + i - step * RUN];
    }
}
