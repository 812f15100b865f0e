// Blocks of 4×4 values of an operand, on their way from vectors of four values of K to workgroup memory,
// where a vector is four rows, or four columns, of one K.

fn block(of_input: bool, first: u32, vector: u32) -> mat4x4<f32> {
    if of_input { return input_block(first, vector); }
    return weight_block(first, vector);
}

fn stage(of_input: bool, place: u32, block: mat4x4<f32>) {
    if of_input {
        input_tile[place] = block[0];
        input_tile[place + STRIDE] = block[1];
        input_tile[place + 2u * STRIDE] = block[2];
        input_tile[place + 3u * STRIDE] = block[3];
    } else {
        weight_tile[place] = block[0];
        weight_tile[place + STRIDE] = block[1];
        weight_tile[place + 2u * STRIDE] = block[2];
        weight_tile[place + 3u * STRIDE] = block[3];
    }
}

#include "shared/input_vector.wgsl"

// One vector of four rows of the input each, as four inner values of these rows.
fn input_block(row: u32, vector: u32) -> mat4x4<f32> {
    return transpose(mat4x4<f32>(
        input_vector(row, vector),
        input_vector(row + 1u, vector),
        input_vector(row + 2u, vector),
        input_vector(row + 3u, vector),
    ));
}

#include "shared/weight_block.wgsl"

// Adds one inner value's products of four rows and four columns.
fn multiply_add(sums: mat4x4<f32>, rows: vec4<f32>, columns: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        fma(vec4(rows.x), columns, sums[0]),
        fma(vec4(rows.y), columns, sums[1]),
        fma(vec4(rows.z), columns, sums[2]),
        fma(vec4(rows.w), columns, sums[3]),
    );
}
