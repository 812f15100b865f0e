// Rows of the input that the lanes of a subgroup hold between them, a texel per lane and row, and what they
// multiply them with.

/// Of the subgroup: 8 or 16.
override LANES: u32 = 8u;

// Rows of the output that a workgroup makes.
const ROWS: u32 = 24u;
// Rows are kept in arrays of eight, because the loops over them must be unrolled: their arrays then live in
// registers; otherwise in memory, which lavapipe reads and writes lane by lane. Mesa 25.0 unrolls a loop over
// 8 rows, but not over 24.
alias EightRows = array<vec4<f32>, 8>;

#include "shared/accumulate.wgsl"

// Adds to eight rows of sums what the strip's texel of the lane `source` makes with the weight. After all
// lanes the strip is as before.
fn multiply(strip: ptr<function, EightRows>, sums: ptr<function, EightRows>, weight: mat4x4<f32>, source: u32, lane: u32) {
    for (var row = 0u; row < 8u; row++) {
        if LANES == 8u {
            (*sums)[row] = accumulate((*sums)[row], subgroupShuffle((*strip)[row], source), weight);
        } else {
            (*sums)[row] = accumulate((*sums)[row], (*strip)[row], weight);
            (*strip)[row] = subgroupShuffle((*strip)[row], (lane + 1u) % LANES);
        }
    }
}

// A texel of eight rows. Rows beyond the edge repeat the last one: loads stay inside the texture.
fn load_rows(rows: ptr<function, EightRows>, texel: u32, first_row: u32) {
    for (var row = 0u; row < 8u; row++) {
        (*rows)[row] = textureLoad(input, vec2<u32>(texel, min(first_row + row, params.rows - 1u)));
    }
}
