// output[row, :] = (input[row, :] - mean) / sqrt(variance + epsilon) * weight + bias
//
// As layer_norm, loading vectors: columns must be a multiple of four, and at most 1024, so that a row is read once and kept
// in registers. The output may be f16, two per word. In f32 a vector is two neighbouring pairs of words, which compilers
// store as one.

struct Params {
    rows: u32,
    columns: u32,
    epsilon: f32,
}

/// 1 where the output is to lie in f16; else it lies as a float per word.
override OUTPUT_F16: u32 = 0u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> output: array<vec2<u32>>;

var<workgroup> partial: array<f32, 64>;

fn workgroup_sum(thread: u32, value: f32) -> f32 {
    partial[thread] = value;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if thread < half { partial[thread] += partial[thread + half]; }
        workgroupBarrier();
    }
    let sum = partial[0];
    workgroupBarrier();
    return sum;
}

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

// Four values of the output, as it lies. What is beyond the largest half becomes that: an infinity would spread.
fn write_output(place: u32, value: vec4<f32>) {
    if OUTPUT_F16 != 0u {
        let bounded = clamp(value, vec4(-65504.0), vec4(65504.0));
        output[place] = vec2(pack2x16float(bounded.xy), pack2x16float(bounded.zw));
    } else {
        let words = bitcast<vec4<u32>>(value);
        output[2u * place] = words.xy;
        output[2u * place + 1u] = words.zw;
    }
}

@compute @workgroup_size(64)
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
    let b = load(start, thread + 64u);
    let c = load(start, thread + 128u);
    let d = load(start, thread + 192u);
    let mean = workgroup_sum(thread, dot(a + b + c + d, vec4(1.0))) / columns;
    let deviation = squares(a, mean, thread)
        + squares(b, mean, thread + 64u)
        + squares(c, mean, thread + 128u)
        + squares(d, mean, thread + 192u);
    let scale = inverseSqrt(workgroup_sum(thread, deviation) / columns + params.epsilon);
    store(a, start, thread, mean, scale);
    store(b, start, thread + 64u, mean, scale);
    store(c, start, thread + 128u, mean, scale);
    store(d, start, thread + 192u, mean, scale);
}
