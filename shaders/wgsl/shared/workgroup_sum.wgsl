// Threads of a workgroup, which has one row.
const THREADS: u32 = 64u;

var<workgroup> partial: array<f32, THREADS>;

// The sum over all threads, to each of them.
fn workgroup_sum(thread: u32, value: f32) -> f32 {
    partial[thread] = value;
    workgroupBarrier();
    for (var half = THREADS / 2u; half > 0u; half /= 2u) {
        if thread < half { partial[thread] += partial[thread + half]; }
        workgroupBarrier();
    }
    let sum = partial[0];
    workgroupBarrier();
    return sum;
}
