// output[image, query, head, :] = Σ_key softmax_key(scale · query · key) · value
//
// As attention, for heads of a multiple of four values up to 64: a workgroup owns 32 queries of one head and
// walks over the keys 16 at a time, all of it in vectors of four channels. For the scores four threads share
// a query, each with every fourth key; for the values a thread owns four channels of four queries. Input and
// output may be f16, two per word. In f32 a vector is two neighbouring pairs of words, which compilers load
// as one.

#include "shared/attention_params.wgsl"

/// [images · tokens, (query, key, value), heads, head size]
@group(0) @binding(1) var<storage, read> query_key_value: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read_write> output: array<vec2<u32>>;

#include "shared/key_blocks.wgsl"

const QUERIES: u32 = 32u;
const MAX_HEAD_SIZE: u32 = 64u;
// Vectors from one row in workgroup memory to the next: those of a head, and one against bank conflicts.
const STRIDE: u32 = MAX_HEAD_SIZE / 4u + 1u;

var<workgroup> queries: array<vec4<f32>, QUERIES * STRIDE>;
// Keys, then values.
var<workgroup> block: array<vec4<f32>, KEYS * STRIDE>;
// [query][thread of it], a component for each of its keys
var<workgroup> probabilities: array<vec4<f32>, THREADS>;
// [query][thread of it]: its largest score, at the end its sum of probabilities
var<workgroup> partial: array<f32, THREADS>;
var<workgroup> corrections: array<f32, QUERIES>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let workgroup = workgroup_id + params.first_workgroup;
    let size = params.head_size / 4u;
    let width = params.heads * size;
    let head = workgroup.y * size;
    let sequence = sequence_of(workgroup.z);
    let first_query = workgroup.x * QUERIES;

    for (var i = thread; i < QUERIES * size; i += THREADS) {
        let query = first_query + i / size;
        var value = vec4<f32>();
        if query < sequence.length {
            value = params.scale * read_input((sequence.first + query) * 3u * width + head + i % size);
        }
        queries[i / size * STRIDE + i % size] = value;
    }

    let query = thread / 4u;
    let slot = thread % 4u;
    var largest = LOWEST;
    var total = 0.0;

    let channels = thread % 16u;
    let first_of_four = thread / 16u * 4u;
    var sums: mat4x4<f32>;

    // Each block is on its way while the one before is worked on: keys during the values, values during the
    // scores.
    let keys = width + head;
    let values = 2u * width + head;
    var next = read_block(thread, sequence, 0u, keys);
    for (var first_key = 0u; first_key < sequence.length; first_key += KEYS) {
        store_block(thread, next);
        workgroupBarrier();
        next = read_block(thread, sequence, first_key, values);

        var scores = vec4<f32>();
        for (var i = 0u; i < size; i++) {
            scores += queries[query * STRIDE + i] * block_rows(slot, i);
        }
        let key = first_key + slot;
        let masks = masks_of_keys(sequence, key, first_query + query);
        scores = select(vec4(LOWEST), scores, masks == vec4(0u));
        partial[thread] = max(max(scores.x, scores.y), max(scores.z, scores.w));
        workgroupBarrier();

        store_block(thread, next);
        next = read_block(thread, sequence, first_key + KEYS, keys);
        let four = query * 4u;
        let of_block = max(max(partial[four], partial[four + 1u]), max(partial[four + 2u], partial[four + 3u]));
        let new_largest = max(largest, of_block);
        let correction = exp(largest - new_largest);
        largest = new_largest;
        let probability = select(vec4<f32>(), exp(scores - largest), masks < vec4(2u));
        total = total * correction + dot(probability, vec4(1.0));
        probabilities[thread] = probability;
        if slot == 0u { corrections[query] = correction; }
        workgroupBarrier();

        sums = mat4x4<f32>(
            sums[0] * corrections[first_of_four],
            sums[1] * corrections[first_of_four + 1u],
            sums[2] * corrections[first_of_four + 2u],
            sums[3] * corrections[first_of_four + 3u],
        );
        if channels < size {
            for (var i = 0u; i < 4u; i++) {
                let place = first_of_four * 4u + i;
                sums += block_rows(i, channels) * mat4x4<f32>(
                    probabilities[place],
                    probabilities[place + 4u],
                    probabilities[place + 8u],
                    probabilities[place + 12u],
                );
            }
        }
        workgroupBarrier();
    }

    partial[thread] = total;
    workgroupBarrier();
    if channels >= size { return; }
    let queries_here = sequence.length - min(first_query, sequence.length);
    let start = (sequence.first + first_query) * width + head + channels;
    finish(sums[0], first_of_four, queries_here, start, width);
    finish(sums[1], first_of_four + 1u, queries_here, start, width);
    finish(sums[2], first_of_four + 2u, queries_here, start, width);
    finish(sums[3], first_of_four + 3u, queries_here, start, width);
}

// The vector of `channels` of every fourth row of the block, from `slot` on.
fn block_rows(slot: u32, channels: u32) -> mat4x4<f32> {
    let place = slot * STRIDE + channels;
    return mat4x4<f32>(
        block[place],
        block[place + 4u * STRIDE],
        block[place + 8u * STRIDE],
        block[place + 12u * STRIDE],
    );
}

fn store_block(thread: u32, vectors: mat2x4<f32>) {
    store_vector(thread, vectors[0]);
    store_vector(thread + THREADS, vectors[1]);
}

fn store_vector(i: u32, vector: vec4<f32>) {
    let size = params.head_size / 4u;
    if i < KEYS * size { block[i / size * STRIDE + i % size] = vector; }
}

fn finish(sum: vec4<f32>, query: u32, queries_here: u32, start: u32, width: u32) {
    if query >= queries_here { return; }
    let four = query * 4u;
    let total = partial[four] + partial[four + 1u] + partial[four + 2u] + partial[four + 3u];
    write_output(start + query * width, sum / total);
}

#include "shared/read_input_f16.wgsl" where input = query_key_value

#include "shared/write_output_f16.wgsl"
