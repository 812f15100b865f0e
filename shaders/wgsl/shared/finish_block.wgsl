// Four rows of four columns each, `column` counting vectors.
fn finish_block(sums: mat4x4<f32>, row: u32, column: u32) {
    finish(sums[0], row, column);
    finish(sums[1], row + 1u, column);
    finish(sums[2], row + 2u, column);
    finish(sums[3], row + 3u, column);
}

#include "shared/finish.wgsl"
