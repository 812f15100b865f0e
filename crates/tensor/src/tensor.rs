use std::sync::{Arc, OnceLock};

use half::f16;

#[cfg(feature = "processor")]
use crate::Precision;
use crate::array;
use crate::buffer::Buffer;
use crate::pool::{self, Pooled};
#[cfg(feature = "processor")]
use crate::processor::{HostBuffer, PackedWeight};
use crate::{Device, Error, Result};

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DType {
    /// 32-bit floats.
    F32,
    /// Half-precision floats, two per word, the lower half first; there is an even number of them.
    F16,
    /// 32-bit unsigned integers: token ids, rows, masks.
    U32,
}

impl DType {
    /// Bytes of `length` elements.
    pub(crate) fn bytes(self, length: usize) -> u64 {
        let size = match self {
            Self::F32 | Self::U32 => 4,
            Self::F16 => 2,
        };
        size * length as u64
    }

    /// Bytes of a tensor of `shape`, for the op of this name. Refuses one of more bytes than can be counted:
    /// kernels have no bounds checks, so no shape may be larger than its memory.
    pub(crate) fn bytes_of(self, op: &'static str, shape: &[usize]) -> Result<u64> {
        let elements = array::elements(shape).ok_or_else(|| {
            let reason = format!("{shape:?}: no memory holds as many elements");
            Error::Shape { op, reason }
        })?;
        Ok(self.bytes(elements))
    }

    /// The elements in `bytes`, as floats; integers keep their bits.
    pub(crate) fn floats(self, bytes: &[u8]) -> Vec<f32> {
        // An empty slice need not be aligned, which the cast would insist on.
        if bytes.is_empty() {
            return Vec::new();
        }
        match self {
            Self::F32 | Self::U32 => bytemuck::cast_slice(bytes).to_vec(),
            Self::F16 => {
                let halves: &[u16] = bytemuck::cast_slice(bytes);
                halves.iter().map(|&bits| f16::from_bits(bits).to_f32()).collect()
            }
        }
    }
}

/// An array on the device, row-major, the last dimension fastest.
///
/// Cloning shares the memory. A tensor that an op made belongs to the recording: dropping its last clone
/// while recording gives its memory to the ops that follow.
#[derive(Clone)]
pub struct Tensor {
    shape: Vec<usize>,
    dtype: DType,
    storage: Arc<Storage>,
}

/// A tensor lies in a buffer, in a texture of four columns per texel, or in both, one made from the other on
/// demand.
#[derive(Default)]
pub(crate) struct Storage {
    pub buffer: OnceLock<Arc<Pooled<Buffer>>>,
    pub texture: OnceLock<Arc<Pooled<wgpu::Texture>>>,
}

impl Tensor {
    pub(crate) fn in_buffer(shape: &[usize], dtype: DType, buffer: Pooled<Buffer>) -> Self {
        let storage = Storage { buffer: OnceLock::from(Arc::new(buffer)), texture: OnceLock::new() };
        Self { shape: shape.to_vec(), dtype, storage: Arc::new(storage) }
    }

    pub(crate) fn in_texture(shape: &[usize], texture: Pooled<wgpu::Texture>) -> Self {
        let storage = Storage { buffer: OnceLock::new(), texture: OnceLock::from(Arc::new(texture)) };
        Self { shape: shape.to_vec(), dtype: DType::F32, storage: Arc::new(storage) }
    }

    /// The dimensions.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Whether this is a clone of `other`.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.storage, &other.storage) && self.shape == other.shape
    }

    /// What the elements are.
    #[must_use]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The last dimension; 1 for a scalar.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// The product of all dimensions but the last.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.shape.split_last().map_or(1, |(_, leading)| leading.iter().product())
    }

    /// The same elements under other dimensions. The last dimension has to stay, as rows are the unit of
    /// storage.
    ///
    /// # Errors
    /// [`Error::Shape`] when the number of elements or the last dimension would change.
    pub fn reshape(&self, shape: &[usize]) -> Result<Self> {
        self.dtype.bytes_of("reshape", shape)?;
        let reshaped = Self { shape: shape.to_vec(), dtype: self.dtype, storage: Arc::clone(&self.storage) };
        if reshaped.len() != self.len() || reshaped.columns() != self.columns() {
            return Err(Error::Shape { op: "reshape", reason: format!("{:?} to {shape:?}", self.shape) });
        }
        Ok(reshaped)
    }

    /// The same buffer as rows of `columns` values.
    pub(crate) fn view_rows(&self, columns: usize) -> Result<Self> {
        self.view(&[self.len() / columns.max(1), columns])
    }

    /// The same buffer under other dimensions. The tensor must have a buffer; its texture, whose rows are
    /// other ones, is left behind.
    pub(crate) fn view(&self, shape: &[usize]) -> Result<Self> {
        let bytes = self.dtype.bytes_of("reshape", shape)?;
        let buffer = self.storage.buffer.get().filter(|_| bytes == self.bytes());
        let Some(buffer) = buffer else {
            return Err(Error::Shape { op: "reshape", reason: format!("{self:?} to {shape:?}") });
        };
        let storage = Storage { buffer: OnceLock::from(Arc::clone(buffer)), texture: OnceLock::new() };
        Ok(Self { shape: shape.to_vec(), dtype: self.dtype, storage: Arc::new(storage) })
    }

    /// The same texture, where it lies in one, without the buffer that it was copied to for some op.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn without_copy(&self) -> Self {
        let Some(texture) = self.storage.texture.get() else { return self.clone() };
        let storage = Storage { buffer: OnceLock::new(), texture: OnceLock::from(Arc::clone(texture)) };
        Self { shape: self.shape.clone(), dtype: self.dtype, storage: Arc::new(storage) }
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Refuses a tensor of another device.
    pub(crate) fn expect_on(&self, device: &Device) -> Result<()> {
        let Storage { buffer, texture } = &*self.storage;
        let owner = buffer.get().map(|memory| memory.device());
        let owner = owner.or_else(|| texture.get().map(|memory| memory.device()));
        device.expect_own(owner.unwrap_or(device.id()), || format!("{self:?}"))
    }

    /// The buffer that it lies in, on a `device` that is one of wgpu's.
    pub(crate) fn gpu_buffer(&self, device: &Device) -> Result<&wgpu::Buffer> {
        self.expect_on(device)?;
        let buffer = self.storage.buffer.get();
        buffer.ok_or_else(|| Error::Device(format!("{self:?} has no buffer")))?.get().gpu()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.dtype.bytes(self.len())
    }
}

/// A copy that fills all of `to` with the bytes of `from` that start at `first`.
pub(crate) struct TensorCopy {
    pub from: Tensor,
    pub first: u64,
    pub to: Tensor,
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tensor({:?}{:?})", self.dtype, self.shape)
    }
}

impl Device {
    /// A tensor with memory of its own that holds `values`.
    ///
    /// # Errors
    /// [`Error::Shape`] when the number of `values` does not fit `shape`, [`Error::TooLarge`] beyond the
    /// adapter's limits.
    pub fn upload(&self, shape: &[usize], values: &[f32]) -> Result<Tensor> {
        self.upload_bytes(shape, DType::F32, bytemuck::cast_slice(values))
    }

    /// As [`upload`](Self::upload), with integers.
    ///
    /// # Errors
    /// As [`upload`](Self::upload).
    pub fn upload_u32(&self, shape: &[usize], values: &[u32]) -> Result<Tensor> {
        self.upload_bytes(shape, DType::U32, bytemuck::cast_slice(values))
    }

    /// As [`upload`](Self::upload), rounded to the nearest f16. Values beyond the largest f16 are clamped to
    /// it.
    ///
    /// # Errors
    /// As [`upload`](Self::upload), and for an odd number of values.
    pub fn upload_f16(&self, shape: &[usize], values: &[f32]) -> Result<Tensor> {
        let bounded = |value: &f32| value.clamp(f16::MIN.to_f32(), f16::MAX.to_f32());
        let halves: Vec<_> = values.iter().map(|value| f16::from_f32(bounded(value)).to_bits()).collect();
        self.upload_bytes(shape, DType::F16, bytemuck::cast_slice(&halves))
    }

    /// As [`upload`](Self::upload), for a weight `[columns, inner]` that only matrix products read, in the
    /// order in which the processor's products read it. With [`Precision::F16`] the values are rounded to
    /// f16, though stored as f32.
    #[cfg(feature = "processor")]
    pub(crate) fn upload_for_products(&self, shape: [usize; 2], values: &[f32]) -> Result<Tensor> {
        let bytes = DType::F32.bytes(values.len());
        let rounded: Vec<f32>;
        let is_rounded = self.precision() == Precision::F16 && Precision::F16.stores_as_f16(values);
        let values = if is_rounded {
            rounded = values.iter().map(|&value| f16::from_f32(value).to_f32()).collect();
            &rounded
        } else {
            values
        };
        let pack = || Ok(Buffer::Host(HostBuffer::weight(PackedWeight::new(shape, values)?)));
        let buffer = pool::weight_buffer(self, bytes, || self.guard(pack))?;
        Ok(Tensor::in_buffer(&shape, DType::F32, buffer))
    }

    /// A tensor that outlives recordings, to copy outputs to; until then its values are undefined. It may
    /// reuse the memory of such tensors that were dropped.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond the adapter's limits, [`Error::Shape`] for more elements than any memory
    /// has room for.
    pub fn uninit(&self, shape: &[usize]) -> Result<Tensor> {
        let bytes = DType::F32.bytes_of("uninit", shape)?;
        Ok(Tensor::in_buffer(shape, DType::F32, pool::buffer(self, Some(self.recycled()), bytes)?))
    }

    fn upload_bytes(&self, shape: &[usize], dtype: DType, bytes: &[u8]) -> Result<Tensor> {
        let expected = dtype.bytes_of("upload", shape)?;
        if bytes.len() as u64 != expected || !expected.is_multiple_of(4) {
            let values = bytes.len() as u64 / dtype.bytes(1);
            let reason = format!("{values} values of {dtype:?} for shape {shape:?}");
            return Err(Error::Shape { op: "upload", reason });
        }
        let buffer = pool::buffer(self, None, expected)?;
        self.write_buffer(buffer.get(), bytes)?;
        Ok(Tensor::in_buffer(shape, dtype, buffer))
    }
}
