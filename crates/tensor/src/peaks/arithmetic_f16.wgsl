// The rate of f16 arithmetic from registers: sixteen chains of fused multiplications and additions per thread, which do not wait for
// each other. 16 × 8 × 2 operations per round.

enable f16;

struct Params {
    rounds: u32,
    factor: f32,
    summand: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<f32>>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let factor = vec4(f16(params.factor));
    let summand = vec4(f16(params.summand));
    var a = vec4(f16(id.x % 256u)) + vec4(0.1h, 0.2h, 0.3h, 0.4h);
    var b = a + 1.0h;
    var c = a + 2.0h;
    var d = a + 3.0h;
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
    output[id.x] = vec4<f32>(a + b + c + d);
}
