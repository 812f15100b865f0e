// output[i, :] = input[rows[i], :]
//
// As gather_rows, on textures of four columns per texel: between other subgroup kernels nothing is copied to
// buffers and back. A workgroup is one subgroup and takes ROWS rows.

struct Params {
    count: u32,
    /// Texels per row: columns / 4, rounded up.
    column_texels: u32,
    /// Rows of the input.
    input_rows: u32,
}

/// Of the subgroup: 8 or 16.
override LANES: u32 = 8u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var input: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var<storage, read> rows: array<u32>;
@group(0) @binding(3) var output: texture_storage_2d<rgba32float, write>;

const ROWS: u32 = 8u;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let first = workgroup.x * ROWS;
    for (var texel = lane; texel < params.column_texels; texel += LANES) {
        for (var i = first; i < min(first + ROWS, params.count); i++) {
            let row = min(rows[i], params.input_rows - 1u);
            textureStore(output, vec2(texel, i), textureLoad(input, vec2(texel, row)));
        }
    }
}
