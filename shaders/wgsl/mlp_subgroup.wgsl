// output[rows, columns] = activation(input[rows, inner] · up[inner, hidden] + up_bias) · down[hidden, columns] + down_bias
//                         + input[rows, columns], inner = columns, 33 to 64
//
// A narrow model's MLP with its residual, for software adapters, built like matmul_subgroup. The hidden values, many times as
// wide as the input and the output, never leave the lanes; two products would store and load them all, and an image store
// costs as much as 60 products of a narrow weight. A workgroup is one subgroup of 8 or 16 lanes. Between them the lanes hold
// ROWS whole rows of the input and the output, and of the hidden values one texel per lane at a time. With 8 lanes each has
// two texels of the input and the output, a left and a right one; with 16, one.
// Both weights are packed in panels, as for matmul_subgroup.

struct Params {
    rows: u32,
    /// Texels per row of the input and the output: columns / 4, rounded up.
    column_texels: u32,
    /// Texels per row of the hidden values: hidden / 4, rounded up.
    hidden_texels: u32,
}

override ACTIVATION: u32 = 0u;
/// Of the subgroup: 8 or 16.
override LANES: u32 = 8u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var input: texture_storage_2d<rgba32float, read>;
@group(0) @binding(2) var up: texture_storage_2d<rgba32float, read>;
@group(0) @binding(3) var<storage, read> up_bias: array<vec4<f32>>;
@group(0) @binding(4) var down: texture_storage_2d<rgba32float, read>;
@group(0) @binding(5) var<storage, read> down_bias: array<vec4<f32>>;
@group(0) @binding(6) var output: texture_storage_2d<rgba32float, write>;

const ROWS: u32 = 24u;
alias EightRows = array<vec4<f32>, 8>;

// Four columns of four rows of a weight: what the texel of the lane `source` meets in this one.
fn up_texels(source: u32, lane: u32, panel_row: u32) -> mat4x4<f32> {
    let place = vec2(source * 4u * LANES + lane, panel_row);
    return mat4x4<f32>(
        textureLoad(up, place),
        textureLoad(up, place + vec2(LANES, 0u)),
        textureLoad(up, place + vec2(2u * LANES, 0u)),
        textureLoad(up, place + vec2(3u * LANES, 0u)),
    );
}

fn down_texels(source: u32, lane: u32, panel_row: u32) -> mat4x4<f32> {
    let place = vec2(source * 4u * LANES + lane, panel_row);
    return mat4x4<f32>(
        textureLoad(down, place),
        textureLoad(down, place + vec2(LANES, 0u)),
        textureLoad(down, place + vec2(2u * LANES, 0u)),
        textureLoad(down, place + vec2(3u * LANES, 0u)),
    );
}

fn accumulate(sum: vec4<f32>, a: vec4<f32>, b: mat4x4<f32>) -> vec4<f32> {
    return fma(vec4(a.w), b[3], fma(vec4(a.z), b[2], fma(vec4(a.y), b[1], fma(vec4(a.x), b[0], sum))));
}

// Adds to eight rows of sums what the strip's texel of the lane `source` makes with the weight. After all lanes the strip is as before.
fn multiply(strip: ptr<function, EightRows>, sums: ptr<function, EightRows>, weight: mat4x4<f32>, source: u32, lane: u32) {
    for (var row = 0u; row < 8u; row++) {
        if LANES == 8u {
            (*sums)[row] = accumulate((*sums)[row], subgroupShuffle((*strip)[row], source), weight);
        } else {
            (*sums)[row] = accumulate((*sums)[row], (*strip)[row], weight);
            (*strip)[row] = subgroupShuffle((*strip)[row], (lane + 1u) % LANES);
        }
    }
}

fn load_rows(rows: ptr<function, EightRows>, texel: u32, first_row: u32) {
    for (var row = 0u; row < 8u; row++) {
        (*rows)[row] = textureLoad(input, vec2<u32>(texel, min(first_row + row, params.rows - 1u)));
    }
}

fn fill_rows(rows: ptr<function, EightRows>, value: vec4<f32>) {
    for (var row = 0u; row < 8u; row++) { (*rows)[row] = value; }
}

fn activate_rows(rows: ptr<function, EightRows>) {
    for (var row = 0u; row < 8u; row++) {
        let x = (*rows)[row];
        (*rows)[row] = vec4(activate(x.x), activate(x.y), activate(x.z), activate(x.w));
    }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let first_row = workgroup.x * ROWS;
    // Texels and rows beyond the edge repeat the last one: loads stay inside the texture, and the weights are zero there.
    let left_texel = min(lane, params.column_texels - 1u);
    let right_texel = min(lane + 8u, params.column_texels - 1u);
    var input_left_0: EightRows;
    var input_right_0: EightRows;
    var sums_left_0: EightRows;
    var sums_right_0: EightRows;
    var input_left_8: EightRows;
    var input_right_8: EightRows;
    var sums_left_8: EightRows;
    var sums_right_8: EightRows;
    var input_left_16: EightRows;
    var input_right_16: EightRows;
    var sums_left_16: EightRows;
    var sums_right_16: EightRows;
    load_rows(&input_left_0, left_texel, first_row);
    load_rows(&input_left_8, left_texel, first_row + 8u);
    load_rows(&input_left_16, left_texel, first_row + 16u);
    if LANES == 8u {
        load_rows(&input_right_0, right_texel, first_row);
        load_rows(&input_right_8, right_texel, first_row + 8u);
        load_rows(&input_right_16, right_texel, first_row + 16u);
    }

    // Of the up weight, a panel, and of each panel of the down weight, a row of its texture.
    let steps = (params.hidden_texels + LANES - 1u) / LANES;
    let strips = 16u / LANES;
    for (var step = 0u; step < steps; step++) {
        // Columns beyond the edge repeat the last bias, and meet rows of zeros.
        let bias = up_bias[min(step * LANES + lane, params.hidden_texels - 1u)];
        var hidden_0: EightRows;
        var hidden_8: EightRows;
        var hidden_16: EightRows;
        fill_rows(&hidden_0, bias);
        fill_rows(&hidden_8, bias);
        fill_rows(&hidden_16, bias);
        for (var source = 0u; source < LANES; source++) {
            let weight = up_texels(source, lane, step * strips);
            multiply(&input_left_0, &hidden_0, weight, source, lane);
            multiply(&input_left_8, &hidden_8, weight, source, lane);
            multiply(&input_left_16, &hidden_16, weight, source, lane);
        }
        for (var source = 0u; LANES == 8u && source < LANES; source++) {
            let weight = up_texels(source, lane, step * strips + 1u);
            multiply(&input_right_0, &hidden_0, weight, source, lane);
            multiply(&input_right_8, &hidden_8, weight, source, lane);
            multiply(&input_right_16, &hidden_16, weight, source, lane);
        }
        activate_rows(&hidden_0);
        activate_rows(&hidden_8);
        activate_rows(&hidden_16);
        for (var source = 0u; source < LANES; source++) {
            let left_weight = down_texels(source, lane, step);
            multiply(&hidden_0, &sums_left_0, left_weight, source, lane);
            multiply(&hidden_8, &sums_left_8, left_weight, source, lane);
            multiply(&hidden_16, &sums_left_16, left_weight, source, lane);
            if LANES == 8u {
                let right_weight = down_texels(source, lane, steps + step);
                multiply(&hidden_0, &sums_right_0, right_weight, source, lane);
                multiply(&hidden_8, &sums_right_8, right_weight, source, lane);
                multiply(&hidden_16, &sums_right_16, right_weight, source, lane);
            }
        }
    }

    if lane < params.column_texels {
        let bias = down_bias[lane];
        finish_rows(&sums_left_0, &input_left_0, bias, lane, first_row);
        finish_rows(&sums_left_8, &input_left_8, bias, lane, first_row + 8u);
        finish_rows(&sums_left_16, &input_left_16, bias, lane, first_row + 16u);
    }
    if LANES == 8u && lane + 8u < params.column_texels {
        let bias = down_bias[lane + 8u];
        finish_rows(&sums_right_0, &input_right_0, bias, lane + 8u, first_row);
        finish_rows(&sums_right_8, &input_right_8, bias, lane + 8u, first_row + 8u);
        finish_rows(&sums_right_16, &input_right_16, bias, lane + 8u, first_row + 16u);
    }
}

fn finish_rows(sums: ptr<function, EightRows>, residual: ptr<function, EightRows>, bias: vec4<f32>, column: u32, first_row: u32) {
    for (var row = 0u; row < 8u; row++) {
        if first_row + row < params.rows {
            textureStore(output, vec2<u32>(column, first_row + row), (*sums)[row] + bias + (*residual)[row]);
        }
    }
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
