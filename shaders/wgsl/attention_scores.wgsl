// scores[image, head, query, key] = scale · query · key, masked as transformers masks: the lowest float for a
// key that is masked or, in causal attention, later than its query; -inf for one that is both. softmax turns
// them into `attentions`.

struct Params {
    images: u32,
    tokens: u32,
    heads: u32,
    head_size: u32,
    causal: u32,
    has_mask: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
/// [images · tokens, (query, key, value), heads, head size]
@group(0) @binding(1) var<storage, read> query_key_value: array<f32>;
/// [images, tokens], 0 for a key to be left out
@group(0) @binding(2) var<storage, read> key_mask: array<u32>;
@group(0) @binding(3) var<storage, read_write> scores: array<f32>;

const LOWEST: f32 = -3.4028234e38;

#include "shared/elements.wgsl"

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = element(id, grid);
    if i >= params.images * params.heads * params.tokens * params.tokens { return; }
    let key = i % params.tokens;
    let query = i / params.tokens % params.tokens;
    let head = i / (params.tokens * params.tokens) % params.heads;
    let image = i / (params.tokens * params.tokens * params.heads);
    let width = params.heads * params.head_size;
    let query_start = (image * params.tokens + query) * 3u * width + head * params.head_size;
    let key_start = (image * params.tokens + key) * 3u * width + width + head * params.head_size;

    var score = 0.0;
    for (var channel = 0u; channel < params.head_size; channel++) {
        score += query_key_value[query_start + channel] * query_key_value[key_start + channel];
    }
    score *= params.scale;
    var masked = false;
    if params.has_mask != 0u { masked = key_mask[image * params.tokens + key] == 0u; }
    let later = params.causal != 0u && key > query;
    if masked || later { score = LOWEST; }
    if masked && later { score += LOWEST; }
    scores[i] = score;
}
