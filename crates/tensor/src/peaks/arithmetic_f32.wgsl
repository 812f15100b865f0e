// The rate of f32 arithmetic from registers: sixteen chains of fused multiplications and additions per thread, which do not wait for
// each other. 16 × 8 × 2 operations per round.

struct Params {
    rounds: u32,
    factor: f32,
    summand: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<f32>>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let factor = vec4(params.factor);
    let summand = vec4(params.summand);
    var a = vec4(f32(id.x)) + vec4(0.1, 0.2, 0.3, 0.4);
    var b = a + 1.0;
    var c = a + 2.0;
    var d = a + 3.0;
    for (var i = 0u; i < params.rounds; i++) {
        a = fma(a, factor, summand); b = fma(b, factor, summand); c = fma(c, factor, summand); d = fma(d, factor, summand);
        a = fma(a, factor, summand); b = fma(b, factor, summand); c = fma(c, factor, summand); d = fma(d, factor, summand);
        a = fma(a, factor, summand); b = fma(b, factor, summand); c = fma(c, factor, summand); d = fma(d, factor, summand);
        a = fma(a, factor, summand); b = fma(b, factor, summand); c = fma(c, factor, summand); d = fma(d, factor, summand);
        a = fma(a, factor, summand); b = fma(b, factor, summand); c = fma(c, factor, summand); d = fma(d, factor, summand);
        a = fma(a, factor, summand); b = fma(b, factor, summand); c = fma(c, factor, summand); d = fma(d, factor, summand);
        a = fma(a, factor, summand); b = fma(b, factor, summand); c = fma(c, factor, summand); d = fma(d, factor, summand);
        a = fma(a, factor, summand); b = fma(b, factor, summand); c = fma(c, factor, summand); d = fma(d, factor, summand);
    }
    output[id.x] = a + b + c + d;
}
