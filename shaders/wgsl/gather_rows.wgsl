// output[i, :] = input[rows[i], :]
//
// An index beyond the input is clamped to its last row, so that nothing behind the input is read.

struct Params {
    count: u32,
    columns: u32,
    /// Rows of the input.
    input_rows: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> rows: array<u32>;
@group(0) @binding(3) var<storage, read_write> output: array<f32>;

#include "shared/rows.wgsl"

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let i = row_of(workgroup, grid);
    if i >= params.count { return; }
    let row = min(rows[i], params.input_rows - 1u);
    for (var column = thread; column < params.columns; column += THREADS) {
        output[i * params.columns + column] = input[row * params.columns + column];
    }
}
