// output[M, N] = activation(input[M, K] · weight[N, K]ᵀ + bias[N]) + residual[M, N],
// where M is rows, N is columns and K is inner.
//
// The form for GPUs on which lanes of a subgroup exchange values faster than workgroup memory does: a
// workgroup owns eight rows, and a lane four columns of them. The lanes hold a strip of every row between
// them, four values of K each, and broadcast it lane by lane. Subgroups may have any size. K and N must be
// multiples of four.

#include "shared/matmul_params.wgsl"

#include "shared/operands_f32.wgsl"

const THREADS: u32 = 64u;
// Rows and columns of the output that a workgroup makes.
const TILE_ROWS: u32 = 8u;
const TILE_COLUMNS: u32 = 4u * THREADS;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let workgroup = workgroup_id + params.first_workgroup;
    // Counted, since a driver may run fewer lanes together than the size that it reports.
    let lanes = subgroupMax(lane) + 1u;
    let first_row = workgroup.y * TILE_ROWS;
    let column = workgroup.x * THREADS + thread;
    let vectors = params.inner / 4u;
    // Lanes beyond the edge repeat the last columns, as the others need their strips; nothing is written
    // there.
    let weight_start = 4u * min(column, params.columns / 4u - 1u) * vectors;
    var upper: mat4x4<f32>;
    var lower: mat4x4<f32>;

    for (var start = 0u; start < vectors; start += lanes) {
        let upper_strip = input_strip(first_row, start + lane);
        let lower_strip = input_strip(first_row + 4u, start + lane);
        for (var source = 0u; source < min(lanes, vectors - start); source++) {
            let place = weight_start + start + source;
            let columns = transpose(mat4x4<f32>(
                read_weight(place),
                read_weight(place + vectors),
                read_weight(place + 2u * vectors),
                read_weight(place + 3u * vectors),
            ));
            upper += columns * broadcast(upper_strip, source);
            lower += columns * broadcast(lower_strip, source);
        }
    }

    finish_block(upper, first_row, column);
    finish_block(lower, first_row + 4u, column);
}

fn broadcast(strip: mat4x4<f32>, source: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        subgroupShuffle(strip[0], source),
        subgroupShuffle(strip[1], source),
        subgroupShuffle(strip[2], source),
        subgroupShuffle(strip[3], source),
    );
}

#include "shared/input_strip.wgsl"

#include "shared/finish_block.wgsl"
