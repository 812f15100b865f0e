// Four sums from a tile of vectors.
fn four_sums(place: u32) -> vec4<f32> {
    return floats[place];
}
