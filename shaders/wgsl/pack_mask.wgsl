// output = probabilities[height, width] in texels of 8, 16 or 32 bits, the lowest bits of a word first, each
// row in `stride` words: what is copied to a texture of r8unorm, r16float or r32float. Texels behind a row's
// end are zero. With a threshold a texel is 1 where the probability reaches it, else 0.

struct Params {
    height: u32,
    width: u32,
    stride: u32,
    // Of a texel.
    bits: u32,
    has_threshold: u32,
    threshold: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> probabilities: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<u32>;

// The half-precision float nearest to one of 0..=1, of two as near ones the even. Not `pack2x16float`, which
// not every adapter has.
fn half(value: f32) -> u32 {
    // Below 2⁻¹⁴ halves are multiples of 2⁻²⁴.
    if value < 6.103515625e-5 { return u32(round(value * 16777216.0)); }
    let bits = bitcast<u32>(value) - (112u << 23u);
    return (bits + 0xfffu + ((bits >> 13u) & 1u)) >> 13u;
}

#include "shared/elements.wgsl"

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = element(id, grid);
    if i >= params.height * params.stride { return; }
    let row = i / params.stride;
    let texels = 32u / params.bits;
    let first = (i % params.stride) * texels;
    var word = 0u;
    for (var texel = 0u; texel < texels; texel++) {
        let x = first + texel;
        if x >= params.width { break; }
        var value = probabilities[row * params.width + x];
        if params.has_threshold == 1u { value = select(0.0, 1.0, value >= params.threshold); }
        var bits = bitcast<u32>(value);
        if params.bits == 8u { bits = u32(value * 255.0 + 0.5); }
        if params.bits == 16u { bits = half(value); }
        // A shift by 32 is not one.
        word |= bits << ((texel * params.bits) & 31u);
    }
    output[i] = word;
}
