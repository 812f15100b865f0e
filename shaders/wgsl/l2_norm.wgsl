// output[row, :] = input[row, :] / |input[row, :]|
//
// One invocation per row: there are only as many rows as prompts or images.

struct Params {
    rows: u32,
    columns: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let row = id.x + id.y * grid.x * 64u;
    if row >= params.rows { return; }
    let start = row * params.columns;
    var squares = 0.0;
    for (var column = 0u; column < params.columns; column++) { squares += input[start + column] * input[start + column]; }
    let norm = sqrt(squares);
    for (var column = 0u; column < params.columns; column++) { output[start + column] = input[start + column] / norm; }
}
