// Four inner values of a row of the input, zeros beyond either edge.
fn input_vector(row: u32, vector: u32) -> vec4<f32> {
    let vectors = params.inner / 4u;
    if row >= params.rows || vector >= vectors { return vec4<f32>(); }
    return read_input(row * vectors + vector);
}
