// Puts four values into a tile of vectors.
fn put(place: u32, four: vec4<f16>) {
    halves[place] = four;
}
