// An rgba32float texture of four columns per texel as a row-major buffer [rows, columns]; the padding is left
// behind.

struct Params {
    rows: u32,
    columns: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var input: texture_2d<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let column = id.x * 4u;
    if id.y >= params.rows || column >= params.columns { return; }
    let start = id.y * params.columns + column;
    let texel = textureLoad(input, id.xy, 0);
    output[start] = texel.x;
    if column + 1u < params.columns { output[start + 1u] = texel.y; }
    if column + 2u < params.columns { output[start + 2u] = texel.z; }
    if column + 3u < params.columns { output[start + 3u] = texel.w; }
}
