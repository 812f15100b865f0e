//! A step's operands, read back to the host.

use half::f16;

use crate::step::{Memory, Resource};
use crate::tensor::DType;
use crate::texture::PACKED_F16_TEXELS;
use crate::{Device, Result};

/// The content of a buffer or a texture.
pub(super) struct Operand {
    /// Words of a row of the texture.
    row: Option<usize>,
    /// Whether it is of half-precision floats.
    pub is_f16: bool,
    words: Vec<u32>,
}

impl Operand {
    pub fn of(device: &Device, resource: &Resource) -> Result<Self> {
        match &resource.memory {
            Memory::Buffer(buffer) => {
                let dtype = if resource.is_f16 { DType::F16 } else { DType::F32 };
                Self::of_buffer(device, buffer.gpu()?, dtype)
            }
            Memory::Texture(texture) => Self::of_texture(device, texture),
        }
    }

    pub fn of_buffer(device: &Device, buffer: &wgpu::Buffer, dtype: DType) -> Result<Self> {
        let is_f16 = dtype == DType::F16;
        // What stands for an operand that is left out cannot be copied, nor is it read.
        if !buffer.usage().contains(wgpu::BufferUsages::COPY_SRC) {
            return Ok(Self { row: None, is_f16, words: vec![0; 4] });
        }
        let words = read(device, buffer.size(), |encoder, staging| {
            encoder.copy_buffer_to_buffer(buffer, 0, staging, 0, buffer.size());
        })?;
        Ok(Self { row: None, is_f16, words })
    }

    pub fn of_texture(device: &Device, texture: &wgpu::Texture) -> Result<Self> {
        let row = 4 * texture.width() as usize;
        // Copies want rows of a multiple of 256 bytes.
        let padded = row.next_multiple_of(64);
        let bytes = 4 * padded as u64 * u64::from(texture.height());
        let words = read(device, bytes, |encoder, staging| {
            let layout = wgpu::TexelCopyBufferLayout {
                offset: 0,
                bytes_per_row: Some(4 * padded as u32),
                rows_per_image: None,
            };
            let to = wgpu::TexelCopyBufferInfo { buffer: staging, layout };
            encoder.copy_texture_to_buffer(texture.as_image_copy(), to, texture.size());
        })?;
        let words = words.chunks_exact(padded).flat_map(|words| &words[..row]).copied().collect();
        Ok(Self { row: Some(row), is_f16: texture.format() == PACKED_F16_TEXELS, words })
    }

    /// All values as floats, row by row of a texture.
    pub fn floats(&self) -> Vec<f32> {
        if !self.is_f16 {
            return bytemuck::cast_slice(&self.words).to_vec();
        }
        let halves: &[u16] = bytemuck::cast_slice(&self.words);
        halves.iter().map(|&bits| f16::from_bits(bits).to_f32()).collect()
    }

    /// What a twin reads: integers as they are, floats and f16 values as floats.
    pub fn as_words(&self) -> Vec<u32> {
        if self.is_f16 { bytemuck::cast_slice(&self.floats()).to_vec() } else { self.words.clone() }
    }

    /// Values of a row of the texture, or all where it is a buffer.
    pub fn row(&self) -> usize {
        let words = self.row.unwrap_or(self.words.len());
        if self.is_f16 { 2 * words } else { words }
    }

    /// The first `columns` of the first `rows` rows of a texture, or so many values of a buffer. What is not
    /// there is zero.
    pub fn matrix(&self, rows: usize, columns: usize) -> Vec<f32> {
        let floats = self.floats();
        let stride = if self.row.is_some() { self.row() } else { columns };
        let value = |row: usize, column: usize| floats.get(row * stride + column).copied().unwrap_or(0.0);
        (0..rows)
            .flat_map(|row| (0..columns).map(move |column| (row, column)))
            .map(|(r, c)| value(r, c))
            .collect()
    }
}

/// The words that `copy` brings to a buffer of `bytes`.
fn read(
    device: &Device,
    bytes: u64,
    copy: impl FnOnce(&mut wgpu::CommandEncoder, &wgpu::Buffer),
) -> Result<Vec<u32>> {
    let gpu = device.gpu()?;
    let staging = device.staging(bytes)?;
    let submission = device.guard(|| {
        let mut encoder = gpu.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        copy(&mut encoder, &staging.buffer);
        Ok(gpu.submit([encoder.finish()]))
    })?;
    let words = device.read_now(submission, (&staging.buffer, bytes), "a step's operand", |bytes| {
        bytemuck::cast_slice(bytes).to_vec()
    })?;
    device.return_staging(staging);
    Ok(words)
}
