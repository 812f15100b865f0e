// output[row, :] = exp(input[row, :] - max) / sum
//
// As softmax, with subgroups of any size: a subgroup has a row to itself, so that no barrier is needed.

struct Params {
    rows: u32,
    columns: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

const LOWEST: f32 = -3.4028234e38;

#include "shared/rows_of_lanes.wgsl"

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let lanes = subgroupMax(lane) + 1u;
    let end = end_of_rows(workgroup, grid);

    for (var row = first_row(workgroup, grid) + thread / lanes; row < end; row += THREADS / lanes) {
        let start = row * params.columns;
        var largest = LOWEST;
        for (var column = lane; column < params.columns; column += lanes) {
            largest = max(largest, input[start + column]);
        }
        largest = subgroupMax(largest);

        var sum = 0.0;
        for (var column = lane; column < params.columns; column += lanes) {
            sum += exp(input[start + column] - largest);
        }
        sum = subgroupAdd(sum);

        for (var column = lane; column < params.columns; column += lanes) {
            output[start + column] = exp(input[start + column] - largest) / sum;
        }
    }
}
