// output[row, :] = (input[row, :] - mean) / sqrt(variance + epsilon) * weight + bias
//
// The form for software adapters: a workgroup is one subgroup and owns ROWS rows. Operands are textures of four columns per
// texel, because such adapters read storage buffers lane by lane. The lanes hold a whole row between them, so that it is
// loaded once, and keep the weight and the bias for all rows. COLUMN_TEXELS makes the bounds of the loops constant, so that
// they are unrolled. Columns must be a multiple of four, and at most 128 times the lanes.

struct Params {
    rows: u32,
    epsilon: f32,
}

/// Texels per row: columns / 4.
override COLUMN_TEXELS: u32 = 16u;
/// Of the subgroup: 8 or 16.
override LANES: u32 = 8u;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var input: texture_storage_2d<rgba32float, read>;
/// The weight and the bias, a row each
@group(0) @binding(2) var weight_and_bias: texture_storage_2d<rgba32float, read>;
@group(0) @binding(3) var output: texture_storage_2d<rgba32float, write>;

const ROWS: u32 = 8u;
// The most texels that a lane holds of a row.
const TEXELS: u32 = 32u;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let texels = (COLUMN_TEXELS + LANES - 1u) / LANES;
    let columns = f32(COLUMN_TEXELS * 4u);
    var weight: array<vec4<f32>, TEXELS>;
    var bias: array<vec4<f32>, TEXELS>;
    for (var i = 0u; i < texels; i++) {
        weight[i] = textureLoad(weight_and_bias, vec2(texel_of(i, lane), 0u));
        bias[i] = textureLoad(weight_and_bias, vec2(texel_of(i, lane), 1u));
    }

    let end = min((workgroup.x + 1u) * ROWS, params.rows);
    for (var row = workgroup.x * ROWS; row < end; row++) {
        var values: array<vec4<f32>, TEXELS>;
        var sum = vec4<f32>();
        for (var i = 0u; i < texels; i++) {
            values[i] = textureLoad(input, vec2(texel_of(i, lane), row));
            sum += select(vec4<f32>(), values[i], is_inside(i, lane));
        }
        let mean = sum_of_all(dot(sum, vec4(1.0)), lane) / columns;

        var squares = vec4<f32>();
        for (var i = 0u; i < texels; i++) {
            values[i] -= mean;
            squares += select(vec4<f32>(), values[i] * values[i], is_inside(i, lane));
        }
        let scale = inverseSqrt(sum_of_all(dot(squares, vec4(1.0)), lane) / columns + params.epsilon);

        for (var i = 0u; i < texels; i++) {
            if is_inside(i, lane) {
                textureStore(output, vec2(texel_of(i, lane), row), values[i] * scale * weight[i] + bias[i]);
            }
        }
    }
}

// A lane's texels are LANES apart. Beyond the edge it repeats the last one, which does not count.
fn texel_of(i: u32, lane: u32) -> u32 {
    return min(i * LANES + lane, COLUMN_TEXELS - 1u);
}

fn is_inside(i: u32, lane: u32) -> bool {
    return (i + 1u) * LANES <= COLUMN_TEXELS || i * LANES + lane < COLUMN_TEXELS;
}

// subgroupAdd, which lavapipe does lane by lane.
fn sum_of_all(x: f32, lane: u32) -> f32 {
    let of_two = x + subgroupShuffle(x, lane ^ 1u);
    let of_four = of_two + subgroupShuffle(of_two, lane ^ 2u);
    let of_eight = of_four + subgroupShuffle(of_four, lane ^ 4u);
    if LANES == 8u { return of_eight; }
    return of_eight + subgroupShuffle(of_eight, lane ^ 8u);
}
