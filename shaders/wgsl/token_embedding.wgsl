// output[token, :] = tokens[ids[token], :] + positions[position_ids[token], :]
//
// An index beyond its table is clamped to the last row, so that nothing behind the table is read.

struct Params {
    tokens: u32,
    columns: u32,
    /// Rows of the two tables.
    token_rows: u32,
    position_rows: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> ids: array<u32>;
@group(0) @binding(2) var<storage, read> position_ids: array<u32>;
@group(0) @binding(3) var<storage, read> token_table: array<f32>;
@group(0) @binding(4) var<storage, read> position_table: array<f32>;
@group(0) @binding(5) var<storage, read_write> output: array<f32>;

#include "shared/elements.wgsl"

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = element(id, grid);
    if i >= params.tokens * params.columns { return; }
    let token = i / params.columns;
    let column = i % params.columns;
    let row = min(ids[token], params.token_rows - 1u);
    let position = min(position_ids[token], params.position_rows - 1u);
    output[i] = token_table[row * params.columns + column] + position_table[position * params.columns + column];
}
