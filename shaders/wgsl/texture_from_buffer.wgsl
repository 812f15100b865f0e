// A row-major buffer [rows, columns] as an rgba32float texture of four columns per texel, the last texel
// padded with zeros.

struct Params {
    rows: u32,
    columns: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var output: texture_storage_2d<rgba32float, write>;

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let column = id.x * 4u;
    if id.y >= params.rows || column >= params.columns { return; }
    let start = id.y * params.columns + column;
    var texel = vec4(input[start], 0.0, 0.0, 0.0);
    if column + 1u < params.columns { texel.y = input[start + 1u]; }
    if column + 2u < params.columns { texel.z = input[start + 2u]; }
    if column + 3u < params.columns { texel.w = input[start + 3u]; }
    textureStore(output, id.xy, texel);
}
