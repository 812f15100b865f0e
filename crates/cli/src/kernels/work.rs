//! The ops that kernels are measured by, and what each costs by formula.

mod forms;

pub use self::forms::{Form, Values};

/// An op at a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// `[m, k]` by a weight of `[n, k]`.
    Product {
        m: usize,
        n: usize,
        k: usize,
    },
    Attention {
        sequences: usize,
        tokens: usize,
        heads: usize,
        head_size: usize,
        causal: bool,
    },
    /// Two linear layers with an activation between them, and their input added.
    Mlp {
        rows: usize,
        width: usize,
        hidden: usize,
    },
    LayerNorm {
        rows: usize,
        columns: usize,
    },
    Softmax {
        rows: usize,
        columns: usize,
    },
    Film {
        pairs: usize,
        tokens: usize,
        columns: usize,
    },
    /// 3×3, of maps of `side` by `side`.
    Convolution {
        side: usize,
        channels: usize,
    },
    /// The published model's two transposed convolutions, of a kernel of 4 each.
    Upsample {
        side: usize,
        channels: usize,
    },
    /// Of two tensors of one shape, value by value.
    Binary {
        operation: Arithmetic,
        length: usize,
    },
    QuickGelu {
        length: usize,
    },
    Sigmoid {
        length: usize,
    },
    Resize {
        height: usize,
        width: usize,
        from: usize,
    },
    Patchify {
        side: usize,
        patch: usize,
    },
    GuidedCoefficients {
        side: usize,
        radius: usize,
    },
    GuidedApply {
        height: usize,
        width: usize,
    },
}

/// What is done with two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    Add,
    Mul,
}

/// What a layer norm adds to the variance.
pub const EPSILON: f64 = 1e-5;

impl Work {
    pub fn attention(sequences: usize, tokens: usize, heads: usize, head_size: usize, causal: bool) -> Self {
        Self::Attention { sequences, tokens, heads, head_size, causal }
    }

    /// The op's name.
    pub fn op(self) -> &'static str {
        match self {
            Self::Product { .. } => "product",
            Self::Attention { .. } => "attention",
            Self::Mlp { .. } => "MLP",
            Self::LayerNorm { .. } => "layer norm",
            Self::Softmax { .. } => "softmax",
            Self::Film { .. } => "FiLM",
            Self::Convolution { .. } => "convolution",
            Self::Upsample { .. } => "transposed convolution",
            Self::Binary { operation: Arithmetic::Add, .. } => "sum",
            Self::Binary { operation: Arithmetic::Mul, .. } => "product, value by value",
            Self::QuickGelu { .. } => "quick GELU",
            Self::Sigmoid { .. } => "sigmoid",
            Self::Resize { .. } => "bilinear resize",
            Self::Patchify { .. } => "patchify",
            Self::GuidedCoefficients { .. } => "guided filter, coefficients",
            Self::GuidedApply { .. } => "guided filter, applied",
        }
    }

    /// What the formulas are of.
    pub fn sizes(self) -> Vec<(&'static str, usize)> {
        match self {
            Self::Product { m, n, k } => vec![("M", m), ("N", n), ("K", k)],
            Self::Attention { sequences, tokens, heads, head_size, .. } => {
                vec![("B", sequences), ("T", tokens), ("H", heads), ("D", head_size)]
            }
            Self::Mlp { rows, width, hidden } => vec![("R", rows), ("W", width), ("H", hidden)],
            Self::LayerNorm { rows, columns } | Self::Softmax { rows, columns } => {
                vec![("R", rows), ("C", columns)]
            }
            Self::Film { pairs, tokens, columns } => vec![("P", pairs), ("T", tokens), ("C", columns)],
            Self::Convolution { side, channels } | Self::Upsample { side, channels } => {
                vec![("S", side), ("C", channels)]
            }
            Self::Binary { length, .. } | Self::QuickGelu { length } | Self::Sigmoid { length } => {
                vec![("L", length)]
            }
            Self::Resize { height, width, from } => vec![("S", from), ("Y", height), ("X", width)],
            Self::Patchify { side, patch } => vec![("S", side), ("P", patch)],
            Self::GuidedCoefficients { side, radius } => vec![("S", side), ("R", radius)],
            Self::GuidedApply { height, width } => vec![("Y", height), ("X", width)],
        }
    }

    /// The sizes for people.
    pub fn shape(self) -> String {
        let sizes: Vec<_> = self.sizes().iter().map(|(name, size)| format!("{name} {size}")).collect();
        let causal = if matches!(self, Self::Attention { causal: true, .. }) { ", causal" } else { "" };
        sizes.join(" · ") + causal
    }

    /// Floating-point operations by the sizes, as [`clipseg::Cost`] counts them.
    pub fn flops_formula(self) -> &'static str {
        match self {
            Self::Product { .. } => "2·M·N·K",
            Self::Attention { causal: false, .. } => "4·B·H·T·T·D",
            Self::Attention { causal: true, .. } => "2·B·H·T·(T + 1)·D",
            Self::Mlp { .. } => "4·R·W·H",
            Self::LayerNorm { .. } => "7·R·C",
            Self::Softmax { .. } => "5·R·C",
            Self::Film { .. } => "3·P·T·C",
            Self::Convolution { .. } => "18·S·S·C·C",
            Self::Upsample { .. } => "16·S·S·C·C + 256·S·S·C",
            Self::Binary { .. } => "L",
            Self::QuickGelu { .. } | Self::Sigmoid { .. } => "4·L",
            Self::Resize { .. } => "9·Y·X",
            Self::Patchify { .. } => "0",
            Self::GuidedCoefficients { .. } => "175·S·S",
            Self::GuidedApply { .. } => "11·Y·X",
        }
    }

    /// Bytes of all inputs, weights and outputs, each once: `i`, `w` and `o` are the bytes of a value of the
    /// input, the weight and the output. None for an op of several kernels, whose bytes depend on which they
    /// are.
    pub fn bytes_formula(self) -> Option<&'static str> {
        match self {
            Self::Product { .. } => Some("i·M·K + w·N·K + 4·N + o·M·N"),
            Self::Attention { .. } => Some("3·i·B·T·H·D + o·B·T·H·D"),
            Self::LayerNorm { .. } => Some("4·R·C + 8·C + o·R·C"),
            Self::Softmax { .. } => Some("8·R·C"),
            Self::Film { .. } => Some("4·T·C + 8·P·T·C + 8·P·C"),
            Self::Binary { .. } => Some("12·L"),
            Self::QuickGelu { .. } | Self::Sigmoid { .. } => Some("8·L"),
            Self::Resize { .. } => Some("4·S·S + 4·Y·X"),
            Self::Patchify { .. } => Some("24·S·S"),
            Self::GuidedApply { .. } => Some("32·Y·X"),
            Self::Mlp { .. }
            | Self::Convolution { .. }
            | Self::Upsample { .. }
            | Self::GuidedCoefficients { .. } => None,
        }
    }

    /// Whether it has weights, which may be in f16 where nothing else is.
    pub fn has_weights(self) -> bool {
        matches!(
            self,
            Self::Product { .. } | Self::Mlp { .. } | Self::Convolution { .. } | Self::Upsample { .. }
        )
    }
}
