//! Memory of a plan's tensors, reused by lifetime.

use std::sync::{Arc, Mutex, PoisonError};

use crate::buffer::Buffer;
use crate::device::{DeviceId, FLOATS};
use crate::memory::Counted;
use crate::{Device, Error, Result};

/// The free memory of one recording. Work is recorded in the order in which it runs, so memory that a dropped tensor gave
/// back may serve the next one: whoever read the old content was recorded earlier.
#[derive(Default)]
pub(crate) struct Pool {
    buffers: Vec<Buffer>,
    textures: Vec<wgpu::Texture>,
    bytes: u64,
}

pub(crate) type SharedPool = Arc<Mutex<Pool>>;

/// Memory that goes back to its pool, if it has one, when it is dropped.
pub(crate) struct Pooled<T: Reusable> {
    memory: T,
    device: DeviceId,
    home: Home,
}

enum Home {
    Pool(SharedPool),
    /// None: it is a weight's own, and counted as long as it is there.
    Own {
        _bytes: Counted,
    },
}

pub(crate) trait Reusable: Clone {
    fn give_back(self, pool: &mut Pool);
}

/// Free buffers that a pool keeps: when scenes are dropped by the hundred, their memory goes back to the device.
const FREE_BUFFERS: usize = 32;

impl Reusable for Buffer {
    fn give_back(self, pool: &mut Pool) {
        if pool.buffers.len() >= FREE_BUFFERS {
            pool.buffers.remove(0);
        }
        pool.buffers.push(self);
    }
}

impl Reusable for wgpu::Texture {
    fn give_back(self, pool: &mut Pool) {
        pool.textures.push(self);
    }
}

impl<T: Reusable> Pooled<T> {
    pub fn get(&self) -> &T {
        &self.memory
    }

    /// The device that it is memory of.
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// Whether it is memory of the pool of a recording, `shared`.
    pub fn is_of(&self, shared: &SharedPool) -> bool {
        matches!(&self.home, Home::Pool(pool) if Arc::ptr_eq(pool, shared))
    }
}

impl<T: Reusable> Drop for Pooled<T> {
    fn drop(&mut self) {
        if let Home::Pool(pool) = &self.home {
            self.memory.clone().give_back(&mut pool.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

/// A buffer of at least `bytes`, from the pool where one fits without wasting more than half of it.
pub(crate) fn buffer(device: &Device, pool: Option<&SharedPool>, bytes: u64) -> Result<Pooled<Buffer>> {
    let bytes = bindable(device, bytes)?;
    let Some(shared) = pool else {
        let home = Home::Own { _bytes: device.memory().weights(bytes) };
        return Ok(Pooled { memory: Buffer::new(device, bytes)?, device: device.id(), home });
    };
    let mut pool = shared.lock().unwrap_or_else(PoisonError::into_inner);
    let fitting = pool
        .buffers
        .iter()
        .enumerate()
        .filter(|(_, buffer)| (bytes..=2 * bytes).contains(&buffer.size()))
        .min_by_key(|(_, buffer)| buffer.size())
        .map(|(place, _)| place);
    let memory = match fitting {
        Some(place) => pool.buffers.swap_remove(place),
        None => {
            let buffer = Buffer::new(device, bytes)?;
            pool.bytes += bytes;
            buffer
        }
    };
    Ok(Pooled { memory, device: device.id(), home: Home::Pool(Arc::clone(shared)) })
}

/// A weight's memory that is there already, of `bytes`.
#[cfg(feature = "processor")]
pub(crate) fn weight_buffer(device: &Device, memory: Buffer, bytes: u64) -> Result<Pooled<Buffer>> {
    let home = Home::Own { _bytes: device.memory().weights(bindable(device, bytes)?) };
    Ok(Pooled { memory, device: device.id(), home })
}

/// A buffer for an input: filled before the first step, so never memory that an earlier step writes.
pub(crate) fn input_buffer(device: &Device, shared: &SharedPool, bytes: u64) -> Result<Pooled<Buffer>> {
    let bytes = bindable(device, bytes)?;
    shared.lock().unwrap_or_else(PoisonError::into_inner).bytes += bytes;
    Ok(Pooled {
        memory: Buffer::new(device, bytes)?,
        device: device.id(),
        home: Home::Pool(Arc::clone(shared)),
    })
}

/// `bytes` rounded up to whole vectors, as kernels bind arrays of vec4 over any tensor, if the adapter binds so many.
fn bindable(device: &Device, bytes: u64) -> Result<u64> {
    let bytes = bytes.max(4).next_multiple_of(16);
    let limits = device.limits();
    let limit = limits.max_storage_buffer_binding_size.min(limits.max_buffer_size);
    if bytes > limit {
        return Err(Error::TooLarge { what: "a buffer".to_owned(), bytes, limit });
    }
    Ok(bytes)
}

/// A texture that is there: one whose memory could not be had never comes into a pool.
fn create_texture(
    device: &Device,
    format: wgpu::TextureFormat,
    width: u32,
    height: u32,
) -> Result<wgpu::Texture> {
    device.guard(|| device.create_texture(format, width, height))
}

/// A texture for `rows` of `columns` values, four a texel, or a little larger.
pub(crate) fn texture(
    device: &Device,
    shared: &SharedPool,
    rows: usize,
    columns: usize,
) -> Result<Pooled<wgpu::Texture>> {
    let [width, height] = sides(device, columns.div_ceil(4), rows)?;
    let mut pool = shared.lock().unwrap_or_else(PoisonError::into_inner);
    let fitting =
        pool.textures.iter().position(|texture| texture.width() == width && texture.height() == height);
    let memory = match fitting {
        Some(place) => pool.textures.swap_remove(place),
        None => {
            let texture = create_texture(device, FLOATS, width, height)?;
            pool.bytes += texture_bytes(width, height);
            texture
        }
    };
    Ok(Pooled { memory, device: device.id(), home: Home::Pool(Arc::clone(shared)) })
}

/// A texture of its own for a weight, of at least `width` by `height` texels of `format`.
pub(crate) fn weight_texture(
    device: &Device,
    format: wgpu::TextureFormat,
    width: usize,
    height: usize,
) -> Result<Pooled<wgpu::Texture>> {
    let [width, height] = sides(device, width, height)?;
    let home = Home::Own { _bytes: device.memory().weights(texture_bytes(width, height)) };
    Ok(Pooled { memory: create_texture(device, format, width, height)?, device: device.id(), home })
}

/// The sides of a texture, if the adapter has such large ones. None is a power of two where that can be helped: llvmpipe
/// compiles a kernel, which can take a second, anew for every set of its textures' sides that are.
fn sides(device: &Device, width: usize, height: usize) -> Result<[u32; 2]> {
    let limit = device.limits().max_texture_dimension_2d;
    let side_of = |texels: usize| {
        let side = u32::try_from(texels).ok().filter(|&side| side <= limit)?;
        Some(if side.is_power_of_two() && side < limit { side.max(2) + 1 } else { side })
    };
    side_of(width).zip(side_of(height)).map(|(width, height)| [width, height]).ok_or_else(|| {
        let reason = format!(
            "{height} rows of {width} texels exceed the {limit} a side of the adapter's textures; use fewer prompts or \
             images at once, or the classic kernels"
        );
        Error::Shape { op: "texture", reason }
    })
}

fn texture_bytes(width: u32, height: u32) -> u64 {
    16 * u64::from(width) * u64::from(height)
}

impl Pool {
    /// Bytes of all memory that was ever made for this recording: its peak.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}
