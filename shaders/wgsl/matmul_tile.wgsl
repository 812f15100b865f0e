// output[M, N] = activation(input[M, K] · weight[N, K]ᵀ + bias[N]) + residual[M, N],
// where M is rows, N is columns and K is inner.
//
// The plain form for GPUs: a 64×64 tile of the output per workgroup, 4×4 of it per thread, both operands
// staged in workgroup memory, 16 values of K at a time. Any shape; the tiles are padded with zeros at the
// edges.

#include "shared/matmul_params.wgsl"

@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> residual: array<f32>;
@group(0) @binding(5) var<storage, read_write> output: array<f32>;

// Rows and columns of the output that a workgroup makes.
const TILE: u32 = 64u;
// Inner values per step.
const DEPTH: u32 = 16u;

var<workgroup> input_tile: array<f32, TILE * DEPTH>;
var<workgroup> weight_tile: array<f32, TILE * DEPTH>;

@compute @workgroup_size(16, 16)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let workgroup = workgroup_id + params.first_workgroup;
    let first_row = workgroup.y * TILE;
    let first_column = workgroup.x * TILE;
    var sums: array<array<f32, 4>, 4>;

    for (var depth = 0u; depth < params.inner; depth += DEPTH) {
        // Neighbouring threads read neighbouring values of a row; tiles are stored [depth][row].
        for (var i = thread; i < TILE * DEPTH; i += 256u) {
            let k = depth + i % DEPTH;
            let row = first_row + i / DEPTH;
            let column = first_column + i / DEPTH;
            let place = (i % DEPTH) * TILE + i / DEPTH;
            var a = 0.0;
            if row < params.rows && k < params.inner { a = input[row * params.inner + k]; }
            input_tile[place] = a;
            var b = 0.0;
            if column < params.columns && k < params.inner { b = weight[column * params.inner + k]; }
            weight_tile[place] = b;
        }
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            for (var i = 0u; i < 4u; i++) {
                let a = input_tile[k * TILE + local.y * 4u + i];
                for (var j = 0u; j < 4u; j++) {
                    sums[i][j] = fma(a, weight_tile[k * TILE + local.x * 4u + j], sums[i][j]);
                }
            }
        }
        workgroupBarrier();
    }

    for (var i = 0u; i < 4u; i++) {
        let row = first_row + local.y * 4u + i;
        for (var j = 0u; j < 4u; j++) {
            let column = first_column + local.x * 4u + j;
            if row < params.rows && column < params.columns {
                let place = row * params.columns + column;
                var value = sums[i][j];
                if params.has_bias != 0u { value += bias[column]; }
                value = activate(value);
                if params.has_residual != 0u { value += residual[place]; }
                output[place] = value;
            }
        }
    }
}

#include "shared/activate.wgsl"
