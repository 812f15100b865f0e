// Four inner values of a column of the weight, zeros beyond either edge.
fn weight_vector(column: u32, vector: u32) -> vec4<f32> {
    let vectors = params.inner / 4u;
    if column >= params.columns || vector >= vectors { return vec4<f32>(); }
    return read_weight(column * vectors + vector);
}
