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
    // A pixel of the outer steps, whose values of inner step d and channel lie side by side in the input,
    // too. Only the pixels are counted by division, which is slow, and slowest on software adapters.
    let pixels = params.width * params.outer;
    let run = params.inner * params.channels;
    for (var pixel = thread; pixel < pixels; pixel += THREADS) {
        let token = line * params.width + pixel / params.outer;
        let block = (token * params.outer + a) * params.outer + pixel % params.outer;
        let source = (block * params.inner + c) * run;
        let destination = (row * pixels + pixel) * run;
        for (var i = 0u; i < run; i++) {
            output[destination + i] = input[source + i];
        }
    }
}
