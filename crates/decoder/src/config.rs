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
    /// Number of layers, one per activation.
    pub depth: usize,
    /// The layer before which the condition enters, counted in the order in which the decoder runs them;
    /// `None` for a decoder that does not use the condition.
    pub conditional_layer: Option<usize>,
    /// The side of the vision tower's patches, and so the factor of the upsampling.
    pub patch_size: usize,
    /// The layer norms' ε.
    pub layer_norm_eps: f32,
    /// Whether the decoder ends in a convolution and two transposed convolutions instead of a single
    /// transposed convolution.
    pub use_complex_transposed_convolution: bool,
}
