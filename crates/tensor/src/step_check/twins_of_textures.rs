//! The twins of the kernels on textures, with operands unpacked to rows.

use bytemuck::Pod;
use clipseg_shaders::{Activation, kernels, twins};

use super::operand::Operand;
use crate::ops::unpack_panels;
use crate::step::Dispatch;
use crate::twin::{activation_numbered, activation_of};
use crate::{Error, Result};

/// What a kernel has written, and what it should have.
type Pair = (Vec<f32>, Vec<f32>);

/// A step of a kernel on textures.
struct Step<'a> {
    params: &'a [u8],
    overrides: &'a [(&'static str, u32)],
    inputs: &'a [Operand],
    output: &'a Operand,
    /// Values that it writes, the padding of rows to texels left out.
    length: usize,
    /// Workgroups along z.
    groups: u32,
}

/// What the kernel of `dispatch` has written to `output`, `length` values, and what it should have; none
/// where that is not known here.
///
/// # Errors
/// [`Error::Device`] where an operand is missing.
pub(super) fn compare(
    dispatch: &Dispatch,
    params: &[u8],
    inputs: &[Operand],
    output: &Operand,
    length: usize,
) -> Result<Option<Pair>> {
    let overrides = dispatch.pipeline.overrides();
    let step = Step { params, overrides, inputs, output, length, groups: dispatch.grid[2] };
    twin_of(dispatch.pipeline.kernel.name).map(|twin| twin(&step)).transpose()
}

/// Computes what a step should have given.
type TextureTwin<'a> = fn(&Step<'a>) -> Result<Pair>;

/// Whether a kernel lies on textures and has a twin here.
#[cfg(test)]
pub(super) fn has_twin(kernel: &str) -> bool {
    twin_of(kernel).is_some()
}

/// The twin of a kernel that lies on textures.
fn twin_of<'a>(kernel: &str) -> Option<TextureTwin<'a>> {
    let twin: TextureTwin<'a> = match kernel {
        "texture_from_buffer" | "buffer_from_texture" => Step::copy,
        "matmul_subgroup" | "matmul_subgroup_packed_f16" => Step::matmul,
        "mlp_subgroup" | "mlp_subgroup_packed_f16" => Step::mlp,
        "attention_subgroup" | "attention_subgroup_16" => Step::attention,
        "layer_norm_subgroup" => Step::layer_norm,
        "film_subgroup" => Step::film,
        "gather_rows_subgroup" => Step::gather_rows,
        "im2col_3x3_subgroup" => Step::im2col_3x3,
        _ => return None,
    };
    Some(twin)
}

impl Step<'_> {
    fn params<P: Pod>(&self) -> P {
        bytemuck::pod_read_unaligned(&self.params[..size_of::<P>()])
    }

    fn input(&self, binding: usize) -> Result<&Operand> {
        self.inputs
            .get(binding)
            .ok_or_else(|| Error::Device("an operand of a recorded step is not there".to_owned()))
    }

    fn activation(&self) -> Activation {
        activation_of(self.overrides)
    }

    /// The weight `[columns, inner]` that lies in panels.
    fn weight(&self, binding: usize, sizes: [usize; 2]) -> Result<Vec<f32>> {
        let panels = self.input(binding)?;
        let lanes = kernels::matmul_subgroup::Overrides::of(self.overrides).lanes;
        Ok(unpack_panels(&panels.floats(), panels.row(), (lanes, panels.is_f16), sizes))
    }

    /// `activation(input · weightᵀ + bias) + residual`, `[rows, columns]`
    fn product(
        &self,
        input: &[f32],
        weight: &[f32],
        bias: Option<&Operand>,
        residual: Option<Vec<f32>>,
        activation: Activation,
        [rows, columns]: [usize; 2],
    ) -> Vec<f32> {
        let params = kernels::matmul_tile::Params {
            rows: rows as u32,
            columns: columns as u32,
            inner: (weight.len() / columns.max(1)) as u32,
            has_bias: bias.is_some().into(),
            has_residual: residual.is_some().into(),
        };
        let bias = bias.map(|bias| bias.matrix(1, columns)).unwrap_or_default();
        let mut output = vec![0.0; rows * columns];
        twins::matmul(&params, activation, input, weight, &bias, &residual.unwrap_or_default(), &mut output);
        output
    }

    fn copy(&self) -> Result<Pair> {
        let kernels::texture_from_buffer::Params { rows, columns } = self.params();
        let values = self.input(0)?.matrix(rows as usize, columns as usize);
        Ok((self.output.matrix(rows as usize, columns as usize), values))
    }

    fn matmul(&self) -> Result<Pair> {
        let params: kernels::matmul_subgroup::Params = self.params();
        let (rows, inner) = (params.rows as usize, 4 * params.inner_texels as usize);
        // Groups of columns lie side by side, so each is a row of a longer input.
        let groups = self.groups as usize;
        let columns = self.length / (rows * groups);
        let input = self.input(0)?.matrix(rows, groups * inner);
        let weight = self.weight(1, [columns, inner])?;
        let bias = if params.has_bias != 0 { Some(self.input(2)?) } else { None };
        let residual =
            if params.has_residual != 0 { Some(self.input(3)?.matrix(rows, columns)) } else { None };
        let activation = activation_numbered(params.activation);
        let values = self.product(&input, &weight, bias, residual, activation, [rows * groups, columns]);
        Ok((self.output.matrix(rows, groups * columns), values))
    }

    fn mlp(&self) -> Result<Pair> {
        let params: kernels::mlp_subgroup::Params = self.params();
        let rows = params.rows as usize;
        // Groups of hidden values lie side by side, so each is a row of a longer input.
        let groups = self.groups as usize;
        let [inner, hidden] = [params.inner_texels, params.hidden_texels].map(|texels| 4 * texels as usize);
        let columns = self.length / (rows * groups);
        let input = self.input(0)?.matrix(rows, inner);
        let up = self.weight(1, [groups * hidden, inner])?;
        let up_bias = Some(self.input(2)?);
        let between = self.product(&input, &up, up_bias, None, self.activation(), [rows, groups * hidden]);
        let down = self.weight(3, [columns, hidden])?;
        let residual = if params.adds_input != 0 { Some(self.input(0)?.matrix(rows, columns)) } else { None };
        let bias = Some(self.input(4)?);
        let values =
            self.product(&between, &down, bias, residual, Activation::None, [rows * groups, columns]);
        Ok((self.output.matrix(rows, groups * columns), values))
    }

    fn attention(&self) -> Result<Pair> {
        let params: kernels::attention_subgroup::Params = self.params();
        let head_size = 4 * kernels::attention_subgroup::Overrides::of(self.overrides).texels;
        let width = (params.heads * head_size) as usize;
        let rows = self.length / width;
        let fused = self.input(0)?.matrix(rows, 3 * width);
        let [key_mask, cu_seqlens] = [self.input(1)?.as_words(), self.input(2)?.as_words()];
        let params = kernels::attention::Params {
            tokens: params.tokens,
            heads: params.heads,
            head_size,
            causal: params.causal,
            has_mask: params.has_mask,
            has_cu_seqlens: params.has_cu_seqlens,
            scale: params.scale,
        };
        let actual = self.output.matrix(rows, width);
        // Rows beyond packed sequences may be anything.
        let mut values = actual.clone();
        twins::attention(&params, &fused, &key_mask, &cu_seqlens, &mut values);
        Ok((actual, values))
    }

    fn layer_norm(&self) -> Result<Pair> {
        let params: kernels::layer_norm_subgroup::Params = self.params();
        let overrides = kernels::layer_norm_subgroup::Overrides::of(self.overrides);
        let (rows, columns) = (params.rows as usize, 4 * overrides.column_texels as usize);
        let input = self.input(0)?.matrix(rows, columns);
        let weight_and_bias = self.input(1)?.matrix(2, columns);
        let (weight, bias) = weight_and_bias.split_at(columns);
        let params = kernels::layer_norm::Params {
            rows: params.rows,
            columns: columns as u32,
            epsilon: params.epsilon,
        };
        let mut values = vec![0.0; rows * columns];
        twins::layer_norm(&params, &input, weight, bias, &mut values);
        Ok((self.output.matrix(rows, values.len() / rows.max(1)), values))
    }

    fn film(&self) -> Result<Pair> {
        let params: kernels::film_subgroup::Params = self.params();
        let [pairs, scenes, tokens] = [params.pairs, params.scenes, params.tokens].map(|size| size as usize);
        let rows = pairs * tokens;
        let columns = self.length / rows;
        let matrix =
            |binding: usize, rows: usize| self.input(binding).map(|input| input.matrix(rows, columns));
        let [reduced, previous] = [matrix(0, scenes * tokens)?, matrix(1, rows)?];
        let [gamma, beta] = [matrix(2, pairs)?, matrix(3, pairs)?];
        let params = kernels::film::Params {
            pairs: params.pairs,
            scenes: params.scenes,
            tokens: params.tokens,
            columns: columns as u32,
            has_previous: params.has_previous,
            conditioned: params.conditioned,
        };
        let mut values = vec![0.0; rows * columns];
        twins::film(&params, &reduced, &previous, &gamma, &beta, &mut values);
        Ok((self.output.matrix(rows, values.len() / rows.max(1)), values))
    }

    fn gather_rows(&self) -> Result<Pair> {
        let kernels::gather_rows_subgroup::Params { count, column_texels: _, input_rows } = self.params();
        let columns = self.length / (count as usize).max(1);
        let input = self.input(0)?.matrix(input_rows as usize, columns);
        let params = kernels::gather_rows::Params { count, columns: columns as u32, input_rows };
        let mut values = vec![0.0; self.length];
        twins::gather_rows(&params, &input, &self.input(1)?.as_words(), &mut values);
        Ok((self.output.matrix(count as usize, columns), values))
    }

    fn im2col_3x3(&self) -> Result<Pair> {
        let kernels::im2col_3x3_subgroup::Params { images, height, width, channel_texels, skip } =
            self.params();
        let channels = 4 * channel_texels;
        let input = self.input(0)?.matrix((images * (height * width + skip)) as usize, channels as usize);
        let params = kernels::im2col_3x3::Params { images, height, width, channels, skip };
        let mut values = vec![0.0; self.length];
        twins::im2col_3x3(&params, &input, &mut values);
        Ok((self.output.matrix((images * height * width) as usize, 9 * channels as usize), values))
    }
}
