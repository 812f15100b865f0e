//! The matrix product on storage buffers: its kernels as rows of one table, and which of them serves a shape.

#[cfg(not(target_family = "wasm"))]
mod measure;

use clipseg_shaders::kernels::{
    matmul_broadcast, matmul_cooperative_8, matmul_cooperative_8_lanes_32, matmul_cooperative_16,
    matmul_cooperative_small_8, matmul_cooperative_small_8_lanes_32, matmul_cooperative_small_16,
    matmul_skinny, matmul_skinny_packed_f16, matmul_tile, matmul_tile_dot, matmul_tile_double_buffered,
    matmul_tile_lanes, matmul_tile_lanes_packed_f16, matmul_tile_packed_f16, matmul_tile_vec4,
};
use clipseg_shaders::{Activation, Kernel};

use super::{has_subgroups_of, shape_error};
use crate::cost::product_flops;
use crate::matrix_units::MatrixSize;
use crate::tensor::DType;
use crate::{Device, Linear, Recorder, Result, Tensor};

/// A product `activation(input [rows, inner] · weight [columns, inner]ᵀ + bias) + residual`: M is `rows`, N
/// `columns` and K `inner`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Problem {
    rows: usize,
    columns: usize,
    inner: usize,
    weight: DType,
    input: DType,
    output: DType,
    activation: Activation,
    has_bias: bool,
    has_residual: bool,
}

/// A weight `[out_features, in_features]` in a buffer.
pub(crate) struct RowWeight {
    values: Tensor,
}

/// The tensors of a product, all but its output.
#[derive(Clone, Copy)]
pub(crate) struct Operands<'a> {
    pub input: &'a Tensor,
    pub weight: &'a RowWeight,
    pub bias: Option<&'a Tensor>,
    pub residual: Option<&'a Tensor>,
    pub activation: Activation,
    /// What the output's elements are to be.
    pub output: DType,
}

impl Operands<'_> {
    fn problem(&self) -> Problem {
        Problem {
            rows: self.input.rows(),
            columns: self.weight.values.rows(),
            inner: self.weight.values.columns(),
            weight: self.weight.values.dtype(),
            input: self.input.dtype(),
            output: self.output,
            activation: self.activation,
            has_bias: self.bias.is_some(),
            has_residual: self.residual.is_some(),
        }
    }
}

/// A kernel for the product, and what it needs. All take the same parameters and resources, which a test in
/// the shader crate holds together.
#[derive(Debug)]
pub(crate) struct Variant {
    kernel: &'static Kernel,
    /// Rows and columns of the output that a workgroup makes.
    tile: [usize; 2],
    /// What the columns and the inner size have to be multiples of.
    multiples: [usize; 2],
    /// The most rows that it is meant for.
    most_rows: usize,
    /// The weight that it reads. One that reads f16 values may take the input, and give the output, in f16 or
    /// in full.
    weight: DType,
    /// The matrices that it multiplies, where it runs on matrix units. Its input is then in f16, too.
    matrix_units: Option<MatrixSize>,
    /// The fewest and the most lanes that subgroups may have, where it uses them.
    lanes: [u32; 2],
    /// With fewer tiles of the output, one per workgroup, a large GPU is not busy: another variant comes
    /// first.
    fewest_tiles: usize,
    /// The values of its overrides.
    overrides: fn(&Problem) -> Vec<(&'static str, u32)>,
}

/// Any shape, any adapter.
static FALLBACK: Variant = Variant {
    kernel: &matmul_tile::KERNEL,
    tile: square(matmul_tile::TILE),
    multiples: [1, 1],
    most_rows: usize::MAX,
    weight: DType::F32,
    matrix_units: None,
    lanes: [1, u32::MAX],
    fewest_tiles: 0,
    overrides: |problem| matmul_tile::Overrides { activation: problem.activation as u32 }.values().to_vec(),
};
static SKINNY: Variant = Variant {
    kernel: &matmul_skinny::KERNEL,
    tile: [matmul_skinny::TILE_ROWS as usize, matmul_skinny::TILE_COLUMNS as usize],
    multiples: [1, 4],
    most_rows: 16,
    ..FALLBACK
};
static VEC4: Variant = Variant {
    kernel: &matmul_tile_vec4::KERNEL,
    tile: square(matmul_tile_vec4::TILE),
    multiples: [4, 4],
    ..FALLBACK
};
static PACKED_F16: Variant = Variant {
    kernel: &matmul_tile_packed_f16::KERNEL,
    tile: square(matmul_tile_packed_f16::TILE),
    weight: DType::F16,
    overrides: |problem| {
        let overrides = matmul_tile_packed_f16::Overrides {
            activation: problem.activation as u32,
            input_f16: (problem.input == DType::F16).into(),
            output_f16: (problem.output == DType::F16).into(),
        };
        overrides.values().to_vec()
    },
    ..VEC4
};
static SKINNY_PACKED_F16: Variant = Variant {
    kernel: &matmul_skinny_packed_f16::KERNEL,
    tile: [matmul_skinny_packed_f16::TILE_ROWS as usize, matmul_skinny_packed_f16::TILE_COLUMNS as usize],
    most_rows: 16,
    ..PACKED_F16
};
static DOT: Variant =
    Variant { kernel: &matmul_tile_dot::KERNEL, tile: square(matmul_tile_dot::TILE), ..VEC4 };
static DOUBLE_BUFFERED: Variant = Variant {
    kernel: &matmul_tile_double_buffered::KERNEL,
    tile: square(matmul_tile_double_buffered::TILE),
    ..VEC4
};
static COOPERATIVE_16: Variant = Variant {
    kernel: &matmul_cooperative_16::KERNEL,
    tile: square(matmul_cooperative_16::TILE),
    matrix_units: Some(MatrixSize::Sixteen),
    fewest_tiles: 192,
    overrides: |problem| {
        let overrides = matmul_cooperative_16::Overrides {
            activation: problem.activation as u32,
            output_f16: (problem.output == DType::F16).into(),
        };
        overrides.values().to_vec()
    },
    ..PACKED_F16
};
static COOPERATIVE_SMALL_16: Variant = Variant {
    kernel: &matmul_cooperative_small_16::KERNEL,
    tile: square(matmul_cooperative_small_16::TILE),
    fewest_tiles: 0,
    ..COOPERATIVE_16
};
static COOPERATIVE_8: Variant = Variant {
    kernel: &matmul_cooperative_8::KERNEL,
    tile: square(matmul_cooperative_8::TILE),
    matrix_units: Some(MatrixSize::Eight),
    ..COOPERATIVE_16
};
static COOPERATIVE_SMALL_8: Variant = Variant {
    kernel: &matmul_cooperative_small_8::KERNEL,
    tile: square(matmul_cooperative_small_8::TILE),
    fewest_tiles: 0,
    ..COOPERATIVE_8
};
/// Nobody has run it on such a GPU: how many tiles are enough is taken from the H100.
static COOPERATIVE_8_LANES_32: Variant = Variant {
    kernel: &matmul_cooperative_8_lanes_32::KERNEL,
    tile: square(matmul_cooperative_8_lanes_32::TILE),
    matrix_units: Some(MatrixSize::EightOf32Lanes),
    ..COOPERATIVE_16
};
static COOPERATIVE_SMALL_8_LANES_32: Variant = Variant {
    kernel: &matmul_cooperative_small_8_lanes_32::KERNEL,
    tile: square(matmul_cooperative_small_8_lanes_32::TILE),
    fewest_tiles: 0,
    ..COOPERATIVE_8_LANES_32
};
static BROADCAST: Variant = Variant {
    kernel: &matmul_broadcast::KERNEL,
    tile: [matmul_broadcast::TILE_ROWS as usize, matmul_broadcast::TILE_COLUMNS as usize],
    ..VEC4
};
static LANES: Variant = Variant {
    kernel: &matmul_tile_lanes::KERNEL,
    tile: [matmul_tile_lanes::TILE_ROWS as usize, matmul_tile_lanes::TILE_COLUMNS as usize],
    // Half of them hold a strip of four rows; all own the same rows of a tile of 64 threads a row.
    lanes: [2, matmul_tile_lanes::TILE_COLUMNS / 4],
    ..VEC4
};
static LANES_PACKED_F16: Variant = Variant {
    kernel: &matmul_tile_lanes_packed_f16::KERNEL,
    tile: LANES.tile,
    lanes: LANES.lanes,
    overrides: |problem| {
        let overrides = matmul_tile_lanes_packed_f16::Overrides {
            activation: problem.activation as u32,
            input_f16: (problem.input == DType::F16).into(),
            output_f16: (problem.output == DType::F16).into(),
        };
        overrides.values().to_vec()
    },
    ..PACKED_F16
};

/// A tile with as many rows as columns.
const fn square(side: u32) -> [usize; 2] {
    [side as usize; 2]
}

/// Every variant. The first that takes a problem is its default; those after the fallback serve where they
/// were measured to be faster.
static VARIANTS: [&Variant; 16] = [
    &SKINNY,
    &SKINNY_PACKED_F16,
    &COOPERATIVE_16,
    &COOPERATIVE_8_LANES_32,
    &COOPERATIVE_8,
    &COOPERATIVE_SMALL_16,
    &COOPERATIVE_SMALL_8_LANES_32,
    &COOPERATIVE_SMALL_8,
    &VEC4,
    &PACKED_F16,
    &FALLBACK,
    &DOT,
    &DOUBLE_BUFFERED,
    &BROADCAST,
    &LANES,
    &LANES_PACKED_F16,
];

impl Variant {
    /// Whether it can compute `problem` on `device`.
    fn takes(&self, device: &Device, problem: &Problem) -> bool {
        let [columns, inner] = self.multiples;
        let limit = device.limits().max_compute_workgroups_per_dimension;
        let f16_activations = [problem.input, problem.output].contains(&DType::F16);
        self.weight == problem.weight
            && (!f16_activations || self.weight == DType::F16)
            && problem.columns.is_multiple_of(columns)
            && problem.inner.is_multiple_of(inner)
            && problem.rows <= self.most_rows
            && self.grid(problem).iter().all(|&side| side <= limit)
            && match self.matrix_units {
                Some(_) => problem.input == DType::F16 && device.matrix_units() == self.matrix_units,
                None => !self.kernel.uses_subgroups || has_subgroups_of(device, self.kernel, self.lanes),
            }
    }

    fn tiles(&self, problem: &Problem) -> usize {
        self.grid(problem).iter().map(|&side| side as usize).product()
    }

    fn grid(&self, problem: &Problem) -> [u32; 3] {
        let [rows, columns] = self.tile;
        [problem.columns.div_ceil(columns) as u32, problem.rows.div_ceil(rows) as u32, 1]
    }
}

/// The variants that take a problem, the default first: the table's first. On software adapters, where
/// barriers are slow, it is the variant without barriers, unless the output is so narrow that most of its
/// lanes would be idle.
fn candidates(device: &Device, problem: &Problem) -> Vec<&'static Variant> {
    let mut variants = VARIANTS.to_vec();
    variants.retain(|variant| variant.takes(device, problem));
    variants.sort_by_key(|variant| variant.tiles(problem) < variant.fewest_tiles);
    let is_software = device.info().device_type == wgpu::DeviceType::Cpu;
    if is_software && 2 * problem.columns >= BROADCAST.tile[1] {
        variants.sort_by_key(|variant| variant.kernel != BROADCAST.kernel);
    }
    variants
}

/// Whether `kernel` is one of the table's.
pub(crate) fn is_product(kernel: &Kernel) -> bool {
    VARIANTS.iter().any(|variant| variant.kernel.name == kernel.name)
}

impl RowWeight {
    /// Uploads `weight`: in f16 where the device's precision wants that and a kernel reads the shape so.
    pub fn upload(device: &Device, out_features: usize, in_features: usize, weight: &[f32]) -> Result<Self> {
        let [column_multiple, inner_multiple] = PACKED_F16.multiples;
        #[cfg(feature = "processor")]
        if device.processor().is_some() {
            return Ok(Self { values: device.upload_for_products([out_features, in_features], weight)? });
        }
        let fits = out_features.is_multiple_of(column_multiple) && in_features.is_multiple_of(inner_multiple);
        if !(fits && device.precision().stores_as_f16(weight)) {
            return Ok(Self { values: device.upload(&[out_features, in_features], weight)? });
        }
        Ok(Self { values: device.upload_f16(&[out_features, in_features], weight)? })
    }

    /// Whether it is stored in f16: then the input and the output may be, too.
    pub fn is_f16(&self) -> bool {
        self.values.dtype() == DType::F16
    }
}

impl Recorder {
    /// The product with the variant that suits it, into a tensor of `shape`.
    pub(crate) fn weight_product(&mut self, operands: &Operands<'_>, shape: &[usize]) -> Result<Tensor> {
        let problem = operands.problem();
        let candidates = candidates(self.device(), &problem);
        let Some(variant) = self.choose(operands, &candidates) else {
            let Problem { rows, input, weight, output, .. } = problem;
            let reason =
                format!("no kernel takes {rows} rows of {input:?} by a weight of {weight:?} to {output:?}");
            return shape_error("linear", reason);
        };
        self.matmul_with(variant, operands, shape)
    }

    /// The product with a variant that takes it.
    fn matmul_with(&mut self, variant: &Variant, operands: &Operands<'_>, shape: &[usize]) -> Result<Tensor> {
        let problem = operands.problem();
        let output = self.allocate(shape, operands.output)?;
        let params = matmul_tile::Params {
            rows: problem.rows as u32,
            columns: problem.columns as u32,
            inner: problem.inner as u32,
            has_bias: problem.has_bias.into(),
            has_residual: problem.has_residual.into(),
        };
        let resources = vec![
            self.buffer(operands.input)?,
            self.buffer(&operands.weight.values)?,
            self.buffer_or_empty(operands.bias)?,
            self.buffer_or_empty(operands.residual)?,
            self.buffer(&output)?,
        ];
        let overrides = (variant.overrides)(&problem);
        let flops = product_flops(problem.rows, problem.inner, problem.columns);
        self.dispatch(variant.kernel, &overrides, params, resources, variant.grid(&problem), flops)?;
        Ok(output)
    }

    /// The kernels on buffers that can compute [`linear`](Self::linear) of `input`, stored as `dtype`; the
    /// one it takes without tuning first. None where the weight lies as the subgroup kernels want it.
    #[must_use]
    pub fn linear_kernels(&self, dtype: DType, input: &Tensor, layer: &Linear) -> Vec<&'static str> {
        let Some(weight) = layer.rows() else { return Vec::new() };
        let operands = Operands {
            input,
            weight,
            bias: layer.bias(),
            residual: None,
            activation: Activation::None,
            output: dtype,
        };
        let candidates = candidates(self.device(), &operands.problem());
        candidates.into_iter().map(|variant| variant.kernel.name).collect()
    }

    /// As [`linear_as`](Self::linear_as), by one of its [`linear_kernels`](Self::linear_kernels): for tests
    /// and benchmarks.
    ///
    /// # Errors
    /// As [`linear_as`](Self::linear_as), and [`Error::Shape`](crate::Error::Shape) when the kernel does not
    /// take the shape.
    pub fn linear_by(
        &mut self,
        kernel: &str,
        dtype: DType,
        input: &Tensor,
        layer: &Linear,
        activation: Activation,
        residual: Option<&Tensor>,
    ) -> Result<Tensor> {
        let shape = layer.output_shape(input, residual)?;
        let named = layer.rows().and_then(|weight| {
            let operands =
                Operands { input, weight, bias: layer.bias(), residual, activation, output: dtype };
            let candidates = candidates(self.device(), &operands.problem());
            candidates
                .into_iter()
                .find(|variant| variant.kernel.name == kernel)
                .map(|variant| (variant, operands))
        });
        match named {
            Some((variant, operands)) => self.matmul_with(variant, &operands, &shape),
            None => shape_error("linear", format!("{kernel} does not take {input:?} into {shape:?}")),
        }
    }
}
