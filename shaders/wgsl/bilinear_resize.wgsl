// output[image, :, :] = input[image, :, :] resized, as PyTorch's bilinear interpolation with
// align_corners=False does (no antialiasing: masks are enlarged to the photo). Input and output are tiles of
// whole maps, from a first row and column on: the map of a large photo is larger than the largest binding of
// an adapter.

struct Params {
    images: u32,
    // The whole maps.
    input_height: u32,
    input_width: u32,
    output_height: u32,
    output_width: u32,
    // The tiles.
    input_first_row: u32,
    input_first_column: u32,
    input_rows: u32,
    input_columns: u32,
    first_row: u32,
    first_column: u32,
    rows: u32,
    columns: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

#include "shared/elements.wgsl"

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = element(id, grid);
    if i >= params.images * params.rows * params.columns { return; }
    let x = params.first_column + i % params.columns;
    let y = params.first_row + i / params.columns % params.rows;
    let image = i / (params.columns * params.rows);
    let scale = vec2(
        f32(params.input_width) / f32(params.output_width),
        f32(params.input_height) / f32(params.output_height),
    );
    let source = max((vec2(f32(x), f32(y)) + 0.5) * scale - 0.5, vec2(0.0));
    let last = vec2(params.input_width - 1u, params.input_height - 1u);
    let near = min(vec2<u32>(source), last);
    let far = min(near + 1u, last);
    let t = source - vec2<f32>(near);
    let first = vec2(params.input_first_column, params.input_first_row);
    let left = near.x - first.x;
    let right = far.x - first.x;
    let top = (image * params.input_rows + near.y - first.y) * params.input_columns;
    let bottom = (image * params.input_rows + far.y - first.y) * params.input_columns;
    output[i] = mix(
        mix(input[top + left], input[top + right], t.x),
        mix(input[bottom + left], input[bottom + right], t.x),
        t.y,
    );
}
