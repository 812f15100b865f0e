// output[outer, i, inner] = the mean of input[outer, j, inner] over all j inside the map with |i - j| ≤
// radius
//
// Run over rows and then over columns, it is the box filter of a map; windows are cut off at the map's edges.

struct Params {
    outer: u32,
    length: u32,
    inner: u32,
    radius: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

#include "shared/elements.wgsl"

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = element(id, grid);
    if i >= params.outer * params.length * params.inner { return; }
    let place = i / params.inner % params.length;
    let first = place - min(place, params.radius);
    let last = place + min(params.length - 1u - place, params.radius);
    let start = i - place * params.inner;
    var sum = 0.0;
    for (var j = first; j <= last; j++) {
        sum += input[start + j * params.inner];
    }
    output[i] = sum / f32(last - first + 1u);
}
