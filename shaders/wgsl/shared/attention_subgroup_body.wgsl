// The form for software adapters, built like matmul_subgroup: operands are storage textures of four columns
// per texel, and a workgroup is one subgroup of 8 or 16 lanes that owns QUERIES queries of one head. While it
// computes scores, a lane owns four keys. While it weighs values, a lane owns one texel of the head (two with
// 8 lanes); if the head has fewer texels than there are lanes, the lanes left over take a share of the keys.
// Keys come four per lane at a time, with a running maximum and sum (Milakov and Gimelshein 2018), so that no
// score is stored. With 8 lanes, subgroupShuffle passes a query's texel or a lane's four probabilities
// around; with 16, the lanes rotate what they hold by one, and each looks up what matches it. The head size
// is a multiple of four.

struct Params {
    /// Of an image, where all have as many.
    tokens: u32,
    heads: u32,
    causal: u32,
    has_mask: u32,
    has_cu_seqlens: u32,
    scale: f32,
    /// Where this dispatch begins: a long one may be cut into several.
    first_workgroup: vec3<u32>,
}

/// The head's size / 4. Of eight lanes each has a second texel, its right one, where there are more than
/// eight.
override TEXELS: u32 = 16u;
/// Lanes that have a head's texels between them: the next power of two, at most LANES.
override SHARE_LANES: u32 = 8u;
/// Of the subgroup: 8 or 16.
override LANES: u32 = 8u;

/// Whether some keys may be hidden from some queries: by a mask of keys, or because they come later.
override HIDES_KEYS: u32 = 1u;

@group(0) @binding(0) var<uniform> params: Params;
/// [images · tokens, (query, key, value), heads, head size]
@group(0) @binding(1) var query_key_value: texture_storage_2d<rgba32float, read>;
@group(0) @binding(4) var output: texture_storage_2d<rgba32float, write>;

#include "shared/sequences.wgsl"

// A lane holds a texel of a head, and of eight lanes each may hold two.
const MAX_HEAD_SIZE: u32 = 64u;
const QUERIES: u32 = BLOCKS * ROWS;

// A block of queries. The loops over its rows must be unrolled, as in matmul_subgroup: what they walk then
// lies in registers.
struct Block {
    query_left: array<vec4<f32>, ROWS>,
    query_right: array<vec4<f32>, ROWS>,
    sums_left: array<vec4<f32>, ROWS>,
    sums_right: array<vec4<f32>, ROWS>,
    largest: array<f32, ROWS>,
    total: array<vec4<f32>, ROWS>,
    scores: array<vec4<f32>, ROWS>,
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let workgroup = workgroup_id + params.first_workgroup;
    let width = params.heads * TEXELS;
    let query_texel = workgroup.y * TEXELS;
    let key_texel = query_texel + width;
    let value_texel = key_texel + width;
    // For the values, groups of SHARE_LANES lanes divide the keys. Lanes without a texel do work that does
    // not count.
    let own = lane % SHARE_LANES;
    let first_source = lane - own;
    // Texels and keys beyond the last repeat that; neither counts.
    let left_texel = min(own, TEXELS - 1u);
    let right_texel = min(lane + 8u, TEXELS - 1u);
    // Where sixteen lanes find the next texel of a query, and the next four probabilities.
    let next_texel = (lane % TEXELS + 1u) % TEXELS;
    let next_source = first_source + (own + 1u) % SHARE_LANES;
    let sequence = sequence_of(workgroup.z);
    // One without tokens has no last one that others could repeat.
    if sequence.length == 0u { return; }
    let first_query = workgroup.x * QUERIES;
    let last = sequence.length - 1u;

    var first: Block;
    var second: Block;
    load_queries(&first, query_texel, lane, sequence, first_query);
    if BLOCKS > 1u { load_queries(&second, query_texel, lane, sequence, first_query + ROWS); }

    for (var block = 0u; block < sequence.length; block += 4u * LANES) {
        let keys = vec4(block + lane) + LANES * vec4(0u, 1u, 2u, 3u);
        let tokens = vec4(sequence.first) + min(keys, vec4(last));
        let is_beyond = keys > vec4(last);
        // The lowest score is of no weight beside any other.
        let start = select(vec4<f32>(), vec4(LOWEST), is_beyond);
        begin_scores(&first, start);
        if BLOCKS > 1u { begin_scores(&second, start); }
        for (var source = 0u; source < min(TEXELS, LANES); source++) {
            let texel = select((lane + source) % TEXELS, source, LANES == 8u);
            let key = transpose(load_four(key_texel + texel, tokens));
            score(&first, key, source, next_texel);
            if BLOCKS > 1u { score(&second, key, source, next_texel); }
        }
        for (var source = 8u; LANES == 8u && source < TEXELS; source++) {
            let key = transpose(load_four(key_texel + source, tokens));
            score_right(&first, key, source);
            if BLOCKS > 1u { score_right(&second, key, source); }
        }

        if HIDES_KEYS != 0u {
            var is_masked = vec4<bool>(false);
            if params.has_mask != 0u {
                let mask = vec4(key_mask[tokens.x], key_mask[tokens.y], key_mask[tokens.z], key_mask[tokens.w]);
                is_masked = mask == vec4(0u);
            }
            weigh_some(&first, lane, keys, first_query, is_beyond, is_masked);
            if BLOCKS > 1u { weigh_some(&second, lane, keys, first_query + ROWS, is_beyond, is_masked); }
        } else {
            weigh(&first, lane);
            if BLOCKS > 1u { weigh(&second, lane); }
        }

        for (var step = 0u; step < SHARE_LANES; step++) {
            let source = first_source + select((own + step) % SHARE_LANES, step, LANES == 8u);
            let keys = vec4(block + source) + LANES * vec4(0u, 1u, 2u, 3u);
            let tokens = vec4(sequence.first) + min(keys, vec4(last));
            if LANES == 8u && TEXELS > 8u {
                let right = load_four(value_texel + right_texel, tokens);
                add_values_right(&first, right, source);
                if BLOCKS > 1u { add_values_right(&second, right, source); }
            }
            let left = load_four(value_texel + left_texel, tokens);
            add_values(&first, left, source, next_source);
            if BLOCKS > 1u { add_values(&second, left, source, next_source); }
        }
    }

    finish(&first, query_texel, lane, sequence, first_query);
    if BLOCKS > 1u { finish(&second, query_texel, lane, sequence, first_query + ROWS); }
}

fn load_queries(it: ptr<function, Block>, texel: u32, lane: u32, sequence: Sequence, first_query: u32) {
    for (var row = 0u; row < ROWS; row++) {
        let token = sequence.first + min(first_query + row, sequence.length - 1u);
        (*it).query_left[row] = params.scale * load(texel + lane % TEXELS, token);
        if LANES == 8u && TEXELS > 8u {
            (*it).query_right[row] = params.scale * load(texel + min(lane + 8u, TEXELS - 1u), token);
        }
        (*it).largest[row] = LOWEST;
    }
}

fn begin_scores(it: ptr<function, Block>, start: vec4<f32>) {
    for (var row = 0u; row < ROWS; row++) { (*it).scores[row] = start; }
}

// Adds to a lane's scores what the texel `source` of the queries makes with that of its keys; of sixteen
// lanes each has another texel.
fn score(it: ptr<function, Block>, key: mat4x4<f32>, source: u32, next_texel: u32) {
    for (var row = 0u; row < ROWS; row++) {
        if LANES == 8u {
            (*it).scores[row] = accumulate((*it).scores[row], subgroupShuffle((*it).query_left[row], source), key);
        } else {
            (*it).scores[row] = accumulate((*it).scores[row], (*it).query_left[row], key);
            (*it).query_left[row] = subgroupShuffle((*it).query_left[row], next_texel);
        }
    }
}

fn score_right(it: ptr<function, Block>, key: mat4x4<f32>, source: u32) {
    for (var row = 0u; row < ROWS; row++) {
        (*it).scores[row] = accumulate((*it).scores[row], subgroupShuffle((*it).query_right[row], source - 8u), key);
    }
}

// Turns scores into probabilities, relative to the largest score until now.
fn weigh(it: ptr<function, Block>, lane: u32) {
    for (var row = 0u; row < ROWS; row++) {
        let score = (*it).scores[row];
        let new_largest = max((*it).largest[row], largest_of_all(max(max(score.x, score.y), max(score.z, score.w)), lane));
        keep(it, row, exp(score - new_largest), new_largest);
    }
}

// As weigh, where keys may be hidden. One that is beyond the sequence's end is of no weight at all; a hidden
// one has the lowest score, and counts where all others of its query are hidden, too.
fn weigh_some(
    it: ptr<function, Block>, lane: u32, keys: vec4<u32>, first_query: u32, is_beyond: vec4<bool>, is_masked: vec4<bool>,
) {
    for (var row = 0u; row < ROWS; row++) {
        let is_later = vec4(params.causal != 0u) & (keys > vec4(first_query + row));
        let none = is_beyond | (is_masked & is_later);
        let score = select((*it).scores[row], vec4(LOWEST), is_masked | is_later);
        let seen = select(score, vec4(LOWEST), none);
        let new_largest = max((*it).largest[row], largest_of_all(max(max(seen.x, seen.y), max(seen.z, seen.w)), lane));
        keep(it, row, select(exp(score - new_largest), vec4(0.0), none), new_largest);
    }
}

// A lane sums its own keys; the lanes are added up at the end.
fn keep(it: ptr<function, Block>, row: u32, probability: vec4<f32>, new_largest: f32) {
    let correction = exp((*it).largest[row] - new_largest);
    (*it).largest[row] = new_largest;
    (*it).total[row] = (*it).total[row] * correction + probability;
    (*it).sums_left[row] *= correction;
    if LANES == 8u && TEXELS > 8u { (*it).sums_right[row] *= correction; }
    (*it).scores[row] = probability;
}

fn add_values(it: ptr<function, Block>, value: mat4x4<f32>, source: u32, next_source: u32) {
    for (var row = 0u; row < ROWS; row++) {
        if LANES == 8u {
            (*it).sums_left[row] = accumulate((*it).sums_left[row], subgroupShuffle((*it).scores[row], source), value);
        } else {
            (*it).sums_left[row] = accumulate((*it).sums_left[row], (*it).scores[row], value);
            (*it).scores[row] = subgroupShuffle((*it).scores[row], next_source);
        }
    }
}

fn add_values_right(it: ptr<function, Block>, value: mat4x4<f32>, source: u32) {
    for (var row = 0u; row < ROWS; row++) {
        (*it).sums_right[row] = accumulate((*it).sums_right[row], subgroupShuffle((*it).scores[row], source), value);
    }
}

fn finish(it: ptr<function, Block>, texel: u32, lane: u32, sequence: Sequence, first_query: u32) {
    let shares = LANES / SHARE_LANES;
    for (var row = 0u; row < ROWS; row++) {
        let inverse = 1.0 / subgroupAdd(dot((*it).total[row], vec4(1.0)));
        var left = (*it).sums_left[row];
        for (var share = 1u; share < shares; share++) {
            left += subgroupShuffle((*it).sums_left[row], (lane + share * SHARE_LANES) % LANES);
        }
        if first_query + row < sequence.length {
            let token = sequence.first + first_query + row;
            if lane < TEXELS {
                textureStore(output, vec2<u32>(texel + lane, token), left * inverse);
            }
            if LANES == 8u && lane + 8u < TEXELS {
                textureStore(output, vec2<u32>(texel + lane + 8u, token), (*it).sums_right[row] * inverse);
            }
        }
    }
}

// subgroupMax, which lavapipe does lane by lane.
fn largest_of_all(x: f32, lane: u32) -> f32 {
    let of_two = max(x, subgroupShuffle(x, lane ^ 1u));
    let of_four = max(of_two, subgroupShuffle(of_two, lane ^ 2u));
    let of_eight = max(of_four, subgroupShuffle(of_four, lane ^ 4u));
    if LANES == 8u { return of_eight; }
    return max(of_eight, subgroupShuffle(of_eight, lane ^ 8u));
}

fn load(texel: u32, token: u32) -> vec4<f32> {
    return textureLoad(query_key_value, vec2<u32>(texel, token));
}

// The same texel of four tokens.
fn load_four(texel: u32, tokens: vec4<u32>) -> mat4x4<f32> {
    return mat4x4<f32>(load(texel, tokens.x), load(texel, tokens.y), load(texel, tokens.z), load(texel, tokens.w));
}

#include "shared/accumulate.wgsl"
