//! Photos in a host's textures, made what a model reads.

use clipseg_shaders::kernels::{resize_bytes, resize_photo};

use crate::host_memory::{HostStep, expect_texture, grid_1d};
use crate::plan::Plan;
use crate::tensor::DType;
use crate::{Device, Error, Recorder, Result, Tensor};

/// The formats that photos may have.
pub(crate) const FORMATS: [wgpu::TextureFormat; 4] = [
    wgpu::TextureFormat::Rgba8Unorm,
    wgpu::TextureFormat::Rgba8UnormSrgb,
    wgpu::TextureFormat::Bgra8Unorm,
    wgpu::TextureFormat::Bgra8UnormSrgb,
];

/// Which pixels along an axis of a picture make those of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResizeAxis {
    /// The first pixel that each is made of.
    pub starts: Vec<u32>,
    /// The weights of that and the following ones, in units of 2⁻²²; as many for each, zero behind the last.
    pub weights: Vec<i32>,
}

impl ResizeAxis {
    fn taps(&self) -> usize {
        self.weights.len() / self.starts.len().max(1)
    }

    fn expect_valid(&self, source: usize) -> Result<()> {
        let length = self.starts.len();
        let is_whole = length > 0 && self.taps() > 0 && self.weights.len() == length * self.taps();
        if is_whole && self.starts.iter().all(|&start| (start as usize) < source) {
            return Ok(());
        }
        let weights = self.weights.len();
        let reason = format!(
            "{weights} weights for {length} pixels made of {source}, or a first one that is not there"
        );
        Err(Error::Shape { op: "resize_photo", reason })
    }
}

/// How photos of one size become what a model reads: along which axis first, by which weights, and what each
/// byte becomes.
#[derive(Clone, Debug, PartialEq)]
pub struct PhotoResizing {
    /// Rows and columns of the photo.
    pub size: (usize, usize),
    /// How each row is made shorter or longer.
    pub across: ResizeAxis,
    /// How each column is.
    pub down: ResizeAxis,
    /// Whether columns come first. Each pass rounds, so the order shows.
    pub down_first: bool,
    /// The value of each byte of red, of green and of blue: 768 values.
    pub table: Vec<f32>,
}

/// A plan that resizes photos in textures of one size, rounding as Pillow does, and makes of each byte what a
/// table says.
pub struct PhotoResize {
    device: Device,
    resizing: PhotoResizing,
    /// The first pass reads the host's texture and is not the plan's; these are what it needs besides.
    starts: Tensor,
    weights: Tensor,
    plan: Plan,
    /// What the first pass gives, a word a pixel.
    picture: Tensor,
    /// `[1, 3, rows, columns]`
    values: Tensor,
}

impl PhotoResize {
    /// Records it.
    ///
    /// # Errors
    /// [`Error::Shape`] for weights that do not fit the sizes, or a table that is not of 768 values;
    /// [`Error::OtherDevice`] on the processor, which has no textures; the device's.
    pub fn new(device: &Device, resizing: PhotoResizing) -> Result<Self> {
        // The processor has none.
        device.gpu()?;
        let PhotoResizing { size: (height, width), across, down, down_first, table } = &resizing;
        across.expect_valid(*width)?;
        down.expect_valid(*height)?;
        if table.len() != 3 * 256 {
            let reason = format!("a table of {} values, expected 768", table.len());
            return Err(Error::Shape { op: "resize_photo", reason });
        }
        let (rows, columns) = (down.starts.len(), across.starts.len());
        let (first, second) = if *down_first { (down, across) } else { (across, down) };
        let between = if *down_first { (rows, *width) } else { (*height, columns) };

        let words = |values: &[i32]| values.iter().map(|&value| value.cast_unsigned()).collect::<Vec<_>>();
        let upload = |values: &[u32]| device.upload_u32(&[values.len()], values);
        let [starts, weights] = [upload(&first.starts)?, upload(&words(&first.weights))?];
        let [second_starts, second_weights] = [upload(&second.starts)?, upload(&words(&second.weights))?];
        let table = device.upload(&[3, 256], table)?;

        let mut recorder = Recorder::new(device);
        let picture = recorder.input_u32(&[between.0, between.1])?;
        let values = recorder.allocate(&[1, 3, rows, columns], DType::F32)?;
        let params = resize_bytes::Params {
            height: between.0 as u32,
            width: between.1 as u32,
            length: second.starts.len() as u32,
            taps: second.taps() as u32,
            is_vertical: u32::from(!down_first),
        };
        let inputs = [&picture, &second_starts, &second_weights, &table, &values];
        let resources = inputs.into_iter().map(|tensor| recorder.buffer(tensor)).collect::<Result<_>>()?;
        let flops = 6 * (rows * columns * second.taps()) as u64;
        recorder.dispatch_1d(&resize_bytes::KERNEL, &[], params, resources, rows * columns, flops)?;
        let values = recorder.output(&values)?;
        let plan = recorder.finish()?;
        Ok(Self { device: device.clone(), starts, weights, plan, picture, values, resizing })
    }

    /// The values `[1, 3, rows, columns]` of a photo. The texture is read when the work that this submits, or
    /// within [`Device::commands`] gives, is done; textures that are stored as sRGB are taken as they are
    /// stored.
    ///
    /// # Errors
    /// [`Error::Texture`] for one of another format, usage or size; [`Error::OtherDevice`] for one of another
    /// device; the device's.
    pub fn run(&self, photo: &wgpu::Texture) -> Result<Tensor> {
        let (height, width) = self.resizing.size;
        expect_photo(photo)?;
        if (photo.height() as usize, photo.width() as usize) != (height, width) {
            let reason =
                format!("it is {} by {} texels, not {width} by {height}", photo.width(), photo.height());
            return Err(Error::Texture { what: WHAT, reason });
        }
        let values = self.device.uninit(self.values.shape())?;
        let mut run = self.plan.run();
        run.copy_out(&self.values, &values)?;
        run.first(self.first_pass(photo)?);
        run.submit()?;
        Ok(values)
    }

    fn first_pass(&self, photo: &wgpu::Texture) -> Result<HostStep> {
        let PhotoResizing { size, across, down, down_first, .. } = &self.resizing;
        let first = if *down_first { down } else { across };
        let params = resize_photo::Params {
            height: size.0 as u32,
            width: size.1 as u32,
            length: first.starts.len() as u32,
            taps: first.taps() as u32,
            is_vertical: u32::from(*down_first),
            is_srgb: u32::from(photo.format().is_srgb()),
        };
        let view = view(&self.device, photo)?;
        let mut resources = vec![wgpu::BindingResource::TextureView(&view)];
        for tensor in [&self.starts, &self.weights, &self.picture] {
            resources.push(tensor.gpu_buffer(&self.device)?.as_entire_binding());
        }
        let grid = grid_1d(&self.device, &resize_photo::KERNEL, self.picture.len());
        HostStep::dispatch(&self.device, &resize_photo::KERNEL, &params, &resources, grid, WHAT)
    }
}

/// A host's photo as kernels read it: its largest picture alone.
///
/// # Errors
/// [`Error::Texture`] for one of another format or usage; the device's.
pub(crate) fn view(device: &Device, photo: &wgpu::Texture) -> Result<wgpu::TextureView> {
    expect_photo(photo)?;
    device.guard(|| {
        Ok(photo.create_view(&wgpu::TextureViewDescriptor {
            mip_level_count: Some(1),
            ..wgpu::TextureViewDescriptor::default()
        }))
    })
}

fn expect_photo(photo: &wgpu::Texture) -> Result<()> {
    expect_texture(WHAT, photo, &FORMATS, wgpu::TextureUsages::TEXTURE_BINDING)
}

/// What errors call it.
pub(crate) const WHAT: &str = "the photo's texture";
