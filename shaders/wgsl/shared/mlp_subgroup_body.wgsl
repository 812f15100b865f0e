// Two narrow products in a row, for software adapters, built like matmul_subgroup: a narrow model's MLP with
// its residual, or two transposed convolutions. The hidden values, many times as wide as the input and the
// output, never leave the lanes; two kernels would store and load them all, and an image store costs as much
// as 60 products of a narrow weight. A workgroup is one subgroup of 8 or 16 lanes. Between them the lanes
// hold ROWS whole rows of the input and of one group of the output, and of the hidden values one texel per
// lane at a time. With 8 lanes each has two texels of the input and the output, a left and a right one; with
// 16, one. Both weights are packed in panels, as for matmul_subgroup.
//
// The hidden values and the output may hold several groups of columns side by side: the same weight takes
// each group of hidden values to its group of the output. The hidden values of a group are then whole panels.

struct Params {
    rows: u32,
    /// Texels per row of the input: inner / 4, rounded up.
    inner_texels: u32,
    /// Texels per row of the hidden values, of one group: hidden / 4, rounded up.
    hidden_texels: u32,
    /// Texels per row of the output, of one group: columns / 4, rounded up.
    column_texels: u32,
    /// Whether the input is added to the output, which is then as wide.
    adds_input: u32,
    /// Where this dispatch begins: a long one may be cut into several.
    first_workgroup: vec3<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var input: texture_storage_2d<rgba32float, read>;
@group(0) @binding(3) var<storage, read> up_bias: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> down_bias: array<vec4<f32>>;
@group(0) @binding(6) var output: texture_storage_2d<rgba32float, write>;

// Texels of the longest row of the input, and of a group of the output.
const MAX_COLUMN_TEXELS: u32 = 16u;

#include "shared/strips.wgsl"

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
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let workgroup = workgroup_id + params.first_workgroup;
    let first_row = workgroup.x * ROWS;
    let group = workgroup.z;
    // Texels and rows beyond the edge repeat the last one: loads stay inside the texture, and the weights are
    // zero there.
    let left_texel = min(lane, params.inner_texels - 1u);
    let right_texel = min(lane + 8u, params.inner_texels - 1u);
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

    // Of the up weight, a panel of the group, and of each panel of the down weight, a row of its texture.
    let steps = (params.hidden_texels + LANES - 1u) / LANES;
    let strips = MAX_COLUMN_TEXELS / LANES;
    for (var step = 0u; step < steps; step++) {
        // Columns beyond the edge repeat the last bias, and meet rows of zeros.
        let hidden_texel = min(step * LANES + lane, params.hidden_texels - 1u);
        let bias = up_bias[group * params.hidden_texels + hidden_texel];
        let up_panel = group * steps + step;
        var hidden_0: EightRows;
        var hidden_8: EightRows;
        var hidden_16: EightRows;
        fill_rows(&hidden_0, bias);
        fill_rows(&hidden_8, bias);
        fill_rows(&hidden_16, bias);
        for (var source = 0u; source < LANES; source++) {
            let weight = up_texels(source, lane, up_panel * strips);
            multiply(&input_left_0, &hidden_0, weight, source, lane);
            multiply(&input_left_8, &hidden_8, weight, source, lane);
            multiply(&input_left_16, &hidden_16, weight, source, lane);
        }
        for (var source = 0u; LANES == 8u && source < LANES; source++) {
            let weight = up_texels(source, lane, up_panel * strips + 1u);
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

    let first_column = group * params.column_texels;
    if lane < params.column_texels {
        let bias = down_bias[lane];
        let column = first_column + lane;
        finish_rows(&sums_left_0, &input_left_0, bias, column, first_row);
        finish_rows(&sums_left_8, &input_left_8, bias, column, first_row + 8u);
        finish_rows(&sums_left_16, &input_left_16, bias, column, first_row + 16u);
    }
    if LANES == 8u && lane + 8u < params.column_texels {
        let bias = down_bias[lane + 8u];
        let column = first_column + lane + 8u;
        finish_rows(&sums_right_0, &input_right_0, bias, column, first_row);
        finish_rows(&sums_right_8, &input_right_8, bias, column, first_row + 8u);
        finish_rows(&sums_right_16, &input_right_16, bias, column, first_row + 16u);
    }
}

fn finish_rows(sums: ptr<function, EightRows>, inputs: ptr<function, EightRows>, bias: vec4<f32>, column: u32, first_row: u32) {
    for (var row = 0u; row < 8u; row++) {
        if first_row + row < params.rows {
            let residual = select(vec4<f32>(), (*inputs)[row], params.adds_input != 0u);
            textureStore(output, vec2<u32>(column, first_row + row), (*sums)[row] + bias + residual);
        }
    }
}

#include "shared/activate.wgsl"
