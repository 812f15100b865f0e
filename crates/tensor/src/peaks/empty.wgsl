// Nothing but one word written: what a dispatch takes beside its work.

@group(0) @binding(1) var<storage, read_write> output: array<vec4<f32>>;

@compute @workgroup_size(1)
fn main() {
    output[0].x += 1.0;
}
