// output[channel, y, x] = table[channel, byte], where byte is that of a picture's pixel, resized along one
// axis and rounded as Pillow does it. A pixel is a word: red, green and blue, the lowest byte first. The
// table is what a processor makes of each byte.
//
// Along the axis, output pixel i is the sum of the picture's pixels starts[i], starts[i] + 1, … by weights[i,
// …], integers in units of 2⁻²². Behind those of a pixel with fewer, weights are zero.

struct Params {
    // The picture.
    height: u32,
    width: u32,
    // The output along the axis, and the most weights of a pixel.
    length: u32,
    taps: u32,
    // 1 where columns become shorter or longer, 0 where rows do.
    is_vertical: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> picture: array<u32>;
@group(0) @binding(2) var<storage, read> starts: array<u32>;
@group(0) @binding(3) var<storage, read> weights: array<i32>;
@group(0) @binding(4) var<storage, read> table: array<f32>;
@group(0) @binding(5) var<storage, read_write> output: array<f32>;

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
        let word = picture[select(y * params.width + source, source * params.width + x, is_vertical)];
        let bytes = vec3<i32>((vec3(word) >> vec3(0u, 8u, 16u)) & vec3(255u));
        sums += bytes * weights[place * params.taps + tap];
    }
    let bytes = vec3<u32>(clamp(sums >> vec3(22u), vec3(0), vec3(255)));
    output[i] = table[bytes.x];
    output[rows * columns + i] = table[256u + bytes.y];
    output[2u * rows * columns + i] = table[512u + bytes.z];
}
