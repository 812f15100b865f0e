// sum = reduced[scene(pair), token, :] + previous[pair, token, :]
// output[pair, token, :] = multiplier[pair, :] · sum + offset[pair, :] where conditioned, else sum
//
// As film, on textures of four columns a texel, between the subgroup kernels: nothing is copied to buffers and back.

struct Params {
    pairs: u32,
    scenes: u32,
    tokens: u32,
    /// Texels a row: columns / 4, rounded up.
    column_texels: u32,
    has_previous: u32,
    conditioned: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
/// [scenes · tokens, columns]
@group(0) @binding(1) var reduced: texture_storage_2d<rgba32float, read>;
/// [pairs · tokens, columns]
@group(0) @binding(2) var previous: texture_storage_2d<rgba32float, read>;
/// [pairs, columns]
@group(0) @binding(3) var multiplier: texture_2d<f32>;
@group(0) @binding(4) var offset: texture_2d<f32>;
@group(0) @binding(5) var output: texture_storage_2d<rgba32float, write>;

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let texel = id.x;
    let token = id.y;
    let pair = id.z;
    if texel >= params.column_texels || token >= params.tokens { return; }
    let scene = select(pair, 0u, params.scenes == 1u);
    let place = vec2(texel, pair * params.tokens + token);
    var value = textureLoad(reduced, vec2(texel, scene * params.tokens + token));
    if params.has_previous != 0u { value += textureLoad(previous, place); }
    if params.conditioned != 0u {
        let modulation = vec2(texel, pair);
        value = textureLoad(multiplier, modulation, 0) * value + textureLoad(offset, modulation, 0);
    }
    textureStore(output, place, value);
}
