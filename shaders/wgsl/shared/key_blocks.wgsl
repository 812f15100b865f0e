// Blocks of sixteen keys, or values, which a workgroup loads together.

#include "shared/masks.wgsl"

const THREADS: u32 = 128u;
const KEYS: u32 = 16u;

// Of a key and every fourth one after it, up to the end of its block.
fn masks_of_keys(sequence: Sequence, key: u32, query: u32) -> vec4<u32> {
    return vec4(
        masks_of(sequence, key, query),
        masks_of(sequence, key + 4u, query),
        masks_of(sequence, key + 8u, query),
        masks_of(sequence, key + 12u, query),
    );
}

// A thread's two vectors of a block: keys, or values, of sixteen tokens, which lie from `column` of their
// rows on; zeros beyond the last token. Two are enough: the largest head has sixteen vectors, so a block has
// 256 for 128 threads.
fn read_block(thread: u32, sequence: Sequence, first_key: u32, column: u32) -> mat2x4<f32> {
    return mat2x4<f32>(
        read_vector(thread, sequence, first_key, column),
        read_vector(thread + THREADS, sequence, first_key, column),
    );
}

fn read_vector(i: u32, sequence: Sequence, first_key: u32, column: u32) -> vec4<f32> {
    let size = params.head_size / 4u;
    let key = first_key + i / size;
    if i >= KEYS * size || key >= sequence.length { return vec4<f32>(); }
    return read_input((sequence.first + key) * 3u * params.heads * size + column + i % size);
}
