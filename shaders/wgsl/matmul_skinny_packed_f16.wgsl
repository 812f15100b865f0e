// output[M, N] = activation(input[M, K] · weight[N, K]ᵀ + bias[N]) + residual[M, N],
// where M is rows, N is columns and K is inner.
//
// As matmul_skinny, with a weight of f16 values, two per word, as in matmul_tile_packed_f16. A workgroup owns
// four columns of four rows. The 32 threads of a column split K between them and then add up their partial
// sums. K and N must be multiples of four.

#include "shared/matmul_params.wgsl"

#include "shared/operands_packed_f16.wgsl"

// Threads that share a column.
const LANES: u32 = 32u;
// Rows and columns of the output that a workgroup makes.
const TILE_ROWS: u32 = 4u;
const TILE_COLUMNS: u32 = 4u;

// [column][thread of it], a component per row
var<workgroup> partial: array<vec4<f32>, TILE_COLUMNS * LANES>;

@compute @workgroup_size(TILE_COLUMNS * LANES)
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let workgroup = workgroup_id + params.first_workgroup;
    // In range, as columns are a multiple of four.
    let column = workgroup.x * TILE_COLUMNS + thread / LANES;
    let first_row = workgroup.y * TILE_ROWS;
    let lane = thread % LANES;
    let vectors = params.inner / 4u;
    // Rows beyond the edge repeat the last one; they are not written.
    let last_row = params.rows - 1u;
    let row_starts = vectors * min(vec4(first_row) + vec4(0u, 1u, 2u, 3u), vec4(last_row));

    var sums = vec4<f32>();
    for (var vector = lane; vector < vectors; vector += LANES) {
        let rows = mat4x4<f32>(
            read_input(row_starts.x + vector),
            read_input(row_starts.y + vector),
            read_input(row_starts.z + vector),
            read_input(row_starts.w + vector),
        );
        sums += read_weight(column * vectors + vector) * rows;
    }
    partial[thread] = sums;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if lane < half { partial[thread] += partial[thread + half]; }
        workgroupBarrier();
    }

    // The first four threads finish a row each.
    if thread >= 4u { return; }
    let sum = vec4(
        partial[0][thread],
        partial[LANES][thread],
        partial[2u * LANES][thread],
        partial[3u * LANES][thread],
    );
    finish(sum, first_row + thread, workgroup.x);
}

#include "shared/finish.wgsl"
