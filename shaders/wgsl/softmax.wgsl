// output[row, :] = exp(input[row, :] - max) / sum
//
// One workgroup per row. The largest value is subtracted first; -inf stands for a key that is masked out.

struct Params {
    rows: u32,
    columns: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

const LOWEST: f32 = -3.4028234e38;

// Threads of a workgroup, which has one row.
const THREADS: u32 = 64u;

var<workgroup> partial: array<f32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row = workgroup.x + workgroup.y * grid.x;
    if row >= params.rows { return; }
    let start = row * params.columns;

    var largest = LOWEST;
    for (var column = thread; column < params.columns; column += THREADS) { largest = max(largest, input[start + column]); }
    partial[thread] = largest;
    workgroupBarrier();
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        if thread < half { partial[thread] = max(partial[thread], partial[thread + half]); }
        workgroupBarrier();
    }
    largest = partial[0];
    workgroupBarrier();

    var sum = 0.0;
    for (var column = thread; column < params.columns; column += THREADS) { sum += exp(input[start + column] - largest); }
    partial[thread] = sum;
    workgroupBarrier();
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        if thread < half { partial[thread] += partial[thread + half]; }
        workgroupBarrier();
    }

    for (var column = thread; column < params.columns; column += THREADS) {
        output[start + column] = exp(input[start + column] - largest) / partial[0];
    }
}
