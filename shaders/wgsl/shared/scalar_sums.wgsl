// Four sums from a tile of scalars, from `place` on.
fn four_sums(place: u32) -> vec4<f32> {
    return vec4(floats[place], floats[place + 1u], floats[place + 2u], floats[place + 3u]);
}
