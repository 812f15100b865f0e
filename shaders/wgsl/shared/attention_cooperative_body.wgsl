// As attention, on matrix units: the lanes of a subgroup hold a cooperative matrix between them and multiply
// two of them together. Queries, keys, values and probabilities are in f16, sums in f32. A workgroup of four
// subgroups owns 4·SIDE queries of one head, each subgroup SIDE of them, and walks over the keys twice,
// 2·SIDE at a time: once for the largest score of each query, once for the probabilities and what they weigh.
// A single walk would have to scale the sums of a query whenever a larger score comes, and a lane does not
// know which values of a matrix it holds. The second product costs a matrix unit little.

#include "shared/attention_params.wgsl"

/// [images · tokens, (query, key, value), heads, head size]
@group(0) @binding(1) var<storage, read> query_key_value: array<vec4<f16>>;
@group(0) @binding(4) var<storage, read_write> output: array<vec2<u32>>;

#include "shared/masks.wgsl"

const THREADS: u32 = 4u * LANES;
const QUERIES: u32 = 4u * SIDE;
const KEYS: u32 = 2u * SIDE;
const MAX_HEAD_SIZE: u32 = 64u;
// Matrices side by side in the largest head: four or eight.
const MATRICES: u32 = MAX_HEAD_SIZE / SIDE;
// Vectors of four values in a row of a matrix, and in a row of the largest head.
const FOURS: u32 = SIDE / 4u;
const HEAD: u32 = MAX_HEAD_SIZE / 4u;
// Elements of a tile that a row of a matrix takes.
const ROW: u32 = FOURS * ELEMENTS;
// Elements from one row to the next in workgroup memory, with room against bank conflicts.
const STRIDE: u32 = (HEAD + 2u) * ELEMENTS;
const SCORE_STRIDE: u32 = (KEYS / 4u + 1u) * ELEMENTS;
const PROBABILITY_STRIDE: u32 = (KEYS / 4u + 2u) * ELEMENTS;
// Lanes that share a query, and vectors of scores that each of them has.
const LANES_PER_QUERY: u32 = LANES / SIDE;
const SCORES_PER_LANE: u32 = KEYS / 4u / LANES_PER_QUERY;
// Vectors of a block that a thread brings.
const BROUGHT: u32 = KEYS * HEAD / THREADS;

alias Block = array<vec4<f16>, BROUGHT>;

// [query][channel]
var<workgroup> queries: array<Halves, QUERIES * STRIDE>;
// [key][channel]
var<workgroup> keys: array<Halves, KEYS * STRIDE>;
var<workgroup> values: array<Halves, KEYS * STRIDE>;
// [query][key]; at the end, [query][channel] of one matrix. A subgroup meets its own queries alone.
var<workgroup> scores: array<Floats, QUERIES * SCORE_STRIDE>;
// [query][key]
var<workgroup> probabilities: array<Halves, QUERIES * PROBABILITY_STRIDE>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let workgroup = workgroup_id + params.first_workgroup;
    let size = params.head_size / 4u;
    let width = params.heads * size;
    let head = workgroup.y * size;
    let sequence = sequence_of(workgroup.z);
    let first_query = workgroup.x * QUERIES;
    for (var i = thread; i < QUERIES * HEAD; i += THREADS) {
        let vector = read_vector(sequence, first_query + i / HEAD, head, i % HEAD);
        put_queries(i / HEAD * STRIDE + i % HEAD * ELEMENTS, vector);
    }

    // What this lane does with scores: a part of one query's.
    let own = subgroup * SIDE;
    let row = own + lane / LANES_PER_QUERY;
    let query = first_query + row;
    let part = lane % LANES_PER_QUERY * SCORES_PER_LANE;

    // While a block is worked on, the next one is on its way.
    var next_keys = read_block(thread, sequence, 0u, width + head);
    var largest = LOWEST;
    for (var first_key = 0u; first_key < sequence.length; first_key += KEYS) {
        workgroupBarrier();
        for (var i = 0u; i < BROUGHT; i++) { put_keys(staged(thread, i), next_keys[i]); }
        workgroupBarrier();
        next_keys = read_block(thread, sequence, first_key + KEYS, width + head);
        multiply_keys(own);
        subgroupBarrier();
        for (var i = part; i < part + SCORES_PER_LANE; i++) {
            let masks = masks_of_four(sequence, first_key + 4u * i, query);
            let scaled = params.scale * four_sums(row * SCORE_STRIDE + i * ELEMENTS);
            let score = select(vec4(LOWEST), scaled, masks == vec4(0u));
            largest = max(largest, max(max(score.x, score.y), max(score.z, score.w)));
        }
    }
    if LANES_PER_QUERY > 1u { largest = max(largest, subgroupShuffleXor(largest, 1u)); }
    if LANES_PER_QUERY > 2u { largest = max(largest, subgroupShuffleXor(largest, 2u)); }

    next_keys = read_block(thread, sequence, 0u, width + head);
    var next_values = read_block(thread, sequence, 0u, 2u * width + head);
    var total = 0.0;
    var first = Sum();
    var second = Sum();
    var third = Sum();
    var fourth = Sum();
    // Of heads that take more than four matrices.
    var fifth = Sum();
    var sixth = Sum();
    var seventh = Sum();
    var eighth = Sum();
    for (var first_key = 0u; first_key < sequence.length; first_key += KEYS) {
        workgroupBarrier();
        for (var i = 0u; i < BROUGHT; i++) {
            put_keys(staged(thread, i), next_keys[i]);
            put_values(staged(thread, i), next_values[i]);
        }
        workgroupBarrier();
        next_keys = read_block(thread, sequence, first_key + KEYS, width + head);
        next_values = read_block(thread, sequence, first_key + KEYS, 2u * width + head);
        multiply_keys(own);
        subgroupBarrier();
        for (var i = part; i < part + SCORES_PER_LANE; i++) {
            let masks = masks_of_four(sequence, first_key + 4u * i, query);
            let scaled = params.scale * four_sums(row * SCORE_STRIDE + i * ELEMENTS);
            let score = select(vec4(LOWEST), scaled, masks == vec4(0u));
            let probability = select(vec4<f32>(), exp(score - largest), masks < vec4(2u));
            total += dot(probability, vec4(1.0));
            put_probabilities(row * PROBABILITY_STRIDE + i * ELEMENTS, vec4<f16>(probability));
        }
        subgroupBarrier();
        for (var k = 0u; k < 2u; k++) {
            let at = own * PROBABILITY_STRIDE + k * ROW;
            let weights = coopLoadT<Left>(&probabilities[at], PROBABILITY_STRIDE);
            let rows = k * SIDE * STRIDE;
            first = coopMultiplyAdd(weights, coopLoadT<Right>(&values[rows], STRIDE), first);
            if size > FOURS {
                second = coopMultiplyAdd(weights, coopLoadT<Right>(&values[rows + ROW], STRIDE), second);
            }
            if size > 2u * FOURS {
                third = coopMultiplyAdd(weights, coopLoadT<Right>(&values[rows + 2u * ROW], STRIDE), third);
            }
            if size > 3u * FOURS {
                fourth = coopMultiplyAdd(weights, coopLoadT<Right>(&values[rows + 3u * ROW], STRIDE), fourth);
            }
            if MATRICES > 4u {
                if size > 4u * FOURS {
                    fifth = coopMultiplyAdd(weights, coopLoadT<Right>(&values[rows + 4u * ROW], STRIDE), fifth);
                    sixth = coopMultiplyAdd(weights, coopLoadT<Right>(&values[rows + 5u * ROW], STRIDE), sixth);
                }
                if size > 6u * FOURS {
                    let columns = rows + 6u * ROW;
                    seventh = coopMultiplyAdd(weights, coopLoadT<Right>(&values[columns], STRIDE), seventh);
                    eighth = coopMultiplyAdd(weights, coopLoadT<Right>(&values[columns + ROW], STRIDE), eighth);
                }
            }
        }
    }
    if LANES_PER_QUERY > 1u { total += subgroupShuffleXor(total, 1u); }
    if LANES_PER_QUERY > 2u { total += subgroupShuffleXor(total, 2u); }

    let is_query = query < sequence.length;
    let start = (sequence.first + query) * width + head;
    subgroupBarrier();
    coopStoreT(first, &scores[own * SCORE_STRIDE], SCORE_STRIDE);
    subgroupBarrier();
    finish(is_query, row, lane, total, start, 0u);
    subgroupBarrier();
    coopStoreT(second, &scores[own * SCORE_STRIDE], SCORE_STRIDE);
    subgroupBarrier();
    finish(is_query, row, lane, total, start, FOURS);
    subgroupBarrier();
    coopStoreT(third, &scores[own * SCORE_STRIDE], SCORE_STRIDE);
    subgroupBarrier();
    finish(is_query, row, lane, total, start, 2u * FOURS);
    subgroupBarrier();
    coopStoreT(fourth, &scores[own * SCORE_STRIDE], SCORE_STRIDE);
    subgroupBarrier();
    finish(is_query, row, lane, total, start, 3u * FOURS);
    if MATRICES > 4u {
        subgroupBarrier();
        coopStoreT(fifth, &scores[own * SCORE_STRIDE], SCORE_STRIDE);
        subgroupBarrier();
        finish(is_query, row, lane, total, start, 4u * FOURS);
        subgroupBarrier();
        coopStoreT(sixth, &scores[own * SCORE_STRIDE], SCORE_STRIDE);
        subgroupBarrier();
        finish(is_query, row, lane, total, start, 5u * FOURS);
        subgroupBarrier();
        coopStoreT(seventh, &scores[own * SCORE_STRIDE], SCORE_STRIDE);
        subgroupBarrier();
        finish(is_query, row, lane, total, start, 6u * FOURS);
        subgroupBarrier();
        coopStoreT(eighth, &scores[own * SCORE_STRIDE], SCORE_STRIDE);
        subgroupBarrier();
        finish(is_query, row, lane, total, start, 7u * FOURS);
    }
}

// The scores of a subgroup's queries and the block's keys, not yet scaled.
fn multiply_keys(own: u32) {
    var left = Sum();
    var right = Sum();
    for (var i = 0u; i < params.head_size / 4u * ELEMENTS; i += ROW) {
        let rows = coopLoadT<Left>(&queries[own * STRIDE + i], STRIDE);
        left = coopMultiplyAdd(rows, coopLoad<Right>(&keys[i], STRIDE), left);
        right = coopMultiplyAdd(rows, coopLoad<Right>(&keys[SIDE * STRIDE + i], STRIDE), right);
    }
    coopStoreT(left, &scores[own * SCORE_STRIDE], SCORE_STRIDE);
    coopStoreT(right, &scores[own * SCORE_STRIDE + ROW], SCORE_STRIDE);
}

// Where a thread's vector of a block goes.
fn staged(thread: u32, i: u32) -> u32 {
    let place = thread + i * THREADS;
    return place / HEAD * STRIDE + place % HEAD * ELEMENTS;
}

// A thread's vectors of a block of keys, or values, which lie from `column` of their rows on.
fn read_block(thread: u32, sequence: Sequence, first_key: u32, column: u32) -> Block {
    var block: Block;
    for (var i = 0u; i < BROUGHT; i++) {
        let place = thread + i * THREADS;
        block[i] = read_vector(sequence, first_key + place / HEAD, column, place % HEAD);
    }
    return block;
}

// Four values of a token, zeros beyond the last token and beyond the head.
fn read_vector(sequence: Sequence, token: u32, column: u32, i: u32) -> vec4<f16> {
    let size = params.head_size / 4u;
    if token >= sequence.length || i >= size { return vec4<f16>(); }
    return query_key_value[(sequence.first + token) * 3u * params.heads * size + column + i];
}

// As masks_of, of four neighbouring keys.
fn masks_of_four(sequence: Sequence, key: u32, query: u32) -> vec4<u32> {
    return vec4(
        masks_of(sequence, key, query),
        masks_of(sequence, key + 1u, query),
        masks_of(sequence, key + 2u, query),
        masks_of(sequence, key + 3u, query),
    );
}

// A lane's share of one matrix of the output, whose channels start with the vector `channel`.
fn finish(is_query: bool, row: u32, lane: u32, total: f32, start: u32, channel: u32) {
    let share = max(FOURS / LANES_PER_QUERY, 1u);
    let first = lane % LANES_PER_QUERY * share;
    // Where more lanes share a query than a row has vectors, some have none to write.
    if LANES_PER_QUERY > FOURS && first >= FOURS { return; }
    for (var i = first; i < first + share; i++) {
        if is_query && channel + i < params.head_size / 4u {
            write_output(start + channel + i, four_sums(row * SCORE_STRIDE + i * ELEMENTS) / total);
        }
    }
}

#include "shared/write_output_f16.wgsl"
