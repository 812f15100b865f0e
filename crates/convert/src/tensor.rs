//! Tensors as PyTorch describes them: a shape and strides over a part of a storage.

use std::ops::Range;
use std::rc::Rc;

use half::{bf16, f16};
use safetensors::Dtype;

/// Most dimensions of a tensor.
pub(crate) const MAX_RANK: usize = 8;

/// A sequence of numbers in an archive. A tensor is a view into one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Storage {
    /// Its name in the archive, below `data/`; shared, because a program may use one long text for many
    /// storages.
    pub key: Rc<str>,
    /// Type of its numbers.
    pub dtype: Dtype,
    /// The number of numbers that it has, according to the pickle.
    pub length: usize,
}

impl Storage {
    pub(crate) fn new(key: Rc<str>, dtype: Dtype, length: usize) -> Result<Self, String> {
        if !dtype.bitsize().is_multiple_of(8) {
            return Err(format!(
                "is stored as {dtype:?}, of which several share a byte; take the checkpoint as it was before"
            ));
        }
        if length.checked_mul(item_size(dtype)).is_none() {
            return Err(format!("claims a storage of {length} numbers"));
        }
        Ok(Self { key, dtype, length })
    }

    /// Its size in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.length * item_size(self.dtype)
    }
}

/// A view into a storage, in which all its numbers lie. An expanded view (`torch.zeros(1).expand(4, 4)`) has
/// more of them than the storage: a file of some bytes may describe any number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredTensor {
    storage: Rc<Storage>,
    /// Index of the first number in the storage.
    offset: usize,
    shape: Vec<usize>,
    /// Distance between neighbours along each dimension, in numbers.
    strides: Vec<usize>,
}

impl StoredTensor {
    pub(crate) fn new(
        storage: Rc<Storage>,
        offset: usize,
        shape: Vec<usize>,
        strides: Vec<usize>,
    ) -> Result<Self, String> {
        if shape.len() != strides.len() || shape.len() > MAX_RANK {
            return Err(format!("has a tensor of shape {shape:?} with strides {strides:?}"));
        }
        let length = storage.length;
        let count = shape.iter().try_fold(1_usize, |count, &size| count.checked_mul(size));
        if count.and_then(|count| count.checked_mul(item_size(storage.dtype))).is_none() {
            return Err(format!("has a tensor of shape {shape:?}, whose bytes no number can count"));
        }
        let end = if count == Some(0) { Some(offset) } else { end_of(offset, &shape, &strides) };
        if end.is_none_or(|end| end > length) {
            return Err(format!(
                "has a tensor of shape {shape:?} with strides {strides:?} at {offset}, which ends beyond its storage \
                 of {length} numbers"
            ));
        }
        Ok(Self { storage, offset, shape, strides })
    }

    /// All numbers of a storage, row-major.
    pub(crate) fn whole(storage: Storage, shape: &[usize]) -> Result<Self, String> {
        let mut strides = vec![1_usize; shape.len()];
        for dimension in (1..shape.len()).rev() {
            strides[dimension - 1] = strides[dimension].saturating_mul(shape[dimension]);
        }
        Self::new(Rc::new(storage), 0, shape.to_vec(), strides)
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.storage
    }

    pub(crate) fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub(crate) fn dtype(&self) -> Dtype {
        self.storage.dtype
    }

    /// Number of values.
    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Its size in bytes when it is read.
    pub(crate) fn bytes(&self) -> usize {
        self.len() * item_size(self.dtype())
    }

    /// Whether it has more numbers than its storage.
    pub(crate) fn is_expanded(&self) -> bool {
        self.len() > self.storage.length
    }

    /// Only these rows; `None` if there are not so many.
    pub(crate) fn rows(mut self, rows: Range<usize>) -> Option<Self> {
        if rows.start > rows.end || rows.end > *self.shape.first()? {
            return None;
        }
        self.shape[0] = rows.len();
        if self.len() > 0 {
            self.offset += rows.start * self.strides[0];
        }
        Some(self)
    }

    /// The tensor with its dimensions in reverse order.
    pub(crate) fn transposed(mut self) -> Self {
        self.shape.reverse();
        self.strides.reverse();
        self
    }

    /// Copies the tensor's numbers out of its storage's bytes: row-major, without gaps.
    pub(crate) fn gather(&self, storage: &[u8]) -> Vec<u8> {
        let item = item_size(self.dtype());
        let mut bytes = Vec::with_capacity(self.bytes());
        if self.len() == 0 {
            return bytes;
        }
        // The innermost dimensions that are contiguous are copied in one run.
        let (mut run, mut outer) = (1, self.shape.len());
        while outer > 0 && (self.strides[outer - 1] == run || self.shape[outer - 1] == 1) {
            run *= self.shape[outer - 1];
            outer -= 1;
        }
        let mut index = vec![0; outer];
        loop {
            let place: usize = index.iter().zip(&self.strides).map(|(index, stride)| index * stride).sum();
            let start = (self.offset + place) * item;
            bytes.extend_from_slice(&storage[start..start + run * item]);
            let Some(dimension) = (0..outer).rev().find(|&d| index[d] + 1 < self.shape[d]) else {
                return bytes;
            };
            index[dimension] += 1;
            index[dimension + 1..].fill(0);
        }
    }
}

/// The index after the last number that is used.
fn end_of(offset: usize, shape: &[usize], strides: &[usize]) -> Option<usize> {
    let mut last = offset;
    for (&size, &stride) in shape.iter().zip(strides) {
        last = last.checked_add((size - 1).checked_mul(stride)?)?;
    }
    last.checked_add(1)
}

/// Bytes per number, for the types of PyTorch's storages.
pub(crate) fn item_size(dtype: Dtype) -> usize {
    dtype.bitsize() / 8
}

/// Whether numbers of this type are floating-point numbers of a kind that weights have.
pub(crate) fn is_float(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F64 | Dtype::F32 | Dtype::F16 | Dtype::BF16)
}

/// The type in which weights are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightType {
    /// Four bytes per number; what transformers converts to.
    F32,
    /// Two bytes per number, with about three decimal digits.
    F16,
}

impl WeightType {
    /// The type that a tensor of type `from` is written as: floating-point numbers as this type, whole
    /// numbers unchanged.
    pub(crate) fn of(self, from: Dtype) -> Dtype {
        match self {
            _ if !is_float(from) => from,
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
        }
    }

    /// PyTorch's name for the type.
    pub fn torch_name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
        }
    }

    /// Converts numbers, rounding to the nearest.
    ///
    /// The error is the first number that is not finite, or too large for the type.
    pub(crate) fn convert(self, from: Dtype, bytes: Vec<u8>) -> Result<Vec<u8>, f64> {
        if self.of(from) == from {
            let wrong = match from {
                Dtype::F32 => {
                    numbers(&bytes, |bytes| f32::from_le_bytes(bytes).into()).find(|n| !n.is_finite())
                }
                Dtype::F16 => {
                    numbers(&bytes, |bytes| f16::from_le_bytes(bytes).to_f64()).find(|n| !n.is_finite())
                }
                _ => None,
            };
            return wrong.map_or(Ok(bytes), Err);
        }
        match from {
            Dtype::F64 => self.write(numbers(&bytes, f64::from_le_bytes)),
            Dtype::F32 => self.write(numbers(&bytes, |bytes| f32::from_le_bytes(bytes).into())),
            Dtype::F16 => self.write(numbers(&bytes, |bytes| f16::from_le_bytes(bytes).to_f64())),
            Dtype::BF16 => self.write(numbers(&bytes, |bytes| bf16::from_le_bytes(bytes).to_f64())),
            _ => Ok(bytes),
        }
    }

    fn write(self, numbers: impl ExactSizeIterator<Item = f64>) -> Result<Vec<u8>, f64> {
        let mut bytes = Vec::with_capacity(numbers.len() * item_size(self.of(Dtype::F32)));
        for number in numbers {
            let finite = match self {
                Self::F32 => {
                    let narrow = number as f32;
                    bytes.extend_from_slice(&narrow.to_le_bytes());
                    narrow.is_finite()
                }
                Self::F16 => {
                    let narrow = f16::from_f64(number);
                    bytes.extend_from_slice(&narrow.to_le_bytes());
                    narrow.is_finite()
                }
            };
            if !finite {
                return Err(number);
            }
        }
        Ok(bytes)
    }
}

fn numbers<const N: usize>(
    bytes: &[u8],
    read: impl Fn([u8; N]) -> f64,
) -> impl ExactSizeIterator<Item = f64> {
    bytes.as_chunks().0.iter().map(move |&bytes| read(bytes))
}

#[cfg(test)]
mod tests;
