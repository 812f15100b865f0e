// The form for software adapters, built like matmul_subgroup: operands are storage textures of four columns
// per texel, and a workgroup is one subgroup of 8 or 16 lanes that owns ROWS queries of one head. While it
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

@group(0) @binding(0) var<uniform> params: Params;
/// [images · tokens, (query, key, value), heads, head size]
@group(0) @binding(1) var query_key_value: texture_storage_2d<rgba32float, read>;
@group(0) @binding(4) var output: texture_storage_2d<rgba32float, write>;

#include "shared/sequences.wgsl"

// A lane holds a texel of a head, and of eight lanes each may hold two.
const MAX_HEAD_SIZE: u32 = 64u;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let workgroup = workgroup_id + params.first_workgroup;
    let width = params.heads * TEXELS;
    let query_texel = workgroup.y * TEXELS;
    let key_texel = query_texel + width;
    let value_texel = key_texel + width;
    // For the values, groups of SHARE_LANES lanes divide the keys. Lanes without a texel do work that does
    // not count.
    let shares = LANES / SHARE_LANES;
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
    let first_query = workgroup.x * ROWS;
    let last = sequence.length - 1u;
    // Those of a packed batch are of many lengths, and the longest says how many workgroups each has.
    let end = select(0u, sequence.length, first_query <= last);

    var query_left: array<vec4<f32>, ROWS>;
    var query_right: array<vec4<f32>, ROWS>;
    var sums_left: array<vec4<f32>, ROWS>;
    var sums_right: array<vec4<f32>, ROWS>;
    var largest: array<f32, ROWS>;
    var total: array<vec4<f32>, ROWS>;
    for (var row = 0u; row < ROWS; row++) {
        let token = sequence.first + min(first_query + row, last);
        query_left[row] = params.scale * load(query_texel + lane % TEXELS, token);
        if LANES == 8u && TEXELS > 8u { query_right[row] = params.scale * load(query_texel + right_texel, token); }
        largest[row] = LOWEST;
    }

    for (var block = 0u; block < end; block += 4u * LANES) {
        let keys = vec4(block + lane) + LANES * vec4(0u, 1u, 2u, 3u);
        let tokens = vec4(sequence.first) + min(keys, vec4(last));
        let is_beyond = keys > vec4(last);
        var scores: array<vec4<f32>, ROWS>;
        // The lowest score is of no weight beside that of a key which is there.
        for (var row = 0u; row < ROWS; row++) { scores[row] = select(vec4<f32>(), vec4(LOWEST), is_beyond); }
        for (var source = 0u; source < min(TEXELS, LANES); source++) {
            if LANES == 8u {
                let key = transpose(load_four(key_texel + source, tokens));
                for (var row = 0u; row < ROWS; row++) {
                    scores[row] = accumulate(scores[row], subgroupShuffle(query_left[row], source), key);
                }
            } else {
                let key = transpose(load_four(key_texel + (lane + source) % TEXELS, tokens));
                for (var row = 0u; row < ROWS; row++) {
                    scores[row] = accumulate(scores[row], query_left[row], key);
                    query_left[row] = subgroupShuffle(query_left[row], next_texel);
                }
            }
        }
        for (var source = 8u; LANES == 8u && source < TEXELS; source++) {
            let key = transpose(load_four(key_texel + source, tokens));
            for (var row = 0u; row < ROWS; row++) {
                scores[row] = accumulate(scores[row], subgroupShuffle(query_right[row], source - 8u), key);
            }
        }

        var is_masked = vec4<bool>(false);
        if HIDES_KEYS != 0u && params.has_mask != 0u {
            let mask = vec4(key_mask[tokens.x], key_mask[tokens.y], key_mask[tokens.z], key_mask[tokens.w]);
            is_masked = mask == vec4(0u);
        }
        for (var row = 0u; row < ROWS; row++) {
            // A hidden key has the lowest score, and counts where all others are hidden, too. One that is
            // hidden twice never counts.
            var never_counts = vec4<bool>(false);
            if HIDES_KEYS != 0u {
                let is_later = vec4(params.causal != 0u) & (keys > vec4(first_query + row));
                scores[row] = select(scores[row], vec4(LOWEST), is_masked | is_later);
                never_counts = is_beyond | (is_masked & is_later);
            }
            let score = scores[row];
            let new_largest = max(largest[row], largest_of_all(max(max(score.x, score.y), max(score.z, score.w)), lane));
            let probability = select(exp(score - new_largest), vec4(0.0), never_counts);
            let correction = exp(largest[row] - new_largest);
            largest[row] = new_largest;
            // A lane sums its own keys; the lanes are added up at the end.
            total[row] = total[row] * correction + probability;
            sums_left[row] *= correction;
            if LANES == 8u && TEXELS > 8u { sums_right[row] *= correction; }
            scores[row] = probability;
        }

        for (var step = 0u; step < SHARE_LANES; step++) {
            let source = first_source + select((own + step) % SHARE_LANES, step, LANES == 8u);
            let keys = vec4(block + source) + LANES * vec4(0u, 1u, 2u, 3u);
            let tokens = vec4(sequence.first) + min(keys, vec4(last));
            let left = load_four(value_texel + left_texel, tokens);
            for (var row = 0u; row < ROWS; row++) {
                if LANES == 8u {
                    sums_left[row] = accumulate(sums_left[row], subgroupShuffle(scores[row], source), left);
                } else {
                    sums_left[row] = accumulate(sums_left[row], scores[row], left);
                    scores[row] = subgroupShuffle(scores[row], next_source);
                }
            }
            if LANES == 8u && TEXELS > 8u {
                let right = load_four(value_texel + right_texel, tokens);
                for (var row = 0u; row < ROWS; row++) {
                    sums_right[row] = accumulate(sums_right[row], subgroupShuffle(scores[row], source), right);
                }
            }
        }
    }

    for (var row = 0u; row < ROWS; row++) {
        let inverse = 1.0 / subgroupAdd(dot(total[row], vec4(1.0)));
        var left = sums_left[row];
        for (var share = 1u; share < shares; share++) {
            left += subgroupShuffle(sums_left[row], (lane + share * SHARE_LANES) % LANES);
        }
        if first_query + row <= last {
            let token = sequence.first + first_query + row;
            if lane < TEXELS {
                textureStore(output, vec2<u32>(query_texel + lane, token), left * inverse);
            }
            if LANES == 8u && lane + 8u < TEXELS {
                textureStore(output, vec2<u32>(query_texel + lane + 8u, token), sums_right[row] * inverse);
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
