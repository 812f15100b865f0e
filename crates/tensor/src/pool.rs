//! Memory of a plan's tensors, reused by lifetime.

use std::sync::{Arc, Mutex, PoisonError};

use crate::buffer::Buffer;
use crate::device_id::DeviceId;
use crate::memory::{Counted, MemoryCount, MemoryKind};
use crate::texture::F32_TEXELS;
use crate::{Device, Error, Result};

/// The free memory of one recording. Work is recorded in the order in which it runs, so the memory of a
/// dropped tensor may serve the next one: all that reads the old content was recorded earlier.
pub(crate) struct Pool {
    buffers: Vec<(Buffer, u64)>,
    textures: Vec<(wgpu::Texture, [u32; 2])>,
    /// Counts all memory that was made for the pool.
    counted: Counted,
    /// Whether it only counts memory, and gives out the device's empty buffer or texture instead.
    is_planned: bool,
}

pub(crate) type SharedPool = Arc<Mutex<Pool>>;

/// Memory that goes back to its pool, if it has one, when it is dropped.
pub(crate) struct Pooled<T: Reusable> {
    memory: T,
    size: T::Size,
    device: DeviceId,
    home: Home,
}

enum Home {
    Pool(SharedPool),
    /// The memory is a weight's own, counted until it is dropped.
    Own {
        _bytes: Counted,
    },
}

pub(crate) trait Reusable: Clone {
    /// The bytes of a buffer, or the sides of a texture, that it was created with.
    type Size: Copy;

    fn give_back(self, size: Self::Size, pool: &mut Pool);
}

/// Free buffers that a pool keeps: when encoded images are dropped by the hundred, their memory goes back to
/// the device.
const FREE_BUFFERS: usize = 32;

impl Reusable for Buffer {
    type Size = u64;

    fn give_back(self, size: u64, pool: &mut Pool) {
        if pool.buffers.len() >= FREE_BUFFERS {
            let (_, bytes) = pool.buffers.remove(0);
            pool.forget(bytes);
        }
        pool.buffers.push((self, size));
    }
}

impl Reusable for wgpu::Texture {
    type Size = [u32; 2];

    fn give_back(self, sides: [u32; 2], pool: &mut Pool) {
        pool.textures.push((self, sides));
    }
}

impl<T: Reusable> Pooled<T> {
    pub fn get(&self) -> &T {
        &self.memory
    }

    /// The device that the memory is on.
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// Whether the memory is from the pool `shared`.
    pub fn is_of(&self, shared: &SharedPool) -> bool {
        matches!(&self.home, Home::Pool(pool) if Arc::ptr_eq(pool, shared))
    }
}

impl<T: Reusable> Drop for Pooled<T> {
    fn drop(&mut self) {
        if let Home::Pool(pool) = &self.home {
            let pool = &mut pool.lock().unwrap_or_else(PoisonError::into_inner);
            self.memory.clone().give_back(self.size, pool);
        }
    }
}

/// A buffer of at least `bytes`, from the pool where one fits without wasting more than half of it.
pub(crate) fn buffer(device: &Device, pool: Option<&SharedPool>, bytes: u64) -> Result<Pooled<Buffer>> {
    let bytes = bindable(device, bytes)?;
    device.make_room(|| {
        let Some(shared) = pool else {
            let home = Home::Own { _bytes: device.memory().bytes(MemoryKind::Weights, bytes)? };
            let memory = Buffer::new(device, bytes)?;
            return Ok(Pooled { memory, size: bytes, device: device.id(), home });
        };
        let mut pool = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let fitting = pool
            .buffers
            .iter()
            .enumerate()
            .filter(|(_, (_, size))| (bytes..=2 * bytes).contains(size))
            .min_by_key(|(_, (_, size))| *size)
            .map(|(index, _)| index);
        let (memory, size) = match fitting {
            Some(index) => pool.buffers.swap_remove(index),
            None => (pool.make_buffer(device, bytes)?, bytes),
        };
        Ok(Pooled { memory, size, device: device.id(), home: Home::Pool(Arc::clone(shared)) })
    })
}

/// A weight's buffer of `bytes`, made by `create` if there is room for it.
#[cfg(feature = "processor")]
pub(crate) fn weight_buffer(
    device: &Device,
    bytes: u64,
    create: impl Fn() -> Result<Buffer>,
) -> Result<Pooled<Buffer>> {
    let bytes = bindable(device, bytes)?;
    device.make_room(|| {
        let home = Home::Own { _bytes: device.memory().bytes(MemoryKind::Weights, bytes)? };
        Ok(Pooled { memory: create()?, size: bytes, device: device.id(), home })
    })
}

/// A buffer for an input: filled before the first step, so never memory that an earlier step writes.
pub(crate) fn input_buffer(device: &Device, shared: &SharedPool, bytes: u64) -> Result<Pooled<Buffer>> {
    let bytes = bindable(device, bytes)?;
    device.make_room(|| {
        let memory = shared.lock().unwrap_or_else(PoisonError::into_inner).make_buffer(device, bytes)?;
        Ok(Pooled { memory, size: bytes, device: device.id(), home: Home::Pool(Arc::clone(shared)) })
    })
}

/// `bytes` rounded up to whole vectors, as kernels bind any tensor as an array of vec4. Fails where that is
/// more than the adapter can bind.
fn bindable(device: &Device, bytes: u64) -> Result<u64> {
    let bytes = bytes.max(4).next_multiple_of(16);
    let limits = device.limits();
    let limit = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
    if bytes > limit {
        return Err(Error::TooLarge { what: "a buffer".to_owned(), bytes, limit });
    }
    Ok(bytes)
}

/// Creates a texture. Fails where memory is short, so that no texture without memory comes into a pool.
fn create_texture(
    device: &Device,
    format: wgpu::TextureFormat,
    [width, height]: [u32; 2],
) -> Result<wgpu::Texture> {
    device.guard(|| device.create_texture(format, width, height))
}

/// A texture for `rows` of `columns` values, four per texel, or a little larger.
pub(crate) fn texture(
    device: &Device,
    shared: &SharedPool,
    rows: usize,
    columns: usize,
) -> Result<Pooled<wgpu::Texture>> {
    let sides = sides(device, columns.div_ceil(4), rows)?;
    device.make_room(|| {
        let mut pool = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let fitting = pool.textures.iter().position(|(_, free)| *free == sides);
        let memory = match fitting {
            Some(index) => pool.textures.swap_remove(index).0,
            None => pool.make_texture(device, sides)?,
        };
        Ok(Pooled { memory, size: sides, device: device.id(), home: Home::Pool(Arc::clone(shared)) })
    })
}

/// A texture of its own for a weight, of at least `width` by `height` texels of `format`.
pub(crate) fn weight_texture(
    device: &Device,
    format: wgpu::TextureFormat,
    width: usize,
    height: usize,
) -> Result<Pooled<wgpu::Texture>> {
    let sides = sides(device, width, height)?;
    device.make_room(|| {
        let home = Home::Own { _bytes: device.memory().bytes(MemoryKind::Weights, texture_bytes(sides))? };
        Ok(Pooled { memory: create_texture(device, format, sides)?, size: sides, device: device.id(), home })
    })
}

/// The sides of a texture of at least `width` by `height` texels, if the adapter allows them. Powers of two
/// are avoided where possible: llvmpipe compiles a kernel anew, which can take a second, for every set of its
/// textures' sides that are powers of two.
fn sides(device: &Device, width: usize, height: usize) -> Result<[u32; 2]> {
    let limit = device.limits().max_texture_dimension_2d;
    let side_of = |texels: usize| {
        let side = u32::try_from(texels).ok().filter(|&side| side <= limit)?;
        Some(if side.is_power_of_two() && side < limit { side.max(2) + 1 } else { side })
    };
    side_of(width).zip(side_of(height)).map(|(width, height)| [width, height]).ok_or_else(|| {
        let reason = format!(
            "{height} rows of {width} texels exceed the {limit} a side of the adapter's textures; use fewer prompts or \
             images at once, or the workgroup kernels"
        );
        Error::Shape { op: "texture", reason }
    })
}

fn texture_bytes([width, height]: [u32; 2]) -> u64 {
    16 * u64::from(width) * u64::from(height)
}

impl Pool {
    /// An empty pool, whose memory is counted as `kind`.
    pub fn new(device: &Device, kind: MemoryKind) -> SharedPool {
        Self::counting(device.memory().nothing(kind), false)
    }

    /// A pool that takes no memory and only counts what it would take.
    pub fn planned() -> SharedPool {
        Self::counting(MemoryCount::default().nothing(MemoryKind::Plans), true)
    }

    pub fn counting(counted: Counted, is_planned: bool) -> SharedPool {
        let (buffers, textures) = (Vec::new(), Vec::new());
        Arc::new(Mutex::new(Self { buffers, textures, counted, is_planned }))
    }

    /// For a recording, the bytes of all memory that was ever made for it, which is its peak; for other
    /// tensors, the bytes that exist.
    pub fn bytes(&self) -> u64 {
        self.counted.bytes()
    }

    /// Whether it only counts.
    pub fn is_planned(&self) -> bool {
        self.is_planned
    }

    /// Whether `buffer` belongs to no tensor any more.
    #[cfg(feature = "processor")]
    pub fn is_free(&self, buffer: &Buffer) -> bool {
        self.buffers.iter().any(|(free, _)| free == buffer)
    }

    /// Frees the buffers that are not in use. In a recording this frees nothing: its steps hold them.
    pub fn trim(&mut self) {
        for (_, bytes) in std::mem::take(&mut self.buffers) {
            self.forget(bytes);
        }
    }

    /// Stops counting a buffer that is dropped, unless the steps of a recording hold it.
    fn forget(&mut self, bytes: u64) {
        if self.counted.kind() == MemoryKind::EncodedImages {
            self.counted.shrink(bytes);
        }
    }

    fn make_buffer(&mut self, device: &Device, bytes: u64) -> Result<Buffer> {
        self.make(bytes, |is_planned| match is_planned {
            true => Ok(device.empty_buffer()),
            false => Buffer::new(device, bytes),
        })
    }

    fn make_texture(&mut self, device: &Device, sides: [u32; 2]) -> Result<wgpu::Texture> {
        self.make(texture_bytes(sides), |is_planned| match is_planned {
            true => Ok(device.gpu()?.empty_texture.clone()),
            false => create_texture(device, F32_TEXELS, sides),
        })
    }

    /// Counts the memory that `create` makes, or nothing where that fails.
    fn make<T>(&mut self, bytes: u64, create: impl FnOnce(bool) -> Result<T>) -> Result<T> {
        self.counted.grow(bytes)?;
        create(self.is_planned).inspect_err(|_| self.counted.shrink(bytes))
    }
}
