// output[row, :] = (input[row, :] - mean) / sqrt(variance + epsilon) * weight + bias
//
// The form for software adapters: a workgroup is one subgroup and owns a row; textures of four columns a texel.
// Columns must be a multiple of four.

struct Params {
    rows: u32,
    column_texels: u32,
    epsilon: f32,
}

/// Of the subgroup.
override LANES: u32 = 8u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var input: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var output: texture_storage_2d<rgba32float, write>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let row = workgroup.x;
    let columns = f32(params.column_texels * 4u);

    var sum = vec4<f32>();
    for (var texel = lane; texel < params.column_texels; texel += LANES) {
        sum += textureLoad(input, vec2<u32>(texel, row));
    }
    let mean = subgroupAdd(dot(sum, vec4(1.0))) / columns;

    var squares = 0.0;
    for (var texel = lane; texel < params.column_texels; texel += LANES) {
        let centred = textureLoad(input, vec2<u32>(texel, row)) - mean;
        squares += dot(centred, centred);
    }
    let scale = inverseSqrt(subgroupAdd(squares) / columns + params.epsilon);

    for (var texel = lane; texel < params.column_texels; texel += LANES) {
        let place = vec2<u32>(texel, row);
        textureStore(output, place, (textureLoad(input, place) - mean) * scale * weight[texel] + bias[texel]);
    }
}
