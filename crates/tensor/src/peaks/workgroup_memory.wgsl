// The rate of reading workgroup memory: every thread adds vectors of a tile, neighbours neighbouring ones. 8 × 16 bytes per thread
// and round.

struct Params {
    rounds: u32,
    factor: f32,
    summand: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<f32>>;

const VECTORS: u32 = 512u;
var<workgroup> tile: array<vec4<f32>, VECTORS>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    tile[thread] = vec4(params.factor);
    tile[thread + 256u] = vec4(params.summand);
    workgroupBarrier();
    var a = vec4<f32>();
    var b = vec4<f32>();
    var place = thread;
    for (var i = 0u; i < params.rounds; i++) {
        a += tile[place]; b += tile[(place + 32u) % VECTORS];
        a += tile[(place + 64u) % VECTORS]; b += tile[(place + 96u) % VECTORS];
        a += tile[(place + 128u) % VECTORS]; b += tile[(place + 160u) % VECTORS];
        a += tile[(place + 192u) % VECTORS]; b += tile[(place + 224u) % VECTORS];
        place = (place + 1u) % VECTORS;
    }
    output[id.x] = a + b;
}
