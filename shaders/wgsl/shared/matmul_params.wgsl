// What every product of matrices on buffers takes.
struct Params {
    rows: u32,
    columns: u32,
    inner: u32,
    has_bias: u32,
    has_residual: u32,
    /// Where this dispatch begins: a long one may be cut into several.
    first_workgroup: vec3<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
