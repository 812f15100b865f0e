//! One tensor of a checkpoint.

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::TensorInfo;

use super::finite::{all_finite, first_not_finite};
use super::shard::Shard;
use crate::error::{Error, Result};

/// Values that are read and checked per step, few enough to stay in a core's own cache in between.
const BLOCK: usize = 1 << 16;

/// A tensor in a file, row-major and little endian; its values are read on demand.
#[derive(Debug, Clone)]
pub struct TensorView<'a> {
    shard: &'a Shard,
    name: String,
    info: &'a TensorInfo,
}

impl<'a> TensorView<'a> {
    pub(super) fn new(shard: &'a Shard, name: &str, info: &'a TensorInfo) -> Self {
        Self { shard, name: name.to_owned(), info }
    }

    /// Full name of the tensor.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Type in which the values are stored.
    pub fn dtype(&self) -> Dtype {
        self.info.dtype
    }

    /// Sizes, outermost first; empty for a scalar.
    pub fn shape(&self) -> &'a [usize] {
        &self.info.shape
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape().iter().product()
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the values as stored.
    pub(super) fn size(&self) -> u64 {
        let (start, end) = self.info.data_offsets;
        (end - start) as u64
    }

    /// Whether its type is one that weights may have.
    pub(super) fn is_weight(&self) -> bool {
        matches!(self.dtype(), Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::F64)
    }

    /// The values as stored, little endian.
    ///
    /// # Errors
    /// Where the file can no longer be read.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let (start, end) = self.info.data_offsets;
        let mut bytes = vec![0; end - start];
        self.shard.read(start, &mut bytes)?;
        Ok(bytes)
    }

    /// The values as f32, converted where they are stored as f16, bf16 or f64.
    ///
    /// # Errors
    /// Where the tensor is of another type or holds a value that is not finite, with its name; where the file
    /// can no longer be read.
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        match self.dtype() {
            Dtype::F32 => self.read_f32(),
            Dtype::F16 => self.read_as(|bytes| f16::from_le_bytes(bytes).to_f32()),
            Dtype::BF16 => self.read_as(|bytes| bf16::from_le_bytes(bytes).to_f32()),
            Dtype::F64 => self.read_as(|bytes| f64::from_le_bytes(bytes) as f32),
            _ => Err(self.wrong_type()),
        }
    }

    fn read_f32(&self) -> Result<Vec<f32>> {
        let mut values = vec![0.0_f32; self.len()];
        let mut offset = self.info.data_offsets.0;
        let mut finite = true;
        for block in values.chunks_mut(BLOCK) {
            self.shard.read(offset, bytemuck::cast_slice_mut(block))?;
            if cfg!(target_endian = "big") {
                block.iter_mut().for_each(|value| *value = f32::from_bits(value.to_bits().swap_bytes()));
            }
            finite &= all_finite(block);
            offset += size_of_val(block);
        }
        self.refuse_unless(finite, values)
    }

    /// The values, of `N` bytes each.
    fn read_as<const N: usize>(&self, convert: impl Fn([u8; N]) -> f32) -> Result<Vec<f32>> {
        let mut values = Vec::with_capacity(self.len());
        let mut bytes = vec![0; self.len().min(BLOCK) * N];
        let mut offset = self.info.data_offsets.0;
        let mut finite = true;
        while values.len() < self.len() {
            let done = values.len();
            let block = &mut bytes[..N * (self.len() - done).min(BLOCK)];
            self.shard.read(offset, block)?;
            values.extend(block.as_chunks::<N>().0.iter().map(|&value| convert(value)));
            finite &= all_finite(&values[done..]);
            offset += block.len();
        }
        self.refuse_unless(finite, values)
    }

    /// The values, or an error that names the first one that is not finite.
    fn refuse_unless(&self, finite: bool, values: Vec<f32>) -> Result<Vec<f32>> {
        if finite {
            return Ok(values);
        }
        match first_not_finite(&values, self.shape()) {
            None => Ok(values),
            Some((value, position, count)) => Err(Error::NotFinite {
                path: self.shard.path().to_owned(),
                name: self.name.clone(),
                value,
                position,
                count,
            }),
        }
    }

    /// Checks shape and type against what weights must have.
    pub(super) fn expect(&self, shape: &[usize]) -> Result<()> {
        if self.shape() != shape {
            return Err(Error::TensorShape {
                path: self.shard.path().to_owned(),
                name: self.name.clone(),
                expected: shape.to_vec(),
                found: self.shape().to_vec(),
            });
        }
        if self.is_weight() { Ok(()) } else { Err(self.wrong_type()) }
    }

    fn wrong_type(&self) -> Error {
        Error::TensorType { path: self.shard.path().to_owned(), name: self.name.clone(), found: self.dtype() }
    }
}
