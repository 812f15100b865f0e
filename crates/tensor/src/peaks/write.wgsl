// The rate of writing: every thread writes vectors all over the buffer. 16 bytes per vector and round.

struct Params {
    rounds: u32,
    vectors: u32,
    threads: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<f32>>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    for (var round = 0u; round < params.rounds; round++) {
        for (var i = id.x; i < params.vectors; i += params.threads) { output[i] = vec4(f32(round)); }
    }
}
