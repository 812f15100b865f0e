// output[M, N] = activation(input[M, K] · weight[N, K]ᵀ + bias[N]) + residual[M, N],
// where M is rows, N is columns and K is inner.
//
// As matmul_tile_vec4, with 8×8 of the 64×64 tile per thread and two tiles of each operand in workgroup
// memory: while one is multiplied the next is loaded, so that a step needs one barrier.

#include "shared/matmul_params.wgsl"

#include "shared/operands_f32.wgsl"

// Rows and columns of the output that a workgroup makes.
const TILE: u32 = 64u;
// Inner values and vectors of these per step.
const DEPTH: u32 = 8u;
const VECTORS: u32 = 2u;
// Vectors from one inner value of a tile to the next: sixteen, and one against bank conflicts.
const STRIDE: u32 = 17u;

// [step % 2][inner value][row / 4] and [step % 2][inner value][column / 4]
var<workgroup> input_tile: array<vec4<f32>, 2u * DEPTH * STRIDE>;
var<workgroup> weight_tile: array<vec4<f32>, 2u * DEPTH * STRIDE>;

@compute @workgroup_size(8, 8)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let workgroup = workgroup_id + params.first_workgroup;
    let first_row = workgroup.y * TILE;
    let first_column = workgroup.x * TILE;
    // Half of the threads stage the input and half the weight, a block each; neighbours read neighbouring
    // vectors.
    let stages_input = thread < 32u;
    let block_vector = thread % VECTORS;
    let block_four = thread % 32u / VECTORS;
    let place = block_vector * 4u * STRIDE + block_four;
    let first = select(first_column, first_row, stages_input) + 4u * block_four;
    var upper_left: mat4x4<f32>;
    var upper_right: mat4x4<f32>;
    var lower_left: mat4x4<f32>;
    var lower_right: mat4x4<f32>;

    stage(stages_input, place, block(stages_input, first, block_vector));
    let steps = (params.inner + DEPTH - 1u) / DEPTH;
    for (var step = 0u; step < steps; step++) {
        // The tiles of this step are whole from here on, and those of the one before are read no more.
        workgroupBarrier();
        let next = block(stages_input, first, (step + 1u) * VECTORS + block_vector);
        let start = step % 2u * DEPTH * STRIDE;
        for (var k = start; k < start + DEPTH * STRIDE; k += STRIDE) {
            let upper = input_tile[k + local.y];
            let lower = input_tile[k + local.y + 8u];
            let left = weight_tile[k + local.x];
            let right = weight_tile[k + local.x + 8u];
            upper_left = multiply_add(upper_left, upper, left);
            upper_right = multiply_add(upper_right, upper, right);
            lower_left = multiply_add(lower_left, lower, left);
            lower_right = multiply_add(lower_right, lower, right);
        }
        stage(stages_input, (step + 1u) % 2u * DEPTH * STRIDE + place, next);
    }

    let row = first_row + 4u * local.y;
    let column = first_column / 4u + local.x;
    finish_block(upper_left, row, column);
    finish_block(upper_right, row, column + 8u);
    finish_block(lower_left, row + 32u, column);
    finish_block(lower_right, row + 32u, column + 8u);
}

#include "shared/blocks.wgsl"

#include "shared/finish_block.wgsl"
