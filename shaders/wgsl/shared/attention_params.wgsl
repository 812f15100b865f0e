struct Params {
    /// Of an image, where all have as many.
    tokens: u32,
    heads: u32,
    head_size: u32,
    causal: u32,
    has_mask: u32,
    has_cu_seqlens: u32,
    scale: f32,
    /// Where this dispatch begins: a long one may be cut into several.
    first_workgroup: vec3<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
