// A tile whose input stays in registers, for K and N that are multiples of four: a 32×256 tile of the output
// per workgroup, 8×4 of it per thread. All lanes of a subgroup own the same eight rows. They hold a strip of
// these between them, and each gets the vector that it needs next from the lane that has it. It is the same
// lane for all, so that compilers for Intel and AMD make that an operand or a move, not a shuffle. Only the
// weight goes through workgroup memory, in blocks of 4×4 that are transposed on their way.
//
// Subgroups may have any even number of lanes up to 64, by which they divide the 64 threads of a row of the
// tile. A subgroup is a run of neighbouring threads, as with every driver that is known.

const THREADS: u32 = 256u;
// Rows and columns of the output that a workgroup makes.
const TILE_ROWS: u32 = 32u;
const TILE_COLUMNS: u32 = 256u;
// Inner values and vectors of these per step.
const DEPTH: u32 = 16u;
const VECTORS: u32 = 4u;
// Vectors from one inner value of the tile to the next.
const STRIDE: u32 = TILE_COLUMNS / 4u;

// [inner value][column / 4]
var<workgroup> weight_tile: array<vec4<f32>, DEPTH * STRIDE>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let workgroup = workgroup_id + params.first_workgroup;
    // Half of the lanes hold the upper four of the rows and half the lower four, a vector of K each. The
    // lanes are counted, since a driver may run fewer together than the size that it reports.
    let half = (subgroupMax(lane) + 1u) / 2u;
    let first_row = workgroup.y * TILE_ROWS + thread / STRIDE * 8u;
    let held_row = first_row + lane / half * 4u;
    let first_column = workgroup.x * TILE_COLUMNS;
    // A thread's block of the weight; neighbours read neighbouring vectors.
    let block_vector = thread % VECTORS;
    let block_four = thread / VECTORS;
    let place = place_of(block_vector, block_four);
    let four = thread % STRIDE;
    let vectors = params.inner / 4u;
    var strip: mat4x4<f32>;
    var upper: mat4x4<f32>;
    var lower: mat4x4<f32>;

    // While a step is multiplied, the next one's block is on its way.
    var next = weight_block(first_column + 4u * block_four, block_vector);
    for (var start = 0u; start < vectors; start += VECTORS) {
        weight_tile[place] = next[0];
        weight_tile[place + STRIDE] = next[1];
        weight_tile[place + 2u * STRIDE] = next[2];
        weight_tile[place + 3u * STRIDE] = next[3];
        workgroupBarrier();
        next = weight_block(first_column + 4u * block_four, start + VECTORS + block_vector);
        for (var vector = 0u; vector < VECTORS; vector++) {
            let source = (start + vector) % half;
            if source == 0u { strip = input_strip(held_row, start + vector + lane % half); }
            let column = place_of(vector, four);
            let columns = mat4x4<f32>(
                weight_tile[column],
                weight_tile[column + STRIDE],
                weight_tile[column + 2u * STRIDE],
                weight_tile[column + 3u * STRIDE],
            );
            upper = multiply_strip(upper, strip, source, columns);
            lower = multiply_strip(lower, strip, half + source, columns);
        }
        workgroupBarrier();
    }

    let column = first_column / 4u + four;
    finish_block(upper, first_row, column);
    finish_block(lower, first_row + 4u, column);
}

// Where four columns' first of four inner values lies. Columns are swapped so that neither the threads that
// write blocks side by side nor those that read a row meet in a bank: padding against that would exceed the
// workgroup memory that every adapter has.
fn place_of(vector: u32, four: u32) -> u32 {
    return 4u * STRIDE * vector + (four ^ (2u * vector));
}

// Adds four inner values' products of four rows, which lane `source` holds, and four columns.
fn multiply_strip(
    sums: mat4x4<f32>,
    strip: mat4x4<f32>,
    source: u32,
    columns: mat4x4<f32>,
) -> mat4x4<f32> {
    return mat4x4<f32>(
        accumulate(sums[0], subgroupShuffle(strip[0], source), columns),
        accumulate(sums[1], subgroupShuffle(strip[1], source), columns),
        accumulate(sums[2], subgroupShuffle(strip[2], source), columns),
        accumulate(sums[3], subgroupShuffle(strip[3], source), columns),
    );
}

#include "shared/accumulate.wgsl"

#include "shared/input_strip.wgsl"

#include "shared/weight_block.wgsl"

#include "shared/finish_block.wgsl"
