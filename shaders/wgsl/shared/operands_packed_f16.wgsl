// The weight in f16, two values per word, in vectors of four values of a row. The input and the output may be
// f16 too.
@group(0) @binding(1) var<storage, read> input: array<vec2<u32>>;
@group(0) @binding(2) var<storage, read> weight: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> output: array<vec2<u32>>;

#include "shared/read_input_f16.wgsl"

fn read_weight(place: u32) -> vec4<f32> {
    return widened(weight[place]);
}

#include "shared/write_output_f16.wgsl"
