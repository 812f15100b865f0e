// The activation of an epilogue, by its number in `clipseg_shaders::Activation`.
override ACTIVATION: u32 = 0u;

fn activate(x: f32) -> f32 {
    switch ACTIVATION {
        case 1u: { return x / (1.0 + exp(-1.702 * x)); }
        case 2u: { return 0.5 * x * (1.0 + erf(x * 0.70710678)); }
        case 3u: { return x * (1.0 - 1.0 / (exp(min(1.5957691 * (x + 0.044715 * x * x * x), 80.0)) + 1.0)); }
        case 4u: { return relu(x); }
        case 5u: { return 1.0507010 * select(x, 1.6732632 * (exp(min(x, 0.0)) - 1.0), x < 0.0); }
        default: { return x; }
    }
}

// max(x, 0), which would make zero of NaN: a model that overflows would give a mask, and no error.
fn relu(x: f32) -> f32 {
    return 0.5 * (x + abs(x));
}

// Abramowitz and Stegun 7.1.26; absolute error below 1.5e-7.
fn erf(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.3275911 * abs(x));
    let polynomial = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    return sign(x) * (1.0 - polynomial * exp(-x * x));
}
