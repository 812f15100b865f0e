// output[row, :] = (input[row, :] - mean) / sqrt(variance + epsilon) * weight + bias
//
// As layer_norm, for GPUs with subgroups of any size: a subgroup has a row to itself, so that no barrier is
// needed, and loads it as vectors. It reads the row three times, from cache after the first. Columns must be
// a multiple of four. The output may be f16, two per word.

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
    let vectors = params.columns / 4u;
    let columns = f32(params.columns);

    for (var row = first_row(workgroup, grid) + thread / lanes; row < end; row += THREADS / lanes) {
        let start = row * vectors;
        var sum = vec4<f32>();
        for (var vector = lane; vector < vectors; vector += lanes) { sum += input[start + vector]; }
        let mean = subgroupAdd(dot(sum, vec4(1.0))) / columns;

        var squares = vec4<f32>();
        for (var vector = lane; vector < vectors; vector += lanes) {
            let centred = input[start + vector] - mean;
            squares += centred * centred;
        }
        let scale = inverseSqrt(subgroupAdd(dot(squares, vec4(1.0))) / columns + params.epsilon);

        for (var vector = lane; vector < vectors; vector += lanes) {
            let centred = input[start + vector] - mean;
            write_output(start + vector, centred * scale * weight[vector] + bias[vector]);
        }
    }
}

#include "shared/write_output_f16.wgsl"
