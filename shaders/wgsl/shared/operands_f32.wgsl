// The operands in f32, in vectors of four values of a row.
@group(0) @binding(1) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> residual: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> output: array<vec4<f32>>;

fn read_input(place: u32) -> vec4<f32> {
    return input[place];
}

fn read_weight(place: u32) -> vec4<f32> {
    return weight[place];
}

fn write_output(place: u32, value: vec4<f32>) {
    output[place] = value;
}
