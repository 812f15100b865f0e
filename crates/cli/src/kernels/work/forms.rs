//! In which forms a device computes an op, and how each is recorded.

use std::rc::Rc;

use clipseg::tensor::{
    Activation, AttentionMask, Convolution3x3, DType, Device, KernelFamily, LayerNorm, Linear, Mlp,
    Modulation, Recorder, Result, Tensor, Tile, TransposedConvolution, UpsampleInput,
};

use super::{Arithmetic, EPSILON, Work};
use crate::kernels::measure::{is_on_matrix_units, operand};
use crate::kernels::numbers::{bias, operand as numbers, weight};

/// Numbers for an operand.
pub struct Values {
    pub shape: Vec<usize>,
    /// All of them are f16 numbers, so that storing them so loses nothing.
    pub values: Vec<f32>,
    pub dtype: DType,
}

impl Values {
    fn new(dtype: DType, place: usize, shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), values: numbers(place, shape.iter().product()), dtype }
    }
}

/// Records an op on its operands.
pub type Record = Rc<dyn Fn(&mut Recorder, &[Tensor]) -> Result<Tensor>>;

/// A way in which a device computes an op.
#[derive(Clone)]
pub struct Form {
    pub operands: Rc<Vec<Values>>,
    pub record: Record,
    /// What the weight is stored as, where there is one.
    pub weight: Option<DType>,
    pub input: DType,
    pub output: DType,
    /// Whether it is the one that the engine takes by itself.
    pub is_default: bool,
}

impl Work {
    /// The ways in which `device` computes it on operands of `activations`, the engine's own choice first;
    /// none where no kernel takes these.
    pub fn forms(self, device: &Device, activations: DType) -> Result<Vec<Form>> {
        if let Self::Product { m, n, k } = self
            && !device.is_processor()
        {
            let forms = products(device, activations, [m, n, k])?;
            // Else the weight lies as the subgroup kernels want it, which take no f16.
            if !forms.is_empty() || activations == DType::F16 {
                return Ok(forms);
            }
        }
        let output = if self.gives_f16() { activations } else { DType::F32 };
        // A norm reads what flows from block to block, which stays in full.
        let input = if matches!(self, Self::Attention { .. }) { output } else { DType::F32 };
        let mut forms = Vec::new();
        for (place, kernel) in self.kernels(device, activations, input)?.into_iter().enumerate() {
            let (shapes, record) = self.recording(device, output, kernel)?;
            forms.push(Form {
                operands: Rc::new(
                    shapes
                        .iter()
                        .enumerate()
                        .map(|(place, shape)| Values::new(input, place, shape))
                        .collect(),
                ),
                record,
                weight: self.has_weights().then(|| weight_dtype(device)),
                input,
                output,
                is_default: place == 0,
            });
        }
        Ok(forms)
    }

    /// Whether what it gives may be in f16, where some kernel takes the sizes.
    fn gives_f16(self) -> bool {
        matches!(self, Self::Attention { .. } | Self::LayerNorm { .. })
    }

    /// The kernels that it is measured by, the engine's own choice first, for an op with a table of them;
    /// `None` stands for what the engine takes.
    fn kernels(self, device: &Device, activations: DType, input: DType) -> Result<Vec<Option<&'static str>>> {
        let recorder = Recorder::new(device);
        let operand = |shape: &[usize]| match input {
            DType::F16 => device.upload_f16(shape, &vec![0.0; shape.iter().product()]),
            _ => recorder.input(shape),
        };
        let mut kernels = match self {
            Self::Attention { sequences, tokens, heads, head_size, causal } => {
                let mask = AttentionMask { causal, ..AttentionMask::default() };
                let operand = operand(&[sequences, tokens, 3 * heads * head_size])?;
                recorder.attention_kernels(activations, &operand, heads, &mask)?
            }
            Self::LayerNorm { rows, columns } => {
                let layer = layer_norm(device, columns)?;
                recorder.layer_norm_kernels(activations, &operand(&[rows, columns])?, &layer)?
            }
            _ if activations == DType::F16 && !self.has_weights() => return Ok(Vec::new()),
            Self::Softmax { .. } => recorder.softmax_kernels(),
            _ => return Ok(vec![None]),
        };
        // Its kernels on buffers are those of the other family, which are measured there.
        if device.kernels() == KernelFamily::Subgroup {
            kernels.truncate(1);
        }
        Ok(kernels.into_iter().map(Some).collect())
    }

    /// The shapes of the operands, and the op on them with its output as `dtype`, by a kernel where one is
    /// named.
    fn recording(
        self,
        device: &Device,
        dtype: DType,
        kernel: Option<&'static str>,
    ) -> Result<(Vec<Vec<usize>>, Record)> {
        Ok(match self {
            Self::Product { m, n, k } => {
                let layer = layer(device, n, k)?;
                (vec![vec![m, k]], Rc::new(move |recorder, inputs| recorder.linear(&inputs[0], &layer)))
            }
            Self::Attention { sequences, tokens, heads, head_size, causal } => (
                vec![vec![sequences, tokens, 3 * heads * head_size]],
                Rc::new(move |recorder, inputs| {
                    let mask = AttentionMask { causal, ..AttentionMask::default() };
                    match kernel {
                        Some(kernel) => recorder.attention_by(kernel, dtype, &inputs[0], heads, &mask),
                        None => recorder.attention_as(dtype, &inputs[0], heads, &mask),
                    }
                }),
            ),
            Self::Mlp { rows, width, hidden } => {
                let layer = |out: usize, input: usize| {
                    Linear::new(device, out, input, &weight(out * input), Some(&bias(out)))
                };
                let mlp = Mlp::new(layer(hidden, width)?, layer(width, hidden)?, Activation::Relu)?;
                (
                    vec![vec![rows, width]],
                    Rc::new(move |recorder, inputs| recorder.mlp(&inputs[0], &mlp, &inputs[0])),
                )
            }
            Self::LayerNorm { rows, columns } => {
                let layer = layer_norm(device, columns)?;
                (
                    vec![vec![rows, columns]],
                    Rc::new(move |recorder, inputs| match kernel {
                        Some(kernel) => recorder.layer_norm_by(kernel, dtype, &inputs[0], &layer),
                        None => recorder.layer_norm_as(dtype, &inputs[0], &layer),
                    }),
                )
            }
            Self::Softmax { rows, columns } => {
                let record: Record = Rc::new(move |recorder, inputs| match kernel {
                    Some(kernel) => recorder.softmax_by(kernel, &inputs[0]),
                    None => recorder.softmax(&inputs[0]),
                });
                (vec![vec![rows, columns]], record)
            }
            Self::Film { pairs, tokens, columns } => {
                let [of_all, of_one] = [vec![pairs, tokens, columns], vec![1, tokens, columns]];
                let of_pairs = vec![pairs, columns];
                (
                    vec![of_one, of_all, of_pairs.clone(), of_pairs],
                    Rc::new(move |recorder, inputs| {
                        let modulation = Modulation { gamma: &inputs[2], beta: &inputs[3] };
                        recorder.film(pairs, &inputs[0], Some(&inputs[1]), Some(modulation))
                    }),
                )
            }
            Self::Convolution { side, channels } => {
                let (weight, bias) = (weight(9 * channels * channels), bias(channels));
                let layer = Convolution3x3::new(device, channels, channels, &weight, &bias)?;
                (
                    vec![vec![1, 1 + side * side, channels]],
                    Rc::new(move |recorder, inputs| {
                        recorder.conv2d_3x3(&inputs[0], (side, side), 1, &layer, Activation::Relu)
                    }),
                )
            }
            Self::Upsample { side, channels } => {
                let layer = |from: usize, to: usize, input| {
                    let (weight, bias) = (weight(from * to * 16), bias(to));
                    TransposedConvolution::new(device, from, to, 4, &weight, &bias, input)
                };
                let first = layer(channels, channels / 2, UpsampleInput::Tokens)?;
                let second = layer(channels / 2, 1, UpsampleInput::Pixels(16))?;
                (
                    vec![vec![1, side * side, channels]],
                    Rc::new(move |recorder, inputs| {
                        let second = Some((Activation::Relu, &second));
                        recorder.transposed_conv2d(&inputs[0], (side, side), &first, second)
                    }),
                )
            }
            Self::Binary { operation, length } => (
                vec![vec![length], vec![length]],
                Rc::new(move |recorder, inputs| match operation {
                    Arithmetic::Add => recorder.add(&inputs[0], &inputs[1]),
                    Arithmetic::Mul => recorder.mul(&inputs[0], &inputs[1]),
                }),
            ),
            Self::QuickGelu { length } => (
                vec![vec![length]],
                Rc::new(|recorder, inputs| recorder.activation(&inputs[0], Activation::QuickGelu)),
            ),
            Self::Sigmoid { length } => {
                (vec![vec![length]], Rc::new(|recorder, inputs| recorder.sigmoid(&inputs[0])))
            }
            Self::Resize { height, width, from } => (
                vec![vec![1, from, from]],
                Rc::new(move |recorder, inputs| {
                    let [from, to] = [Tile::whole(from, from), Tile::whole(height, width)];
                    recorder.bilinear_resize(&inputs[0], &from, &to)
                }),
            ),
            Self::Patchify { side, patch } => (
                vec![vec![1, 3, side, side]],
                Rc::new(move |recorder, inputs| recorder.patchify(&inputs[0], patch)),
            ),
            Self::GuidedCoefficients { side, radius } => (
                vec![vec![3, side, side], vec![side, side]],
                Rc::new(move |recorder, inputs| {
                    recorder.guided_coefficients(&inputs[0], &inputs[1], radius, 1e-4)
                }),
            ),
            Self::GuidedApply { height, width } => (
                vec![vec![4, height, width], vec![3, height, width]],
                Rc::new(|recorder, inputs| recorder.guided_apply(&inputs[0], &inputs[1])),
            ),
        })
    }
}

/// What the device stores weights as, all of which are f16 numbers here.
fn weight_dtype(device: &Device) -> DType {
    match device.precision() {
        clipseg::Precision::F32 => DType::F32,
        _ => DType::F16,
    }
}

/// What a kernel of the product reads its weight as: a device may hold one in full where no other kernel
/// takes the shape.
fn weight_of(kernel: &str) -> DType {
    if kernel.ends_with("packed_f16") || is_on_matrix_units(kernel) { DType::F16 } else { DType::F32 }
}

fn layer(device: &Device, n: usize, k: usize) -> Result<Linear> {
    Linear::new(device, n, k, &weight(n * k), Some(&bias(n)))
}

fn layer_norm(device: &Device, columns: usize) -> Result<LayerNorm> {
    LayerNorm::new(device, &weight(columns), &bias(columns), EPSILON as f32)
}

/// The product by every kernel on buffers that takes it; none where the device has the subgroup kernels,
/// which have one of their own.
fn products(device: &Device, activations: DType, [m, n, k]: [usize; 3]) -> Result<Vec<Form>> {
    // Two values in f16 share a word, and the input's last would have none to share.
    if activations == DType::F16 && (m * k) % 2 == 1 {
        return Ok(Vec::new());
    }
    let layer = Rc::new(layer(device, n, k)?);
    let operands = Rc::new(vec![Values::new(activations, 0, &[m, k])]);
    let mut recorder = Recorder::new(device);
    let input = operand(&mut recorder, &operands[0])?;
    let kernels = recorder.linear_kernels(activations, &input, &layer);
    let by = |(place, kernel): (usize, &'static str)| {
        let layer = Rc::clone(&layer);
        Form {
            operands: Rc::clone(&operands),
            record: Rc::new(move |recorder, inputs| {
                recorder.linear_by(kernel, activations, &inputs[0], &layer, Activation::None, None)
            }),
            weight: Some(weight_of(kernel)),
            input: activations,
            output: activations,
            is_default: place == 0,
        }
    };
    Ok(kernels.into_iter().enumerate().map(by).collect())
}
