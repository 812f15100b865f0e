// Four columns of four rows of the weight: what the strip's texel of the lane `source` meets in this one. A
// texel of a panel has four columns of two values of K, in f16.
fn weight_texels(source: u32, lane: u32, panel_row: u32) -> mat4x4<f32> {
    let place = vec2(source * 2u * LANES + lane, panel_row);
    let first = textureLoad(weight, place);
    let first_row = vec4(unpack2x16float(first.x), unpack2x16float(first.y));
    let second_row = vec4(unpack2x16float(first.z), unpack2x16float(first.w));
    let second = textureLoad(weight, place + vec2(LANES, 0u));
    let third_row = vec4(unpack2x16float(second.x), unpack2x16float(second.y));
    let fourth_row = vec4(unpack2x16float(second.z), unpack2x16float(second.w));
    return mat4x4<f32>(first_row, second_row, third_row, fourth_row);
}
