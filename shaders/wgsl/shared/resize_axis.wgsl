#include "shared/elements.wgsl"

// One axis of a resizing, with sums as Pillow's: of integers, in units of 2⁻²², rounded to bytes.
@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = element(id, grid);
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
        let pixel = select(vec2(source, y), vec2(x, source), is_vertical);
        sums += bytes_of(pixel) * weights[place * params.taps + tap];
    }
    store(i, rows * columns, vec3<u32>(clamp(sums >> vec3(22u), vec3(0), vec3(255))));
}
