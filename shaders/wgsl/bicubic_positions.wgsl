// Position embeddings of a grid, resized to another: positions[1 + rows·columns, width] from table[1 +
// side·side, width].
//
// PyTorch's bicubic interpolation with align_corners=False, a = -0.75 and no antialiasing, edges repeated;
// row 0, the class token's position, is kept.

struct Params {
    side: u32,
    rows: u32,
    columns: u32,
    width: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<f32>;
@group(0) @binding(2) var<storage, read_write> positions: array<f32>;

const A: f32 = -0.75;

// Weights of the four neighbours at distances 1 + t, t, 1 - t and 2 - t.
fn cubic_weights(t: f32) -> vec4<f32> {
    let u = 1.0 - t;
    return vec4(
        ((A * (t + 1.0) - 5.0 * A) * (t + 1.0) + 8.0 * A) * (t + 1.0) - 4.0 * A,
        ((A + 2.0) * t - (A + 3.0)) * t * t + 1.0,
        ((A + 2.0) * u - (A + 3.0)) * u * u + 1.0,
        ((A * (u + 1.0) - 5.0 * A) * (u + 1.0) + 8.0 * A) * (u + 1.0) - 4.0 * A,
    );
}

#include "shared/elements.wgsl"

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = element(id, grid);
    if i >= (params.rows * params.columns + 1u) * params.width { return; }
    let channel = i % params.width;
    if i < params.width {
        positions[i] = table[i];
        return;
    }
    let place = i / params.width - 1u;
    let scale = vec2(f32(params.side) / f32(params.columns), f32(params.side) / f32(params.rows));
    let source = (vec2(f32(place % params.columns), f32(place / params.columns)) + 0.5) * scale - 0.5;
    let corner = floor(source);
    let across = cubic_weights(source.x - corner.x);
    let down = cubic_weights(source.y - corner.y);
    let last = i32(params.side) - 1;
    var sum = 0.0;
    for (var j = 0; j < 4; j++) {
        let y = u32(clamp(i32(corner.y) + j - 1, 0, last));
        var line = 0.0;
        for (var k = 0; k < 4; k++) {
            let x = u32(clamp(i32(corner.x) + k - 1, 0, last));
            line += across[k] * table[(1u + y * params.side + x) * params.width + channel];
        }
        sum += down[j] * line;
    }
    positions[i] = sum;
}
