// output[row, :] = (input[row, :] - mean) / sqrt(variance + epsilon) * weight + bias
//
// One workgroup per row. Mean first, then the variance around it: the one-pass form loses digits where the
// mean is large.

struct Params {
    rows: u32,
    columns: u32,
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> output: array<f32>;

#include "shared/workgroup_sum.wgsl"

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row = workgroup.x + workgroup.y * grid.x;
    if row >= params.rows { return; }
    let start = row * params.columns;
    let columns = f32(params.columns);

    var sum = 0.0;
    for (var column = thread; column < params.columns; column += THREADS) { sum += input[start + column]; }
    let mean = workgroup_sum(thread, sum) / columns;

    var squares = 0.0;
    for (var column = thread; column < params.columns; column += THREADS) {
        let centred = input[start + column] - mean;
        squares += centred * centred;
    }
    let scale = inverseSqrt(workgroup_sum(thread, squares) / columns + params.epsilon);

    for (var column = thread; column < params.columns; column += THREADS) {
        output[start + column] = (input[start + column] - mean) * scale * weight[column] + bias[column];
    }
}
