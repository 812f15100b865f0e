/// The sizes of a decoder, from a CLIPSeg config.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderConfig {
    /// The width of the vision tower's activations.
    pub vision_hidden_size: usize,
    /// The width of a condition.
    pub projection_dim: usize,
    /// The decoder's own width.
    pub reduce_dim: usize,
    /// The width inside its MLPs.
    pub intermediate_size: usize,
    /// Attention heads; they divide `reduce_dim`.
    pub num_attention_heads: usize,
    /// Its layers, one per activation.
    pub depth: usize,
    /// The layer before which the condition enters, counted as the decoder walks; `None` for a decoder that
    /// does not use it.
    pub conditional_layer: Option<usize>,
    /// The side of the vision tower's patches, and so the factor of the upsampling.
    pub patch_size: usize,
    /// The layer norms' ε.
    pub layer_norm_eps: f32,
    /// A convolution and two transposed ones instead of a single transposed one.
    pub use_complex_transposed_convolution: bool,
}
