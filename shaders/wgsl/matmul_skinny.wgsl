// output[M, N] = activation(input[M, K] · weight[N, K]ᵀ + bias[N]) + residual[M, N],
// where M is rows, N is columns and K is inner.
//
// The form for few rows, which is bound by reading the weight: a workgroup owns two columns of four rows. The
// 32 threads of a column split K between them and then add up their partial sums. K must be a multiple of
// four.

#include "shared/matmul_params.wgsl"

@group(0) @binding(1) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> residual: array<f32>;
@group(0) @binding(5) var<storage, read_write> output: array<f32>;

// Threads that share a column.
const LANES: u32 = 32u;
// Rows and columns of the output that a workgroup makes.
const TILE_ROWS: u32 = 4u;
const TILE_COLUMNS: u32 = 2u;

// [column][thread of it], a component per row
var<workgroup> partial: array<vec4<f32>, TILE_COLUMNS * LANES>;

@compute @workgroup_size(TILE_COLUMNS * LANES)
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let workgroup = workgroup_id + params.first_workgroup;
    let column = workgroup.x * TILE_COLUMNS + thread / LANES;
    let first_row = workgroup.y * TILE_ROWS;
    let lane = thread % LANES;
    let vectors = params.inner / 4u;
    // Rows beyond the edge repeat the last one; they are not written.
    let last_row = params.rows - 1u;
    let row_starts = vectors * min(vec4(first_row) + vec4(0u, 1u, 2u, 3u), vec4(last_row));

    var sums = vec4<f32>();
    if column < params.columns {
        for (var vector = lane; vector < vectors; vector += LANES) {
            let rows = mat4x4<f32>(
                input[row_starts.x + vector],
                input[row_starts.y + vector],
                input[row_starts.z + vector],
                input[row_starts.w + vector],
            );
            sums += weight[column * vectors + vector] * rows;
        }
    }
    partial[thread] = sums;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if lane < half { partial[thread] += partial[thread + half]; }
        workgroupBarrier();
    }

    // The first four threads of a column finish a row each.
    let row = first_row + lane;
    if lane >= 4u || row >= params.rows || column >= params.columns { return; }
    let place = row * params.columns + column;
    var value = partial[thread - lane][lane];
    if params.has_bias != 0u { value += bias[column]; }
    value = activate(value);
    if params.has_residual != 0u { value += residual[place]; }
    output[place] = value;
}

#include "shared/activate.wgsl"
