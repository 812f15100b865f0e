// output[row, :] = (input[row, :] - mean) / sqrt(variance + epsilon) * weight + bias
//
// As layer_norm, loading vectors: columns must be a multiple of four, and at most MAX_COLUMNS, so that a row
// is read once and kept in registers. The output may be f16, two per word. In f32 a vector is two
// neighbouring pairs of words, which compilers store as one.

struct Params {
    rows: u32,
    columns: u32,
    epsilon: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> output: array<vec2<u32>>;

#include "shared/workgroup_sum.wgsl"

// Columns of the longest row: four vectors per thread.
const MAX_COLUMNS: u32 = 16u * THREADS;

// The vectors of a row that one thread has: every 64th. Zeros beyond the edge.
fn load(start: u32, vector: u32) -> vec4<f32> {
    if vector >= params.columns / 4u { return vec4<f32>(); }
    return input[start + vector];
}

// What a vector adds to the sum of squares around the mean.
fn squares(value: vec4<f32>, mean: f32, vector: u32) -> f32 {
    if vector >= params.columns / 4u { return 0.0; }
    let centred = value - mean;
    return dot(centred, centred);
}

fn store(value: vec4<f32>, start: u32, vector: u32, mean: f32, scale: f32) {
    if vector >= params.columns / 4u { return; }
    write_output(start + vector, (value - mean) * scale * weight[vector] + bias[vector]);
}

#include "shared/write_output_f16.wgsl"

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) grid: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row = workgroup.x + workgroup.y * grid.x;
    if row >= params.rows { return; }
    let start = row * (params.columns / 4u);
    let columns = f32(params.columns);

    let a = load(start, thread);
    let b = load(start, thread + THREADS);
    let c = load(start, thread + 2u * THREADS);
    let d = load(start, thread + 3u * THREADS);
    let mean = workgroup_sum(thread, dot(a + b + c + d, vec4(1.0))) / columns;
    let deviation = squares(a, mean, thread)
        + squares(b, mean, thread + THREADS)
        + squares(c, mean, thread + 2u * THREADS)
        + squares(d, mean, thread + 3u * THREADS);
    let scale = inverseSqrt(workgroup_sum(thread, deviation) / columns + params.epsilon);
    store(a, start, thread, mean, scale);
    store(b, start, thread + THREADS, mean, scale);
    store(c, start, thread + 2u * THREADS, mean, scale);
    store(d, start, thread + 3u * THREADS, mean, scale);
}
