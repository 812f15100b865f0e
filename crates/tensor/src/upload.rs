//! Bringing weights to the device without keeping them twice: wgpu keeps a copy of all that a queue was given until the next submit,
//! and loading a model has no submit of its own, so uploads submit every few megabytes.

use std::sync::atomic::Ordering;

use crate::{Device, Result};

/// Bytes that uploads may keep in memory besides the device's own copy.
const UPLOAD_BUDGET: usize = 4 << 20;

impl Device {
    /// Writes the whole of a buffer.
    pub(crate) fn write_buffer(&self, buffer: &wgpu::Buffer, bytes: &[u8]) -> Result<()> {
        self.guard(|| {
            for (place, part) in bytes.chunks(UPLOAD_BUDGET).enumerate() {
                self.queue().write_buffer(buffer, (place * UPLOAD_BUDGET) as u64, part);
                self.bound_uploads(part.len())?;
            }
            Ok(())
        })
    }

    /// Writes rows of `width` texels, sixteen bytes each, to a texture that may be larger.
    pub(crate) fn write_texture(&self, texture: &wgpu::Texture, width: u32, bytes: &[u8]) -> Result<()> {
        let row = 16 * width;
        let layout =
            wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(row), rows_per_image: None };
        let height = bytes.len() as u32 / row;
        let extent = wgpu::Extent3d { width, height, depth_or_array_layers: 1 };
        self.guard(|| {
            self.queue().write_texture(texture.as_image_copy(), bytes, layout, extent);
            self.bound_uploads(bytes.len())
        })
    }

    fn bound_uploads(&self, bytes: usize) -> Result<()> {
        if self.uploading().fetch_add(bytes, Ordering::Relaxed) + bytes >= UPLOAD_BUDGET {
            self.uploading().store(0, Ordering::Relaxed);
            let submission = self.queue().submit([]);
            self.wait_for(submission)?;
        }
        Ok(())
    }
}
