// One vector of four columns of the weight each, as four inner values of these columns.
fn weight_block(column: u32, vector: u32) -> mat4x4<f32> {
    return transpose(mat4x4<f32>(
        weight_vector(column, vector),
        weight_vector(column + 1u, vector),
        weight_vector(column + 2u, vector),
        weight_vector(column + 3u, vector),
    ));
}

#include "shared/weight_vector.wgsl"
