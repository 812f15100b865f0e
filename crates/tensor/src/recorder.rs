use std::fmt::Debug;
use std::sync::{Arc, OnceLock, PoisonError};

use bytemuck::Pod;
use clipseg_shaders::{BindingKind, Kernel, kernels};

use crate::buffer::Buffer;
use crate::memory::MemoryKind;
use crate::plan::Plan;
use crate::pool::{self, Pool, Pooled, SharedPool};
use crate::step::{Dispatch, Memory, Resource, Step, bytes_of};
use crate::tensor::{DType, Tensor};
use crate::{Cost, Device, Error, Result};

/// Records ops into a [`Plan`]. Ops read like PyTorch's and are methods of this type; each allocates its
/// output.
pub struct Recorder {
    device: Device,
    pool: SharedPool,
    steps: Vec<Step>,
    uniforms: Vec<u8>,
    held: Held,
}

/// Converted copies of tensors that outlive the recording. They stay until it ends: given back at once, they
/// would be overwritten before the op that asked for them runs.
#[derive(Default)]
struct Held {
    buffers: Vec<Pooled<Buffer>>,
    textures: Vec<Pooled<wgpu::Texture>>,
}

impl Recorder {
    /// An empty recording on `device`.
    #[must_use]
    pub fn new(device: &Device) -> Self {
        Self::in_pool(device, Pool::new(device, MemoryKind::Plans))
    }

    /// A recording that takes no memory, to learn from [`arena_bytes`](Self::arena_bytes) what the same one
    /// would take. It cannot be finished.
    #[must_use]
    pub fn planning(device: &Device) -> Self {
        Self::in_pool(device, Pool::planned())
    }

    fn in_pool(device: &Device, pool: SharedPool) -> Self {
        Self { device: device.clone(), pool, steps: Vec::new(), uniforms: Vec::new(), held: Held::default() }
    }

    /// An empty recording on the same device, for [`planning`](Self::planning) where this one is: for work
    /// that is done once, while this one is recorded.
    #[must_use]
    pub fn another(&self) -> Self {
        if self.is_planning() { Self::planning(&self.device) } else { Self::new(&self.device) }
    }

    /// As [`Device::upload_u32`]; while [planning](Self::planning), a tensor without memory.
    ///
    /// # Errors
    /// As [`Device::upload_u32`].
    pub fn constant_u32(&self, shape: &[usize], values: &[u32]) -> Result<Tensor> {
        if self.is_planning() {
            self.another().input_u32(shape)
        } else {
            self.device.upload_u32(shape, values)
        }
    }

    /// The device that the plan will run on.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Bytes of device memory that the recording takes so far: the plan's, [`Plan::arena_bytes`], once all is
    /// recorded.
    #[must_use]
    pub fn arena_bytes(&self) -> u64 {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).bytes()
    }

    /// Whether it is for [`planning`](Self::planning).
    #[must_use]
    pub fn is_planning(&self) -> bool {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).is_planned()
    }

    /// A tensor to be filled before each run. Keep a clone of it as long as the plan: its memory is reused
    /// once dropped.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond the adapter's limits, [`Error::Shape`] for more elements than any memory
    /// has room for.
    pub fn input(&self, shape: &[usize]) -> Result<Tensor> {
        self.allocate_input(shape, DType::F32)
    }

    /// As [`input`](Self::input), of integers.
    ///
    /// # Errors
    /// As [`input`](Self::input).
    pub fn input_u32(&self, shape: &[usize]) -> Result<Tensor> {
        self.allocate_input(shape, DType::U32)
    }

    fn allocate_input(&self, shape: &[usize], dtype: DType) -> Result<Tensor> {
        let bytes = dtype.bytes_of("input", shape)?;
        Ok(Tensor::in_buffer(shape, dtype, pool::input_buffer(&self.device, &self.pool, bytes)?))
    }

    /// Makes `tensor` one that can be read back or copied after a run. Keep it as long as the plan.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond the adapter's limits.
    pub fn output(&mut self, tensor: &Tensor) -> Result<Tensor> {
        self.buffer_of(tensor)?;
        Ok(tensor.clone())
    }

    /// Ends the recording: here what pipelines are missing are compiled, several at once, and bind groups and
    /// parameters are made.
    ///
    /// # Errors
    /// [`Error::Device`] when the device refuses a pipeline or bind group; [`Error::Shape`] of a recording
    /// that is only for [`planning`](Self::planning).
    pub fn finish(self) -> Result<Plan> {
        if self.is_planning() {
            let reason = "a recording that takes no memory has no plan".to_owned();
            return Err(Error::Shape { op: "finish", reason });
        }
        Plan::new(self.device, self.steps, self.uniforms, self.pool)
    }

    pub(crate) fn allocate(&self, shape: &[usize], dtype: DType) -> Result<Tensor> {
        let bytes = dtype.bytes_of("output", shape)?;
        Ok(Tensor::in_buffer(shape, dtype, pool::buffer(&self.device, Some(&self.pool), bytes)?))
    }

    pub(crate) fn allocate_texture(&self, shape: &[usize]) -> Result<Tensor> {
        let columns = shape.last().copied().unwrap_or(1);
        let rows = DType::F32.bytes_of("output", shape)? / DType::F32.bytes(columns).max(1);
        Ok(Tensor::in_texture(shape, pool::texture(&self.device, &self.pool, rows as usize, columns)?))
    }

    /// The buffer that holds `tensor`, copied from its texture where it has none.
    pub(crate) fn buffer_of(&mut self, tensor: &Tensor) -> Result<Buffer> {
        tensor.expect_on(&self.device)?;
        if let Some(buffer) = tensor.storage().buffer.get() {
            return Ok(buffer.get().clone());
        }
        let Some(texture) = tensor.storage().texture.get() else {
            return Err(Error::Device(format!("{tensor:?} has no memory")));
        };
        let (texture, is_own) = (texture.get().clone(), texture.is_of(&self.pool));
        let buffer = pool::buffer(&self.device, Some(&self.pool), tensor.bytes())?;
        let memory = buffer.get().clone();
        let (rows, columns) = (tensor.rows() as u32, tensor.columns() as u32);
        if columns.is_multiple_of(64) {
            self.steps.push(Step::TextureToBuffer { texture, buffer: memory.gpu()?.clone(), rows, columns });
        } else {
            let resources = vec![
                Resource::texture(texture, tensor.bytes()),
                Resource::buffer(memory.clone(), tensor.bytes()),
            ];
            let params = kernels::buffer_from_texture::Params { rows, columns };
            let kernel = &kernels::buffer_from_texture::KERNEL;
            self.dispatch(kernel, &[], params, resources, grid_of_texels(kernel, rows, columns), 0)?;
        }
        keep(&tensor.storage().buffer, buffer, is_own, &mut self.held.buffers);
        Ok(memory)
    }

    /// The texture that holds `tensor`, copied from its buffer where it has none. f16 values, which only the
    /// kernels on buffers read, get none.
    pub(crate) fn texture_of(&mut self, tensor: &Tensor) -> Result<wgpu::Texture> {
        tensor.expect_on(&self.device)?;
        if tensor.dtype() == DType::F16 {
            return Err(Error::Shape {
                op: "texture",
                reason: format!("{tensor:?} would be taken for floats"),
            });
        }
        if let Some(texture) = tensor.storage().texture.get() {
            return Ok(texture.get().clone());
        }
        let Some(buffer) = tensor.storage().buffer.get() else {
            return Err(Error::Device(format!("{tensor:?} has no memory")));
        };
        let (buffer, is_own) = (buffer.get().clone(), buffer.is_of(&self.pool));
        let texture = self.copy_to_texture(tensor, buffer)?;
        let memory = texture.get().clone();
        keep(&tensor.storage().texture, texture, is_own, &mut self.held.textures);
        Ok(memory)
    }

    /// A copy of `tensor` that lies in a texture alone, as the subgroup kernels leave what they give.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn copied_to_texture(&mut self, tensor: &Tensor) -> Result<Tensor> {
        let buffer = self.buffer_of(tensor)?;
        Ok(Tensor::in_texture(tensor.shape(), self.copy_to_texture(tensor, buffer)?))
    }

    /// A new texture with what is in `buffer`, where `tensor` lies.
    fn copy_to_texture(&mut self, tensor: &Tensor, buffer: Buffer) -> Result<Pooled<wgpu::Texture>> {
        let texture = pool::texture(&self.device, &self.pool, tensor.rows(), tensor.columns())?;
        let memory = texture.get().clone();
        let (rows, columns) = (tensor.rows() as u32, tensor.columns() as u32);
        // A copy wants rows of a multiple of 256 bytes; for others a kernel does it.
        if columns.is_multiple_of(64) {
            let buffer = buffer.gpu()?.clone();
            self.steps.push(Step::BufferToTexture { buffer, texture: memory, rows, columns });
        } else {
            let resources =
                vec![Resource::buffer(buffer, tensor.bytes()), Resource::texture(memory, tensor.bytes())];
            let params = kernels::texture_from_buffer::Params { rows, columns };
            let kernel = &kernels::texture_from_buffer::KERNEL;
            self.dispatch(kernel, &[], params, resources, grid_of_texels(kernel, rows, columns), 0)?;
        }
        Ok(texture)
    }

    /// Records a run of `kernel`, of `flops` floating-point operations as [`Cost`] counts them.
    pub(crate) fn dispatch<P: Pod + Debug>(
        &mut self,
        kernel: &'static Kernel,
        overrides: &[(&'static str, u32)],
        params: P,
        resources: Vec<Resource>,
        grid: [u32; 3],
        flops: u64,
    ) -> Result<()> {
        debug_assert_eq!(kernel.bindings.len(), resources.len() + 1, "{}", kernel.name);
        debug_assert!(
            kernel.overrides.len() == overrides.len()
                && overrides.iter().all(|(name, _)| kernel.overrides.contains(name)),
            "{}: the overrides of another kernel, {overrides:?}",
            kernel.name
        );
        debug_assert!(
            kernel.bindings[1..].iter().zip(&resources).all(|(binding, resource)| match &resource.memory {
                Memory::Buffer(_) => {
                    matches!(binding.kind, BindingKind::StorageRead | BindingKind::StorageReadWrite)
                }
                Memory::Texture(_) => matches!(
                    binding.kind,
                    BindingKind::Texture | BindingKind::StorageTextureRead | BindingKind::StorageTextureWrite
                ),
            }),
            "{}: a resource of another kind than its binding",
            kernel.name
        );
        let mut bound = kernel.bindings[1..].iter().zip(&resources);
        if let Some((binding, _)) = bound.find(|(binding, given)| given.is_f16 && !binding.may_hold_f16) {
            let reason = format!("half-precision floats as `{}`, which is of words", binding.name);
            return Err(Error::Shape { op: kernel.name, reason });
        }
        let limit = self.device.limits().max_compute_workgroups_per_dimension;
        if grid.iter().any(|&side| side > limit) {
            let reason = format!("a grid of {grid:?} workgroups exceeds the adapter's {limit} a side");
            return Err(Error::Shape { op: kernel.name, reason });
        }
        if grid.contains(&0) {
            return Ok(());
        }
        let pipeline = self.device.pipelines().find(kernel, overrides);
        let alignment = self.device.limits().min_uniform_buffer_offset_alignment as usize;
        let uniform_offset = self.uniforms.len().next_multiple_of(alignment);
        let bytes = bytemuck::bytes_of(&params);
        debug_assert!(bytes.len() <= kernel.params_bytes as usize, "{}: {params:?}", kernel.name);
        self.uniforms.resize(uniform_offset, 0);
        self.uniforms.extend_from_slice(bytes);
        let uniform_bytes = u64::from(kernel.params_bytes).next_multiple_of(16);
        self.uniforms.resize(uniform_offset + uniform_bytes as usize, 0);
        let uniform_offset = uniform_offset as u64;
        let cost = Cost { flops, bytes: bytes_of(&resources) };
        self.steps.push(Step::Dispatch(Dispatch {
            pipeline,
            resources,
            uniform_offset,
            uniform_bytes,
            show_params: |bytes| format!("{:?}", bytemuck::pod_read_unaligned::<P>(&bytes[..size_of::<P>()])),
            grid,
            cost,
        }));
        Ok(())
    }

    /// As [`dispatch`](Self::dispatch), with a grid of one invocation for each of `length` elements, folded
    /// where a side would be too long.
    pub(crate) fn dispatch_1d<P: Pod + Debug>(
        &mut self,
        kernel: &'static Kernel,
        overrides: &[(&'static str, u32)],
        params: P,
        resources: Vec<Resource>,
        length: usize,
        flops: u64,
    ) -> Result<()> {
        let grid = self.folded_grid(length.div_ceil(kernel.workgroup_size[0] as usize));
        self.dispatch(kernel, overrides, params, resources, grid, flops)
    }

    /// Records a kernel with a workgroup per row.
    pub(crate) fn dispatch_rows<P: Pod + Debug>(
        &mut self,
        kernel: &'static Kernel,
        params: P,
        resources: Vec<Resource>,
        rows: usize,
        flops: u64,
    ) -> Result<()> {
        let grid = self.folded_grid(rows);
        self.dispatch(kernel, &[], params, resources, grid, flops)
    }

    /// `workgroups` as a grid of x by y, at least as many.
    pub(crate) fn folded_grid(&self, workgroups: usize) -> [u32; 3] {
        let limit = self.device.limits().max_compute_workgroups_per_dimension as usize;
        let x = workgroups.min(limit);
        [x as u32, workgroups.div_ceil(x.max(1)) as u32, 1]
    }
}

/// The grid for one invocation per texel, of four columns of a row.
fn grid_of_texels(kernel: &Kernel, rows: u32, columns: u32) -> [u32; 3] {
    let [x, y, _] = kernel.workgroup_size;
    [columns.div_ceil(4 * x), rows.div_ceil(y), 1]
}

/// Keeps a converted copy with its tensor, for the ops that follow. A tensor that outlives the recording must
/// not have it: another plan would find the copy without the step that fills it.
fn keep<T: pool::Reusable>(
    slot: &OnceLock<Arc<Pooled<T>>>,
    memory: Pooled<T>,
    is_own: bool,
    held: &mut Vec<Pooled<T>>,
) {
    if is_own {
        // Set once, by this very recording; a second value cannot be there.
        let _ = slot.set(Arc::new(memory));
    } else {
        held.push(memory);
    }
}
