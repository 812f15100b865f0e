// output[batch, M, N] = left[batch, M, K] · right[batch, K, N],
// where M is rows, K is inner and N is columns.
//
// The product of two activations: a 32×32 tile of the output per workgroup, 2×2 of it per thread, both
// operands staged 16 deep in workgroup memory. With `right_transposed`, `right` is [batch, N, K]. Any shape;
// edges are padded with zeros in the tile.

struct Params {
    rows: u32,
    inner: u32,
    columns: u32,
    right_transposed: u32,
    // One right operand stands for the whole batch.
    right_shared: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> left: array<f32>;
@group(0) @binding(2) var<storage, read> right: array<f32>;
@group(0) @binding(3) var<storage, read_write> output: array<f32>;

const TILE: u32 = 32u;
const DEPTH: u32 = 16u;

var<workgroup> left_tile: array<f32, TILE * DEPTH>;
var<workgroup> right_tile: array<f32, TILE * DEPTH>;

@compute @workgroup_size(16, 16)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let first_row = workgroup.y * TILE;
    let first_column = workgroup.x * TILE;
    let left_start = workgroup.z * params.rows * params.inner;
    let right_start = select(workgroup.z, 0u, params.right_shared != 0u) * params.inner * params.columns;
    var sums: array<array<f32, 2>, 2>;

    for (var depth = 0u; depth < params.inner; depth += DEPTH) {
        // Tiles are stored [depth][row]. Neighbouring threads read neighbouring values of a row, where rows
        // lie so.
        for (var i = thread; i < TILE * DEPTH; i += 256u) {
            let k = depth + i % DEPTH;
            let row = first_row + i / DEPTH;
            var a = 0.0;
            if row < params.rows && k < params.inner { a = left[left_start + row * params.inner + k]; }
            left_tile[(i % DEPTH) * TILE + i / DEPTH] = a;
            var b = 0.0;
            if params.right_transposed != 0u {
                let column = first_column + i / DEPTH;
                if column < params.columns && k < params.inner { b = right[right_start + column * params.inner + k]; }
                right_tile[(i % DEPTH) * TILE + i / DEPTH] = b;
            } else {
                let column = first_column + i % TILE;
                let l = depth + i / TILE;
                if column < params.columns && l < params.inner { b = right[right_start + l * params.columns + column]; }
                right_tile[i] = b;
            }
        }
        workgroupBarrier();
        for (var k = 0u; k < DEPTH; k++) {
            for (var i = 0u; i < 2u; i++) {
                let a = left_tile[k * TILE + local.y * 2u + i];
                for (var j = 0u; j < 2u; j++) {
                    sums[i][j] = fma(a, right_tile[k * TILE + local.x * 2u + j], sums[i][j]);
                }
            }
        }
        workgroupBarrier();
    }

    for (var i = 0u; i < 2u; i++) {
        let row = first_row + local.y * 2u + i;
        for (var j = 0u; j < 2u; j++) {
            let column = first_column + local.x * 2u + j;
            if row < params.rows && column < params.columns {
                output[(workgroup.z * params.rows + row) * params.columns + column] = sums[i][j];
            }
        }
    }
}
