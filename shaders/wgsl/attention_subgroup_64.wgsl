// output[image, query, head, :] = Σ_key softmax_key(scale · query · key) · value, for heads of at most 64 values
//
// The form for software adapters: textures of four columns a texel, a workgroup is one subgroup and owns ROWS queries of
// one head. For the scores a lane owns a key; for the values a lane owns texels of the head. Keys come a subgroup at a time,
// with a running maximum and sum (Milakov and Gimelshein 2018), so that no score is stored.
// A head's values fill whole texels. attention_subgroup_32 and _64 differ in the largest head alone.

struct Params {
    tokens: u32,
    heads: u32,
    causal: u32,
    has_mask: u32,
    scale: f32,
}

override SUBGROUP_SIZE: u32 = 8u;
/// The head's size / 4.
override TEXELS: u32 = 16u;

@group(0) @binding(0) var<uniform> params: Params;
/// [images · tokens, (query, key, value), heads, head size]
@group(0) @binding(1) var query_key_value: texture_2d<f32>;
/// [images, tokens], 0 for a key to be left out
@group(0) @binding(2) var<storage, read> key_mask: array<u32>;
@group(0) @binding(3) var output: texture_storage_2d<rgba32float, write>;

const LANE_TEXELS: u32 = 2u;
const ROWS: u32 = 16u;
// Adding the lowest float, as transformers masks, leaves it as it is; adding it twice gives -inf.
const LOWEST: f32 = -3.4028234e38;

@compute @workgroup_size(SUBGROUP_SIZE)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let head_texel = workgroup.y * TEXELS;
    let width = params.heads * TEXELS;
    let first_token = workgroup.z * params.tokens;
    let first_query = workgroup.x * ROWS;
    let last = params.tokens - 1u;
    // Eight lanes hold a query; more lanes hold copies.
    let own_texel = lane % 8u;

    var query: array<array<vec4<f32>, LANE_TEXELS>, ROWS>;
    var sums: array<array<vec4<f32>, LANE_TEXELS>, ROWS>;
    var largest: array<f32, ROWS>;
    var total: array<f32, ROWS>;
    for (var row = 0u; row < ROWS; row++) {
        let token = first_token + min(first_query + row, last);
        for (var i = 0u; i < LANE_TEXELS; i++) {
            let texel = head_texel + min(i * 8u + own_texel, TEXELS - 1u);
            query[row][i] = params.scale * textureLoad(query_key_value, vec2<u32>(texel, token), 0);
        }
        largest[row] = LOWEST;
    }

    for (var block = 0u; block < params.tokens; block += SUBGROUP_SIZE) {
        let key = block + lane;
        let key_token = first_token + min(key, last);
        var scores: array<f32, ROWS>;
        let key_0 = textureLoad(query_key_value, vec2<u32>(width + head_texel + 0u, key_token), 0);
        for (var row = 0u; row < ROWS; row++) { scores[row] = add_dot(scores[row], subgroupBroadcast(query[row][0u], 0u), key_0); }
        if TEXELS > 1u {
            let key_1 = textureLoad(query_key_value, vec2<u32>(width + head_texel + 1u, key_token), 0);
            for (var row = 0u; row < ROWS; row++) { scores[row] = add_dot(scores[row], subgroupBroadcast(query[row][0u], 1u), key_1); }
        }
        if TEXELS > 2u {
            let key_2 = textureLoad(query_key_value, vec2<u32>(width + head_texel + 2u, key_token), 0);
            for (var row = 0u; row < ROWS; row++) { scores[row] = add_dot(scores[row], subgroupBroadcast(query[row][0u], 2u), key_2); }
        }
        if TEXELS > 3u {
            let key_3 = textureLoad(query_key_value, vec2<u32>(width + head_texel + 3u, key_token), 0);
            for (var row = 0u; row < ROWS; row++) { scores[row] = add_dot(scores[row], subgroupBroadcast(query[row][0u], 3u), key_3); }
        }
        if TEXELS > 4u {
            let key_4 = textureLoad(query_key_value, vec2<u32>(width + head_texel + 4u, key_token), 0);
            for (var row = 0u; row < ROWS; row++) { scores[row] = add_dot(scores[row], subgroupBroadcast(query[row][0u], 4u), key_4); }
        }
        if TEXELS > 5u {
            let key_5 = textureLoad(query_key_value, vec2<u32>(width + head_texel + 5u, key_token), 0);
            for (var row = 0u; row < ROWS; row++) { scores[row] = add_dot(scores[row], subgroupBroadcast(query[row][0u], 5u), key_5); }
        }
        if TEXELS > 6u {
            let key_6 = textureLoad(query_key_value, vec2<u32>(width + head_texel + 6u, key_token), 0);
            for (var row = 0u; row < ROWS; row++) { scores[row] = add_dot(scores[row], subgroupBroadcast(query[row][0u], 6u), key_6); }
        }
        if TEXELS > 7u {
            let key_7 = textureLoad(query_key_value, vec2<u32>(width + head_texel + 7u, key_token), 0);
            for (var row = 0u; row < ROWS; row++) { scores[row] = add_dot(scores[row], subgroupBroadcast(query[row][0u], 7u), key_7); }
        }
        if TEXELS > 8u {
            let key_8 = textureLoad(query_key_value, vec2<u32>(width + head_texel + 8u, key_token), 0);
            for (var row = 0u; row < ROWS; row++) { scores[row] = add_dot(scores[row], subgroupBroadcast(query[row][1u], 0u), key_8); }
        }
        if TEXELS > 9u {
            let key_9 = textureLoad(query_key_value, vec2<u32>(width + head_texel + 9u, key_token), 0);
            for (var row = 0u; row < ROWS; row++) { scores[row] = add_dot(scores[row], subgroupBroadcast(query[row][1u], 1u), key_9); }
        }
        if TEXELS > 10u {
            let key_10 = textureLoad(query_key_value, vec2<u32>(width + head_texel + 10u, key_token), 0);
            for (var row = 0u; row < ROWS; row++) { scores[row] = add_dot(scores[row], subgroupBroadcast(query[row][1u], 2u), key_10); }
        }
        if TEXELS > 11u {
            let key_11 = textureLoad(query_key_value, vec2<u32>(width + head_texel + 11u, key_token), 0);
            for (var row = 0u; row < ROWS; row++) { scores[row] = add_dot(scores[row], subgroupBroadcast(query[row][1u], 3u), key_11); }
        }
        if TEXELS > 12u {
            let key_12 = textureLoad(query_key_value, vec2<u32>(width + head_texel + 12u, key_token), 0);
            for (var row = 0u; row < ROWS; row++) { scores[row] = add_dot(scores[row], subgroupBroadcast(query[row][1u], 4u), key_12); }
        }
        if TEXELS > 13u {
            let key_13 = textureLoad(query_key_value, vec2<u32>(width + head_texel + 13u, key_token), 0);
            for (var row = 0u; row < ROWS; row++) { scores[row] = add_dot(scores[row], subgroupBroadcast(query[row][1u], 5u), key_13); }
        }
        if TEXELS > 14u {
            let key_14 = textureLoad(query_key_value, vec2<u32>(width + head_texel + 14u, key_token), 0);
            for (var row = 0u; row < ROWS; row++) { scores[row] = add_dot(scores[row], subgroupBroadcast(query[row][1u], 6u), key_14); }
        }
        if TEXELS > 15u {
            let key_15 = textureLoad(query_key_value, vec2<u32>(width + head_texel + 15u, key_token), 0);
            for (var row = 0u; row < ROWS; row++) { scores[row] = add_dot(scores[row], subgroupBroadcast(query[row][1u], 7u), key_15); }
        }
        let masked = params.has_mask != 0u && key_mask[key_token] == 0u;
        for (var row = 0u; row < ROWS; row++) {
            let later = params.causal != 0u && key > first_query + row;
            var score = select(scores[row], LOWEST, masked || later);
            let none = key > last || (masked && later);
            let new_largest = max(largest[row], subgroupMax(select(score, LOWEST, none)));
            let probability = select(exp(score - new_largest), 0.0, none);
            let correction = exp(largest[row] - new_largest);
            largest[row] = new_largest;
            // A lane sums its own keys; the lanes are added up at the end.
            total[row] = total[row] * correction + probability;
            for (var i = 0u; i < LANE_TEXELS; i++) { sums[row][i] *= correction; }
            scores[row] = probability;
        }
        let value_0 = values(width, head_texel, own_texel, first_token + min(block + 0u, last));
        for (var row = 0u; row < ROWS; row++) { sums[row] = add_scaled(sums[row], subgroupBroadcast(scores[row], 0u), value_0); }
        let value_1 = values(width, head_texel, own_texel, first_token + min(block + 1u, last));
        for (var row = 0u; row < ROWS; row++) { sums[row] = add_scaled(sums[row], subgroupBroadcast(scores[row], 1u), value_1); }
        let value_2 = values(width, head_texel, own_texel, first_token + min(block + 2u, last));
        for (var row = 0u; row < ROWS; row++) { sums[row] = add_scaled(sums[row], subgroupBroadcast(scores[row], 2u), value_2); }
        let value_3 = values(width, head_texel, own_texel, first_token + min(block + 3u, last));
        for (var row = 0u; row < ROWS; row++) { sums[row] = add_scaled(sums[row], subgroupBroadcast(scores[row], 3u), value_3); }
        let value_4 = values(width, head_texel, own_texel, first_token + min(block + 4u, last));
        for (var row = 0u; row < ROWS; row++) { sums[row] = add_scaled(sums[row], subgroupBroadcast(scores[row], 4u), value_4); }
        let value_5 = values(width, head_texel, own_texel, first_token + min(block + 5u, last));
        for (var row = 0u; row < ROWS; row++) { sums[row] = add_scaled(sums[row], subgroupBroadcast(scores[row], 5u), value_5); }
        let value_6 = values(width, head_texel, own_texel, first_token + min(block + 6u, last));
        for (var row = 0u; row < ROWS; row++) { sums[row] = add_scaled(sums[row], subgroupBroadcast(scores[row], 6u), value_6); }
        let value_7 = values(width, head_texel, own_texel, first_token + min(block + 7u, last));
        for (var row = 0u; row < ROWS; row++) { sums[row] = add_scaled(sums[row], subgroupBroadcast(scores[row], 7u), value_7); }
        if SUBGROUP_SIZE == 16u {
            let value_8 = values(width, head_texel, own_texel, first_token + min(block + 8u, last));
            for (var row = 0u; row < ROWS; row++) { sums[row] = add_scaled(sums[row], subgroupBroadcast(scores[row], 8u), value_8); }
            let value_9 = values(width, head_texel, own_texel, first_token + min(block + 9u, last));
            for (var row = 0u; row < ROWS; row++) { sums[row] = add_scaled(sums[row], subgroupBroadcast(scores[row], 9u), value_9); }
            let value_10 = values(width, head_texel, own_texel, first_token + min(block + 10u, last));
            for (var row = 0u; row < ROWS; row++) { sums[row] = add_scaled(sums[row], subgroupBroadcast(scores[row], 10u), value_10); }
            let value_11 = values(width, head_texel, own_texel, first_token + min(block + 11u, last));
            for (var row = 0u; row < ROWS; row++) { sums[row] = add_scaled(sums[row], subgroupBroadcast(scores[row], 11u), value_11); }
            let value_12 = values(width, head_texel, own_texel, first_token + min(block + 12u, last));
            for (var row = 0u; row < ROWS; row++) { sums[row] = add_scaled(sums[row], subgroupBroadcast(scores[row], 12u), value_12); }
            let value_13 = values(width, head_texel, own_texel, first_token + min(block + 13u, last));
            for (var row = 0u; row < ROWS; row++) { sums[row] = add_scaled(sums[row], subgroupBroadcast(scores[row], 13u), value_13); }
            let value_14 = values(width, head_texel, own_texel, first_token + min(block + 14u, last));
            for (var row = 0u; row < ROWS; row++) { sums[row] = add_scaled(sums[row], subgroupBroadcast(scores[row], 14u), value_14); }
            let value_15 = values(width, head_texel, own_texel, first_token + min(block + 15u, last));
            for (var row = 0u; row < ROWS; row++) { sums[row] = add_scaled(sums[row], subgroupBroadcast(scores[row], 15u), value_15); }
        }
    }

    for (var row = 0u; row < ROWS; row++) {
        let inverse = 1.0 / subgroupAdd(total[row]);
        for (var i = 0u; i < LANE_TEXELS; i++) {
            let texel = i * 8u + lane;
            if lane < 8u && texel < TEXELS && first_query + row <= last {
                let place = vec2<u32>(head_texel + texel, first_token + first_query + row);
                textureStore(output, place, sums[row][i] * inverse);
            }
        }
    }
}

fn add_dot(sum: f32, a: vec4<f32>, b: vec4<f32>) -> f32 {
    return fma(a.w, b.w, fma(a.z, b.z, fma(a.y, b.y, fma(a.x, b.x, sum))));
}

// This lane's texels of a key's value.
fn values(width: u32, head_texel: u32, own_texel: u32, token: u32) -> array<vec4<f32>, LANE_TEXELS> {
    var loaded: array<vec4<f32>, LANE_TEXELS>;
    for (var i = 0u; i < LANE_TEXELS; i++) {
        let texel = 2u * width + head_texel + min(i * 8u + own_texel, TEXELS - 1u);
        loaded[i] = textureLoad(query_key_value, vec2<u32>(texel, token), 0);
    }
    return loaded;
}

fn add_scaled(
    sums: array<vec4<f32>, LANE_TEXELS>,
    factor: f32,
    values: array<vec4<f32>, LANE_TEXELS>,
) -> array<vec4<f32>, LANE_TEXELS> {
    var result: array<vec4<f32>, LANE_TEXELS>;
    for (var i = 0u; i < LANE_TEXELS; i++) { result[i] = fma(vec4(factor), values[i], sums[i]); }
    return result;
}
