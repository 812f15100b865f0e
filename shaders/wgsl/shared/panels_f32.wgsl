// Four columns of four rows of the weight: what the strip's texel of the lane `source` meets in this one. A
// texel of a panel has four columns of one value of K.
fn weight_texels(source: u32, lane: u32, panel_row: u32) -> mat4x4<f32> {
    let place = vec2(source * 4u * LANES + lane, panel_row);
    return mat4x4<f32>(
        textureLoad(weight, place),
        textureLoad(weight, place + vec2(LANES, 0u)),
        textureLoad(weight, place + vec2(2u * LANES, 0u)),
        textureLoad(weight, place + vec2(3u * LANES, 0u)),
    );
}
