// The form for software adapters. They load texels as vectors, but storage and workgroup memory lane by lane,
// and barriers are slow on them. So a workgroup is one subgroup, which owns ROWS rows and one texel of
// columns per lane, and both operands are rgba32float textures of four columns per texel. The lanes hold a
// strip of every row of the input between them, one texel each, and each lane needs every texel of the strip.
// With 8 lanes, subgroupShuffle passes the texels around. With more lanes lavapipe shuffles lane by lane
// unless the source lanes are constants, so 16 lanes rotate the strip by one instead: a lane multiplies its
// own texel first, then the next lane's.
//
// The operands are storage textures, because a sampled texture is loaded through a function that looks up
// levels of detail. The weight is packed in panels: the columns of one workgroup together, and in each
// texture row what is multiplied with one strip, in that order. So a workgroup reads its panel from end to
// end, and the processor prefetches it. Panels are padded with zeros. Neighbouring workgroups share a panel,
// not rows of the input. The loop over lanes is not unrolled, so that the kernel fits the processor's
// instruction cache.
//
// The input and the output may hold several groups of columns side by side, all multiplied with the same
// weight.

struct Params {
    rows: u32,
    /// Texels per row of the output, of one group: columns / 4, rounded up.
    column_texels: u32,
    /// Texels per row of the input, of one group: inner / 4, rounded up.
    inner_texels: u32,
    has_bias: u32,
    has_residual: u32,
    /// The activation, by its number in `clipseg_shaders::Activation`: none, ReLU, or that of the override.
    activation: u32,
    /// Where this dispatch begins: a long one may be cut into several.
    first_workgroup: vec3<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var input: texture_storage_2d<rgba32float, read>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var residual: texture_storage_2d<rgba32float, read>;
@group(0) @binding(5) var output: texture_storage_2d<rgba32float, write>;

#include "shared/strips.wgsl"

const RELU: u32 = 4u;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let workgroup = workgroup_id + params.first_workgroup;
    let first_row = workgroup.x * ROWS;
    let panel = workgroup.y;
    let group = workgroup.z;
    let steps = (params.inner_texels + LANES - 1u) / LANES;
    var sums_0: EightRows;
    var sums_8: EightRows;
    var sums_16: EightRows;

    for (var step = 0u; step < steps; step++) {
        // Texels beyond the edge repeat the last one, too: the weight is zero there.
        let texel = group * params.inner_texels + min(step * LANES + lane, params.inner_texels - 1u);
        var strip_0: EightRows;
        var strip_8: EightRows;
        var strip_16: EightRows;
        load_rows(&strip_0, texel, first_row);
        load_rows(&strip_8, texel, first_row + 8u);
        load_rows(&strip_16, texel, first_row + 16u);
        for (var source = 0u; source < LANES; source++) {
            let weight = weight_texels(source, lane, panel * steps + step);
            multiply(&strip_0, &sums_0, weight, source, lane);
            multiply(&strip_8, &sums_8, weight, source, lane);
            multiply(&strip_16, &sums_16, weight, source, lane);
        }
    }

    let column = panel * LANES + lane;
    if column < params.column_texels {
        let bias = bias_of(column);
        let place = group * params.column_texels + column;
        // Drivers do not unroll a loop whose count they do not know, so they translate the epilogue once.
        let blocks = min((params.rows - first_row + 7u) / 8u, ROWS / 8u);
        for (var block = 0u; block < blocks; block++) {
            finish_rows(&sums_0, bias, place, first_row + 8u * block);
            sums_0 = sums_8;
            sums_8 = sums_16;
        }
    }
}

fn bias_of(column: u32) -> vec4<f32> {
    if params.has_bias == 0u { return vec4<f32>(); }
    return bias[column];
}

// The activation and the residual are loops of one turn or none, because lavapipe runs what a branch guards
// even where the branch is not taken.
fn finish_rows(sums: ptr<function, EightRows>, bias: vec4<f32>, column: u32, first_row: u32) {
    for (var row = 0u; row < 8u; row++) { (*sums)[row] += bias; }
    let turns = select(0u, 1u, params.activation == ACTIVATION);
    for (var turn = 0u; turn < turns; turn++) {
        for (var row = 0u; row < 8u; row++) {
            let x = (*sums)[row];
            (*sums)[row] = vec4(activate(x.x), activate(x.y), activate(x.z), activate(x.w));
        }
    }
    if params.activation == RELU {
        // As relu, four values at once.
        for (var row = 0u; row < 8u; row++) { (*sums)[row] = 0.5 * ((*sums)[row] + abs((*sums)[row])); }
    }
    for (var turn = 0u; turn < params.has_residual; turn++) {
        for (var row = 0u; row < 8u; row++) {
            (*sums)[row] += textureLoad(residual, vec2<u32>(column, min(first_row + row, params.rows - 1u)));
        }
    }
    for (var row = 0u; row < 8u; row++) {
        if first_row + row < params.rows { textureStore(output, vec2<u32>(column, first_row + row), (*sums)[row]); }
    }
}

#include "shared/activate.wgsl"
