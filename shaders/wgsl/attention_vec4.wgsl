// output[image, query, head, :] = Σ_key softmax_key(scale · query · key) · value
//
// As attention, for heads of a multiple of four values up to 64: a workgroup owns 32 queries of one head and walks over the keys
// 16 at a time, all of it in vectors of four channels. For the scores four threads share a query, each with every fourth key;
// for the values a thread owns four channels of four queries. Input and output may be f16, two per word. In f32 a vector
// is two neighbouring pairs of words, which compilers load as one.

struct Params {
    /// Of an image, where all have as many.
    tokens: u32,
    heads: u32,
    head_size: u32,
    causal: u32,
    has_mask: u32,
    has_cu_seqlens: u32,
    scale: f32,
}

/// 1 where the input lies in f16, and where the output is to; else they lie as a float per word.
override INPUT_F16: u32 = 0u;
override OUTPUT_F16: u32 = 0u;

@group(0) @binding(0) var<uniform> params: Params;
/// [images · tokens, (query, key, value), heads, head size]
@group(0) @binding(1) var<storage, read> query_key_value: array<vec2<u32>>;
/// A number a row, 0 for a key to be left out
@group(0) @binding(2) var<storage, read> key_mask: array<u32>;
/// [images + 1], the row that each starts with, where they differ in length; the last ends before the last of these
@group(0) @binding(3) var<storage, read> cu_seqlens: array<u32>;
@group(0) @binding(4) var<storage, read_write> output: array<vec2<u32>>;

const THREADS: u32 = 128u;
const QUERIES: u32 = 32u;
const KEYS: u32 = 16u;
// Vectors from one row in workgroup memory to the next: sixteen, and one against bank conflicts.
const STRIDE: u32 = 17u;
// Adding the lowest float, as transformers masks, leaves it as it is; adding it twice gives -inf.
const LOWEST: f32 = -3.4028234e38;

var<workgroup> queries: array<vec4<f32>, 544>;
// Keys, then values.
var<workgroup> block: array<vec4<f32>, 272>;
// [query][thread of it], a component for each of its keys
var<workgroup> probabilities: array<vec4<f32>, 128>;
// [query][thread of it]: its largest score, at the end its sum of probabilities
var<workgroup> partial: array<f32, 128>;
var<workgroup> corrections: array<f32, 32>;

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
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

    // Each block is on its way while the one before is worked on: keys during the values, values during the scores.
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
        let masks = vec4(
            masks_of(sequence, key, first_query + query),
            masks_of(sequence, key + 4u, first_query + query),
            masks_of(sequence, key + 8u, first_query + query),
            masks_of(sequence, key + 12u, first_query + query),
        );
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

// The rows of an image.
struct Sequence {
    first: u32,
    length: u32,
}

fn sequence_of(image: u32) -> Sequence {
    if params.has_cu_seqlens == 0u { return Sequence(image * params.tokens, params.tokens); }
    // Within the input, whatever cu_seqlens says.
    let first = min(cu_seqlens[image], params.tokens);
    return Sequence(first, clamp(cu_seqlens[image + 1u], first, params.tokens) - first);
}

// How many masks leave a key out, each by adding the lowest float; a key beyond the last token is none at all.
fn masks_of(sequence: Sequence, key: u32, query: u32) -> u32 {
    if key >= sequence.length { return 2u; }
    let later = u32(params.causal != 0u && key > query);
    if params.has_mask == 0u { return later; }
    return later + u32(key_mask[sequence.first + key] == 0u);
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

// A thread's two vectors of a block: keys, or values, of sixteen tokens, which lie from `column` of their rows on; zeros beyond
// the last token. Two are enough: the largest head has sixteen vectors, so a block has 256 for 128 threads.
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

// Four values of the input, as it lies.
fn read_input(place: u32) -> vec4<f32> {
    if INPUT_F16 != 0u { return widened(query_key_value[place]); }
    return bitcast<vec4<f32>>(vec4(query_key_value[2u * place], query_key_value[2u * place + 1u]));
}

fn widened(halves: vec2<u32>) -> vec4<f32> {
    return vec4(unpack2x16float(halves.x), unpack2x16float(halves.y));
}

// Four values of the output, as it lies. What is beyond the largest half becomes that: an infinity would spread.
fn write_output(place: u32, value: vec4<f32>) {
    if OUTPUT_F16 != 0u {
        let bounded = clamp(value, vec4(-65504.0), vec4(65504.0));
        output[place] = vec2(pack2x16float(bounded.xy), pack2x16float(bounded.zw));
    } else {
        let words = bitcast<vec4<u32>>(value);
        output[2u * place] = words.xy;
        output[2u * place + 1u] = words.zw;
    }
}
