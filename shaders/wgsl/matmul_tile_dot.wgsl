// output[M, N] = activation(input[M, K] · weight[N, K]ᵀ + bias[N]) + residual[M, N],
// where M is rows, N is columns and K is inner.
//
// As matmul_tile_vec4, as dot products: workgroup memory holds vectors of four values of K of one row or one
// column, in the order of global memory, and sums are accumulated with `dot`. Nothing is transposed. For GPUs
// with such an instruction.

#include "shared/matmul_params.wgsl"

#include "shared/operands_f32.wgsl"

// Rows and columns of the output that a workgroup makes.
const TILE: u32 = 64u;
// Inner values and vectors of these per step.
const DEPTH: u32 = 16u;
const VECTORS: u32 = 4u;
// Rows from one vector of a tile to the next: 64, and one against bank conflicts.
const STRIDE: u32 = 65u;

// [inner vector][row % 4][row / 4], and columns likewise: threads side by side read vectors side by side.
var<workgroup> input_tile: array<vec4<f32>, VECTORS * STRIDE>;
var<workgroup> weight_tile: array<vec4<f32>, VECTORS * STRIDE>;

@compute @workgroup_size(16, 8)
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
    let block_vector = thread % VECTORS;
    let block_four = thread % 64u / VECTORS;
    let place = block_vector * STRIDE + block_four;
    var upper: mat4x4<f32>;
    var lower: mat4x4<f32>;

    for (var depth = 0u; depth < params.inner; depth += DEPTH) {
        let vector = depth / 4u + block_vector;
        if thread < 64u {
            let row = first_row + 4u * block_four;
            input_tile[place] = input_vector(row, vector);
            input_tile[place + 16u] = input_vector(row + 1u, vector);
            input_tile[place + 32u] = input_vector(row + 2u, vector);
            input_tile[place + 48u] = input_vector(row + 3u, vector);
        } else {
            let column = first_column + 4u * block_four;
            weight_tile[place] = weight_vector(column, vector);
            weight_tile[place + 16u] = weight_vector(column + 1u, vector);
            weight_tile[place + 32u] = weight_vector(column + 2u, vector);
            weight_tile[place + 48u] = weight_vector(column + 3u, vector);
        }
        workgroupBarrier();
        for (var vector = 0u; vector < VECTORS; vector++) {
            let column = vector * STRIDE + local.x;
            let columns = mat4x4<f32>(
                weight_tile[column],
                weight_tile[column + 16u],
                weight_tile[column + 32u],
                weight_tile[column + 48u],
            );
            upper += inner_products(vector * STRIDE + local.y, columns);
            lower += inner_products(vector * STRIDE + local.y + 8u, columns);
        }
        workgroupBarrier();
    }

    let column = first_column / 4u + local.x;
    finish_block(upper, first_row + 4u * local.y, column);
    finish_block(lower, first_row + 32u + 4u * local.y, column);
}

// One vector's products of four rows, from a place in their tile on, and four columns.
fn inner_products(row: u32, columns: mat4x4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        inner_product(input_tile[row], columns),
        inner_product(input_tile[row + 16u], columns),
        inner_product(input_tile[row + 32u], columns),
        inner_product(input_tile[row + 48u], columns),
    );
}

fn inner_product(row: vec4<f32>, columns: mat4x4<f32>) -> vec4<f32> {
    return vec4(dot(row, columns[0]), dot(row, columns[1]), dot(row, columns[2]), dot(row, columns[3]));
}

#include "shared/input_vector.wgsl"

#include "shared/weight_vector.wgsl"

#include "shared/finish_block.wgsl"
