// sum = reduced[scene(pair), token, :] + previous[pair, token, :]
// output[pair, token, :] = gamma[pair, :] · sum + beta[pair, :] where conditioned, else sum
//
// Feature-wise linear modulation (Perez et al. 2018) over a skip connection. A pair is a condition on a
// scene: all on one scene (scenes = 1), or as many scenes as pairs.

struct Params {
    pairs: u32,
    scenes: u32,
    tokens: u32,
    columns: u32,
    has_previous: u32,
    conditioned: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> reduced: array<f32>;
@group(0) @binding(2) var<storage, read> previous: array<f32>;
@group(0) @binding(3) var<storage, read> gamma: array<f32>;
@group(0) @binding(4) var<storage, read> beta: array<f32>;
@group(0) @binding(5) var<storage, read_write> output: array<f32>;

#include "shared/elements.wgsl"

@compute @workgroup_size(THREADS)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>) {
    let i = element(id, grid);
    let scene_length = params.tokens * params.columns;
    if i >= params.pairs * scene_length { return; }
    let pair = i / scene_length;
    let modulation = pair * params.columns + i % params.columns;
    var value = reduced[i % (params.scenes * scene_length)];
    if params.has_previous != 0u { value += previous[i]; }
    if params.conditioned != 0u { value = gamma[modulation] * value + beta[modulation]; }
    output[i] = value;
}
