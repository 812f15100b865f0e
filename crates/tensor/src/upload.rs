//! Uploads. wgpu keeps a copy of all writes to a queue until the next submit, and loading a model does not
//! submit by itself. So uploads submit every few megabytes, or all weights would be held twice.

use std::sync::atomic::Ordering;

use crate::buffer::Buffer;
use crate::gpu::Gpu;
use crate::{Device, Result};

/// Bytes that uploads may keep in memory besides the device's own copy.
const UPLOAD_BUDGET: usize = 4 << 20;

impl Device {
    /// Writes the whole of a buffer.
    pub(crate) fn write_buffer(&self, buffer: &Buffer, bytes: &[u8]) -> Result<()> {
        #[cfg(feature = "processor")]
        if let Buffer::Host(buffer) = buffer {
            return self.guard(|| buffer.fill(bytes));
        }
        let (gpu, buffer) = (self.gpu()?, buffer.gpu()?);
        for (index, part) in bytes.chunks(UPLOAD_BUDGET).enumerate() {
            self.guard(|| {
                gpu.queue.write_buffer(buffer, (index * UPLOAD_BUDGET) as u64, part);
                Ok(())
            })?;
            self.bound_uploads(gpu, part.len())?;
        }
        Ok(())
    }

    /// Writes rows of `width` texels, sixteen bytes each, to a texture that may be larger.
    pub(crate) fn write_texture(&self, texture: &wgpu::Texture, width: u32, bytes: &[u8]) -> Result<()> {
        let row = 16 * width;
        let layout =
            wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(row), rows_per_image: None };
        let height = bytes.len() as u32 / row;
        let extent = wgpu::Extent3d { width, height, depth_or_array_layers: 1 };
        let gpu = self.gpu()?;
        self.guard(|| {
            gpu.queue.write_texture(texture.as_image_copy(), bytes, layout, extent);
            Ok(())
        })?;
        self.bound_uploads(gpu, bytes.len())
    }

    fn bound_uploads(&self, gpu: &Gpu, bytes: usize) -> Result<()> {
        if gpu.uploading.fetch_add(bytes, Ordering::Relaxed) + bytes >= UPLOAD_BUDGET {
            gpu.uploading.store(0, Ordering::Relaxed);
            gpu.wait_for(&self.submit([])?)?;
        }
        Ok(())
    }
}
