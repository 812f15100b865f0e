// output[image, query, head, :] = Σ_key softmax_key(scale · query · key) · value
//
// The plain form for GPUs, for heads of up to 128 values: a workgroup owns 16 queries of one head and walks
// over the keys eight at a time with a running maximum and sum (Milakov and Gimelshein 2018; Dao et al.
// 2022), so that no score reaches memory.

#include "shared/attention_params.wgsl"

/// [images · tokens, (query, key, value), heads, head size]
@group(0) @binding(1) var<storage, read> query_key_value: array<f32>;
@group(0) @binding(4) var<storage, read_write> output: array<f32>;

#include "shared/sequences.wgsl"

const QUERIES: u32 = 16u;
const KEYS: u32 = 8u;
const MAX_HEAD_SIZE: u32 = 128u;
// One per query and key of a block.
const THREADS: u32 = QUERIES * KEYS;
// Channels of a query that a thread owns of the largest head.
const CHANNELS: u32 = MAX_HEAD_SIZE / KEYS;

var<workgroup> queries: array<f32, QUERIES * MAX_HEAD_SIZE>;
var<workgroup> keys: array<f32, KEYS * MAX_HEAD_SIZE>;
var<workgroup> scores: array<f32, THREADS>;
var<workgroup> excluded: array<u32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let workgroup = workgroup_id + params.first_workgroup;
    let size = params.head_size;
    let width = params.heads * size;
    let head = workgroup.y * size;
    let sequence = sequence_of(workgroup.z);
    let first_query = workgroup.x * QUERIES;

    for (var i = thread; i < QUERIES * size; i += THREADS) {
        let query = first_query + i / size;
        var value = 0.0;
        if query < sequence.length {
            value = params.scale * query_key_value[(sequence.first + query) * 3u * width + head + i % size];
        }
        queries[i / size * MAX_HEAD_SIZE + i % size] = value;
    }

    // For the scores a thread owns a (query, key) pair; for the values every eighth channel of a query.
    let query = thread / KEYS;
    let slot = thread % KEYS;
    var largest = LOWEST;
    var total = 0.0;
    var sums: array<f32, CHANNELS>;

    for (var block = 0u; block < sequence.length; block += KEYS) {
        workgroupBarrier();
        load_block(thread, sequence, block, width + head, 3u * width);
        workgroupBarrier();

        let key = block + slot;
        var score = 0.0;
        for (var i = 0u; i < size; i++) {
            score = fma(queries[query * MAX_HEAD_SIZE + i], keys[slot * MAX_HEAD_SIZE + i], score);
        }
        var masked = false;
        if params.has_mask != 0u && key < sequence.length { masked = key_mask[sequence.first + key] == 0u; }
        let later = params.causal != 0u && key > first_query + query;
        scores[thread] = select(score, LOWEST, masked || later);
        excluded[thread] = u32(key >= sequence.length || (masked && later));
        workgroupBarrier();

        load_block(thread, sequence, block, 2u * width + head, 3u * width);
        var new_largest = largest;
        for (var i = 0u; i < KEYS; i++) {
            if excluded[query * KEYS + i] == 0u { new_largest = max(new_largest, scores[query * KEYS + i]); }
        }
        let correction = exp(largest - new_largest);
        largest = new_largest;
        total *= correction;
        for (var i = 0u; i < CHANNELS; i++) { sums[i] *= correction; }
        workgroupBarrier();

        for (var k = 0u; k < KEYS; k++) {
            if excluded[query * KEYS + k] == 0u {
                let probability = exp(scores[query * KEYS + k] - largest);
                total += probability;
                for (var i = 0u; i < CHANNELS; i++) {
                    sums[i] = fma(probability, keys[k * MAX_HEAD_SIZE + i * KEYS + slot], sums[i]);
                }
            }
        }
    }

    if first_query + query >= sequence.length { return; }
    for (var i = 0u; i < CHANNELS; i++) {
        let channel = i * KEYS + slot;
        if channel < size {
            output[(sequence.first + first_query + query) * width + head + channel] = sums[i] / total;
        }
    }
}

// Eight tokens' keys, or values, from `column` of their rows on; channels beyond the head's size are zero.
fn load_block(thread: u32, sequence: Sequence, block: u32, column: u32, stride: u32) {
    for (var i = thread; i < KEYS * MAX_HEAD_SIZE; i += THREADS) {
        let key = block + i / MAX_HEAD_SIZE;
        let channel = i % MAX_HEAD_SIZE;
        var value = 0.0;
        if key < sequence.length && channel < params.head_size {
            value = query_key_value[(sequence.first + key) * stride + column + channel];
        }
        keys[i] = value;
    }
}
