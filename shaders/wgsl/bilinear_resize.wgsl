// output[image, :, :] = input[image, :, :] resized, as PyTorch's bilinear interpolation with align_corners=False does
// (no antialiasing: masks are enlarged to the photo). Of the output, the `rows` rows from `first_row` on are made: a large
// photo's mask exceeds what an adapter binds in one piece.

struct Params {
    images: u32,
    input_height: u32,
    input_width: u32,
    output_height: u32,
    output_width: u32,
    first_row: u32,
    rows: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = id.x + id.y * grid.x * 64u;
    if i >= params.images * params.rows * params.output_width { return; }
    let x = i % params.output_width;
    let y = params.first_row + i / params.output_width % params.rows;
    let image = i / (params.output_width * params.rows);
    let scale = vec2(
        f32(params.input_width) / f32(params.output_width),
        f32(params.input_height) / f32(params.output_height),
    );
    let source = max((vec2(f32(x), f32(y)) + 0.5) * scale - 0.5, vec2(0.0));
    let last = vec2(params.input_width - 1u, params.input_height - 1u);
    let near = min(vec2<u32>(source), last);
    let far = min(near + 1u, last);
    let t = source - vec2<f32>(near);
    let top = (image * params.input_height + near.y) * params.input_width;
    let bottom = (image * params.input_height + far.y) * params.input_width;
    output[i] = mix(
        mix(input[top + near.x], input[top + far.x], t.x),
        mix(input[bottom + near.x], input[bottom + far.x], t.x),
        t.y,
    );
}
