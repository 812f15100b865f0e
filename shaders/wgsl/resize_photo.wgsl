// output[y, x] = a pixel of a photo that is resized along one axis: red, green and blue as Pillow rounds them
// to bytes, the lowest first, in one word. The photo is a texture as renderers have them; what is stored as
// sRGB, and read as linear, is made sRGB again.
//
// Along the axis, output pixel i is the sum of the photo's pixels starts[i], starts[i] + 1, … by weights[i,
// …], integers in units of 2⁻²². Behind those of a pixel with fewer, weights are zero.

struct Params {
    // The photo.
    height: u32,
    width: u32,
    // The output along the axis, and the most weights of a pixel.
    length: u32,
    taps: u32,
    // 1 where columns become shorter or longer, 0 where rows do.
    is_vertical: u32,
    is_srgb: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var photo: texture_2d<f32>;
@group(0) @binding(2) var<storage, read> starts: array<u32>;
@group(0) @binding(3) var<storage, read> weights: array<i32>;
@group(0) @binding(4) var<storage, read_write> output: array<u32>;

fn encoded(linear: vec3<f32>) -> vec3<f32> {
    let low = 12.92 * linear;
    let high = 1.055 * pow(max(linear, vec3(0.0031308)), vec3(1.0 / 2.4)) - 0.055;
    return select(high, low, linear <= vec3(0.0031308));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = id.x + id.y * grid.x * 64u;
    let is_vertical = params.is_vertical == 1u;
    let columns = select(params.length, params.width, is_vertical);
    let rows = select(params.height, params.length, is_vertical);
    if i >= rows * columns { return; }
    let x = i % columns;
    let y = i / columns;
    let place = select(x, y, is_vertical);
    let last = select(params.width, params.height, is_vertical) - 1u;
    var sums = vec3(1 << 21u);
    for (var tap = 0u; tap < params.taps; tap++) {
        let source = min(starts[place] + tap, last);
        let texel = textureLoad(photo, select(vec2(source, y), vec2(x, source), is_vertical), 0).rgb;
        var value = clamp(texel, vec3(0.0), vec3(1.0));
        if params.is_srgb == 1u { value = encoded(value); }
        sums += vec3<i32>(value * 255.0 + 0.5) * weights[place * params.taps + tap];
    }
    let bytes = vec3<u32>(clamp(sums >> vec3(22u), vec3(0), vec3(255)));
    output[i] = bytes.x | (bytes.y << 8u) | (bytes.z << 16u);
}
