// sum = reduced[scene(pair), token, :] + previous[pair, token, :]
// output[pair, token, :] = gamma[pair, :] · sum + beta[pair, :] where conditioned, else sum
//
// As film, on textures of four columns per texel: between other subgroup kernels nothing is copied to buffers
// and back. A workgroup is one subgroup and owns ROWS tokens of a pair: on a software adapter each workgroup
// costs as much as several texels.

struct Params {
    pairs: u32,
    scenes: u32,
    tokens: u32,
    /// Texels per row: columns / 4, rounded up.
    column_texels: u32,
    has_previous: u32,
    conditioned: u32,
}

/// Of the subgroup: 8 or 16.
override LANES: u32 = 8u;

@group(0) @binding(0) var<uniform> params: Params;
/// [scenes · tokens, columns]
@group(0) @binding(1) var reduced: texture_storage_2d<rgba32float, read>;
/// [pairs · tokens, columns]
@group(0) @binding(2) var previous: texture_storage_2d<rgba32float, read>;
/// [pairs, columns]
@group(0) @binding(3) var gamma: texture_2d<f32>;
@group(0) @binding(4) var beta: texture_2d<f32>;
@group(0) @binding(5) var output: texture_storage_2d<rgba32float, write>;

const ROWS: u32 = 8u;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let first_token = workgroup.x * ROWS;
    let pair = workgroup.y;
    let scene = select(pair, 0u, params.scenes == 1u);
    for (var texel = lane; texel < params.column_texels; texel += LANES) {
        var gamma_texel = vec4(1.0);
        var beta_texel = vec4<f32>();
        if params.conditioned != 0u {
            gamma_texel = textureLoad(gamma, vec2(texel, pair), 0);
            beta_texel = textureLoad(beta, vec2(texel, pair), 0);
        }
        for (var row = 0u; row < ROWS; row++) {
            let token = first_token + row;
            if token >= params.tokens { continue; }
            let place = vec2(texel, pair * params.tokens + token);
            var value = textureLoad(reduced, vec2(texel, scene * params.tokens + token));
            if params.has_previous != 0u { value += textureLoad(previous, place); }
            textureStore(output, place, gamma_texel * value + beta_texel);
        }
    }
}
