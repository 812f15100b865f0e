// The rows of a batch's images, and the mask of keys.

/// One number per row, 0 for a key to be left out
@group(0) @binding(2) var<storage, read> key_mask: array<u32>;
/// [images + 1], the row that each image starts with, where they differ in length; the last one ends before
/// the last of these
@group(0) @binding(3) var<storage, read> cu_seqlens: array<u32>;

// Adding the lowest float, as transformers masks, leaves it as it is; adding it twice gives -inf.
const LOWEST: f32 = -3.4028234e38;

// The rows of an image.
struct Sequence {
    first: u32,
    length: u32,
}

fn sequence_of(image: u32) -> Sequence {
    if params.has_cu_seqlens == 0u { return Sequence(image * params.tokens, params.tokens); }
    // Within the input, whatever cu_seqlens says.
    let first = min(cu_seqlens[image], params.tokens);
    return Sequence(first, clamp(cu_seqlens[image + 1u], first, params.tokens) - first);
}
