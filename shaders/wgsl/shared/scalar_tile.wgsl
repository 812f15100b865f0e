// Puts four values into a tile of scalars, from `place` on.
fn put(place: u32, four: vec4<f16>) {
    halves[place] = four.x;
    halves[place + 1u] = four.y;
    halves[place + 2u] = four.z;
    halves[place + 3u] = four.w;
}
