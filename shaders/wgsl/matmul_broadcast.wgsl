// output[M, N] = activation(input[M, K] · weight[N, K]ᵀ + bias[N]) + residual[M, N],
// where M is rows, N is columns and K is inner.
//
// The form for GPUs on which lanes of a subgroup exchange values faster than workgroup memory does: a workgroup owns eight
// rows, and a lane four columns of them. The lanes hold a strip of every row between them, four values of K each, and
// broadcast it lane by lane. Subgroups may have any size. K and N must be multiples of four.

struct Params {
    rows: u32,
    columns: u32,
    inner: u32,
    has_bias: u32,
    has_residual: u32,
}

override ACTIVATION: u32 = 0u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> output: array<vec4<f32>>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    // Counted, since a driver may run fewer lanes together than the size that it reports.
    let lanes = subgroupMax(lane) + 1u;
    let first_row = workgroup.y * 8u;
    let column = workgroup.x * 64u + thread;
    let vectors = params.inner / 4u;
    // Lanes beyond the edge repeat the last columns, as the others need their strips; nothing is written there.
    let weight_start = 4u * min(column, params.columns / 4u - 1u) * vectors;
    var upper: mat4x4<f32>;
    var lower: mat4x4<f32>;

    for (var start = 0u; start < vectors; start += lanes) {
        let upper_strip = input_strip(first_row, start + lane);
        let lower_strip = input_strip(first_row + 4u, start + lane);
        for (var source = 0u; source < min(lanes, vectors - start); source++) {
            let place = weight_start + start + source;
            let columns = transpose(mat4x4<f32>(
                weight[place],
                weight[place + vectors],
                weight[place + 2u * vectors],
                weight[place + 3u * vectors],
            ));
            upper += columns * broadcast(upper_strip, source);
            lower += columns * broadcast(lower_strip, source);
        }
    }

    finish_block(upper, first_row, column);
    finish_block(lower, first_row + 4u, column);
}

// One vector of four rows of the input each.
fn input_strip(row: u32, vector: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        input_vector(row, vector),
        input_vector(row + 1u, vector),
        input_vector(row + 2u, vector),
        input_vector(row + 3u, vector),
    );
}

fn broadcast(strip: mat4x4<f32>, source: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        subgroupShuffle(strip[0], source),
        subgroupShuffle(strip[1], source),
        subgroupShuffle(strip[2], source),
        subgroupShuffle(strip[3], source),
    );
}

// Four inner values of a row of the input, zeros beyond either edge.
fn input_vector(row: u32, vector: u32) -> vec4<f32> {
    let vectors = params.inner / 4u;
    if row >= params.rows || vector >= vectors { return vec4<f32>(); }
    return input[row * vectors + vector];
}

// Four rows of four columns each, `column` counting vectors.
fn finish_block(sums: mat4x4<f32>, row: u32, column: u32) {
    finish(sums[0], row, column);
    finish(sums[1], row + 1u, column);
    finish(sums[2], row + 2u, column);
    finish(sums[3], row + 3u, column);
}

fn finish(sum: vec4<f32>, row: u32, column: u32) {
    let vectors = params.columns / 4u;
    if row >= params.rows || column >= vectors { return; }
    let place = row * vectors + column;
    var x = sum;
    if params.has_bias != 0u { x += bias[column]; }
    var value = vec4(activate(x.x), activate(x.y), activate(x.z), activate(x.w));
    if params.has_residual != 0u { value += residual[place]; }
    output[place] = value;
}

// The same function stands in every kernel with an activation epilogue; a test holds the copies together.
fn activate(x: f32) -> f32 {
    switch ACTIVATION {
        case 1u: { return x / (1.0 + exp(-1.702 * x)); }
        case 2u: { return 0.5 * x * (1.0 + erf(x * 0.70710678)); }
        case 3u: { return x * (1.0 - 1.0 / (exp(min(1.5957691 * (x + 0.044715 * x * x * x), 80.0)) + 1.0)); }
        case 4u: { return max(x, 0.0); }
        case 5u: { return 1.0507010 * select(1.6732632 * (exp(min(x, 0.0)) - 1.0), x, x > 0.0); }
        default: { return x; }
    }
}

// Abramowitz and Stegun 7.1.26; absolute error below 1.5e-7.
fn erf(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.3275911 * abs(x));
    let polynomial = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    return sign(x) * (1.0 - polynomial * exp(-x * x));
}
