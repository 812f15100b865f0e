/// 1 where the input lies in f16, two values per word; else it lies as a float per word.
override INPUT_F16: u32 = 0u;

// Four values of the input, as it lies.
fn read_input(place: u32) -> vec4<f32> {
    if INPUT_F16 != 0u { return widened(input[place]); }
    return bitcast<vec4<f32>>(vec4(input[2u * place], input[2u * place + 1u]));
}

fn widened(halves: vec2<u32>) -> vec4<f32> {
    return vec4(unpack2x16float(halves.x), unpack2x16float(halves.y));
}
