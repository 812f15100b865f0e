// One vector of four rows of the input each.
fn input_strip(row: u32, vector: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        input_vector(row, vector),
        input_vector(row + 1u, vector),
        input_vector(row + 2u, vector),
        input_vector(row + 3u, vector),
    );
}

#include "shared/input_vector.wgsl"
