/// 1 where the output is to lie in f16, two values per word; else it lies as a float per word.
override OUTPUT_F16: u32 = 0u;

// Four values of the output, as it lies. What is beyond the largest half becomes that: an infinity would
// spread.
fn write_output(place: u32, value: vec4<f32>) {
    if OUTPUT_F16 != 0u {
        let bounded = clamp(value, vec4(-65504.0), vec4(65504.0));
        output[place] = vec2(pack2x16float(bounded.xy), pack2x16float(bounded.zw));
    } else {
        let words = bitcast<vec4<u32>>(value);
        output[2u * place] = words.xy;
        output[2u * place + 1u] = words.zw;
    }
}
