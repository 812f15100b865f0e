// output[image, query, head, :] = Σ_key softmax_key(scale · query · key) · value
//
// As attention_vec4, for GPUs with subgroups of any size: what a query needs stays in registers. Four
// neighbouring lanes, a quad, own two queries and have a quarter of their channels each. They sum scores and
// share probabilities by quad operations, which most GPUs do without a trip to memory. Only keys and values,
// sixteen tokens at a time, go through workgroup memory. Input and output may be f16, two per word.

#include "shared/attention_params.wgsl"

/// [images · tokens, (query, key, value), heads, head size]
@group(0) @binding(1) var<storage, read> query_key_value: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read_write> output: array<vec2<u32>>;

#include "shared/key_blocks.wgsl"

// A quad's two queries are QUADS apart.
const QUADS: u32 = THREADS / 4u;
const QUERIES: u32 = 2u * QUADS;
const MAX_HEAD_SIZE: u32 = 64u;

// [key of the block][vector of the head], without gaps
var<workgroup> keys: array<vec4<f32>, KEYS * MAX_HEAD_SIZE / 4u>;
var<workgroup> values: array<vec4<f32>, KEYS * MAX_HEAD_SIZE / 4u>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) workgroup_id: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let workgroup = workgroup_id + params.first_workgroup;
    let size = params.head_size / 4u;
    let width = params.heads * size;
    let head = workgroup.y * size;
    let sequence = sequence_of(workgroup.z);
    let query = workgroup.x * QUERIES + thread / 4u;
    let own = lane % 4u;
    // Every fourth vector of the head is this lane's. Vectors beyond the last repeat that: the query has
    // zeros there, and no output.
    let channels = min(vec4(own, own + 4u, own + 8u, own + 12u), vec4(size - 1u));
    var near = State(read_query(sequence, query, head, own), mat4x4<f32>(), LOWEST, 0.0);
    var far = State(read_query(sequence, query + QUADS, head, own), mat4x4<f32>(), LOWEST, 0.0);

    for (var first_key = 0u; first_key < sequence.length; first_key += KEYS) {
        // Nothing is fetched ahead: that takes registers, and so room from the workgroups that run meanwhile.
        let new_keys = read_block(thread, sequence, first_key, width + head);
        let new_values = read_block(thread, sequence, first_key, 2u * width + head);
        if thread < KEYS * size {
            keys[thread] = new_keys[0];
            values[thread] = new_values[0];
        }
        if thread + THREADS < KEYS * size {
            keys[thread + THREADS] = new_keys[1];
            values[thread + THREADS] = new_values[1];
        }
        workgroupBarrier();

        // Of every fourth key, from a lane's own on.
        let a = scores_of(near.query, far.query, 0u, own, channels);
        let b = scores_of(near.query, far.query, 4u, own, channels);
        let c = scores_of(near.query, far.query, 8u, own, channels);
        let d = scores_of(near.query, far.query, 12u, own, channels);
        let key = first_key + own;
        let near_weights = weigh(near, vec4(a.x, b.x, c.x, d.x), masks_of_keys(sequence, key, query));
        let far_weights = weigh(far, vec4(a.y, b.y, c.y, d.y), masks_of_keys(sequence, key, query + QUADS));
        near = near_weights.state;
        far = far_weights.state;

        var sums = Sums(near.sums, far.sums);
        let p = near_weights.probabilities;
        let q = far_weights.probabilities;
        sums = add_values(sums, quadBroadcast(p, 0u), quadBroadcast(q, 0u), 0u, channels);
        sums = add_values(sums, quadBroadcast(p, 1u), quadBroadcast(q, 1u), 1u, channels);
        sums = add_values(sums, quadBroadcast(p, 2u), quadBroadcast(q, 2u), 2u, channels);
        sums = add_values(sums, quadBroadcast(p, 3u), quadBroadcast(q, 3u), 3u, channels);
        near.sums = sums.near;
        far.sums = sums.far;
        workgroupBarrier();
    }

    write_query(near, sequence, query, head, own);
    write_query(far, sequence, query + QUADS, head, own);
}

// What a lane has of a query: every fourth vector of its channels, of it and of the weighted values, its
// largest score, and its lane's share of the sum of probabilities.
struct State {
    query: mat4x4<f32>,
    sums: mat4x4<f32>,
    largest: f32,
    total: f32,
}

struct Sums {
    near: mat4x4<f32>,
    far: mat4x4<f32>,
}

fn read_query(sequence: Sequence, query: u32, head: u32, own: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        query_vector(sequence, query, head, own),
        query_vector(sequence, query, head, own + 4u),
        query_vector(sequence, query, head, own + 8u),
        query_vector(sequence, query, head, own + 12u),
    );
}

fn query_vector(sequence: Sequence, query: u32, head: u32, vector: u32) -> vec4<f32> {
    let size = params.head_size / 4u;
    if query >= sequence.length || vector >= size { return vec4<f32>(); }
    return params.scale * read_input((sequence.first + query) * 3u * params.heads * size + head + vector);
}

// Two queries' scores with the lane's own one of four neighbouring keys, from `key` of the block on.
fn scores_of(near: mat4x4<f32>, far: mat4x4<f32>, key: u32, own: u32, channels: vec4<u32>) -> vec2<f32> {
    let size = params.head_size / 4u;
    // Of all four keys, the lane's share.
    var shares = mat2x4<f32>();
    shares = add_scores(shares, near[0], far[0], key_vectors(key, channels.x));
    if size > 4u { shares = add_scores(shares, near[1], far[1], key_vectors(key, channels.y)); }
    if size > 8u { shares = add_scores(shares, near[2], far[2], key_vectors(key, channels.z)); }
    if size > 12u { shares = add_scores(shares, near[3], far[3], key_vectors(key, channels.w)); }
    return vec2(own_score(shares[0], own), own_score(shares[1], own));
}

fn add_scores(scores: mat2x4<f32>, near: vec4<f32>, far: vec4<f32>, keys: mat4x4<f32>) -> mat2x4<f32> {
    return mat2x4<f32>(accumulate(scores[0], near, keys), accumulate(scores[1], far, keys));
}

// Four channels of four neighbouring keys, a vector of the keys for each channel.
fn key_vectors(key: u32, channels: u32) -> mat4x4<f32> {
    let size = params.head_size / 4u;
    let place = key * size + channels;
    return transpose(mat4x4<f32>(
        keys[place],
        keys[place + size],
        keys[place + 2u * size],
        keys[place + 3u * size],
    ));
}

// Of four keys' scores, of which each lane of the quad has a share, the sum for the lane's own one: it gives
// away two and then one of the sums that it does not keep.
fn own_score(shares: vec4<f32>, own: u32) -> f32 {
    let is_late = own >= 2u;
    let two = select(shares.xy, shares.zw, is_late) + quadSwapY(select(shares.zw, shares.xy, is_late));
    let is_odd = own % 2u == 1u;
    return select(two.x, two.y, is_odd) + quadSwapX(select(two.y, two.x, is_odd));
}

struct Weighed {
    state: State,
    /// Of the lane's keys, not yet divided by their sum
    probabilities: vec4<f32>,
}

// The probabilities of a lane's four keys, and the query's state with all that was summed brought to its new
// largest score.
fn weigh(state: State, scores: vec4<f32>, masks: vec4<u32>) -> Weighed {
    let visible = select(vec4(LOWEST), scores, masks == vec4(0u));
    var largest = max(max(visible.x, visible.y), max(visible.z, visible.w));
    largest = max(largest, quadSwapX(largest));
    largest = max(state.largest, max(largest, quadSwapY(largest)));
    let correction = exp(state.largest - largest);
    let probabilities = select(vec4<f32>(), exp(visible - largest), masks < vec4(2u));
    let total = state.total * correction + dot(probabilities, vec4(1.0));
    return Weighed(State(state.query, state.sums * correction, largest, total), probabilities);
}

// Adds the values of every fourth key, from `key` of the block on, by two queries' probabilities.
fn add_values(sums: Sums, near: vec4<f32>, far: vec4<f32>, key: u32, channels: vec4<u32>) -> Sums {
    let size = params.head_size / 4u;
    var result = sums;
    let first = value_vectors(key, channels.x);
    result.near[0] = accumulate(result.near[0], near, first);
    result.far[0] = accumulate(result.far[0], far, first);
    if size > 4u {
        let second = value_vectors(key, channels.y);
        result.near[1] = accumulate(result.near[1], near, second);
        result.far[1] = accumulate(result.far[1], far, second);
    }
    if size > 8u {
        let third = value_vectors(key, channels.z);
        result.near[2] = accumulate(result.near[2], near, third);
        result.far[2] = accumulate(result.far[2], far, third);
    }
    if size > 12u {
        let fourth = value_vectors(key, channels.w);
        result.near[3] = accumulate(result.near[3], near, fourth);
        result.far[3] = accumulate(result.far[3], far, fourth);
    }
    return result;
}

// The same vector of the values of every fourth key.
fn value_vectors(key: u32, channels: u32) -> mat4x4<f32> {
    let size = params.head_size / 4u;
    let place = key * size + channels;
    return mat4x4<f32>(
        values[place],
        values[place + 4u * size],
        values[place + 8u * size],
        values[place + 12u * size],
    );
}

fn write_query(state: State, sequence: Sequence, query: u32, head: u32, own: u32) {
    let of_two = state.total + quadSwapX(state.total);
    let inverse = 1.0 / (of_two + quadSwapY(of_two));
    if query >= sequence.length { return; }
    let size = params.head_size / 4u;
    let start = (sequence.first + query) * params.heads * size + head;
    if own < size { write_output(start + own, state.sums[0] * inverse); }
    if own + 4u < size { write_output(start + own + 4u, state.sums[1] * inverse); }
    if own + 8u < size { write_output(start + own + 8u, state.sums[2] * inverse); }
    if own + 12u < size { write_output(start + own + 12u, state.sums[3] * inverse); }
}

#include "shared/accumulate.wgsl"

#include "shared/read_input_f16.wgsl" where input = query_key_value

#include "shared/write_output_f16.wgsl"
