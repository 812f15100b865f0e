//! The engine beside the window: threads of its own that load the model, and keep a texture up to what the
//! window wants to show. The window never waits for them.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clipseg::masks::OVERLAY_COLOURS;
use clipseg::{
    Checkpoint, ClipSeg, ClipSegConfig, ClipSegForImageSegmentation, Device, DeviceOptions,
    DeviceSegmentation, EncodedImage, MaskValues, Orientation, Overlay, Photo, Processor, Tokenizer, wgpu,
};
use eframe::egui;
use eframe::egui_wgpu::RenderState;

use crate::frames::Phase;

/// How long a submission of the engine's may take: frames of the window come in between.
const LONGEST_SUBMISSION: Duration = Duration::from_millis(8);
/// The same of a software driver, which takes 40 ms to draw a frame: the engine would get a sixth of its time
/// where the window is drawn without a pause.
const LONGEST_SUBMISSION_OF_SOFTWARE: Duration = Duration::from_millis(40);
/// The longer side that a picture is shown at, at least: the edges of masks are drawn so finely.
const SHOWN_SIDE: u32 = 640;
type Error = Box<dyn std::error::Error + Send + Sync>;

/// What the window wants to show.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    pub photo: PathBuf,
    /// Prompts with commas between.
    pub words: String,
    pub threshold: f32,
    /// Of the colour within the mask.
    pub opacity: f32,
}

impl Wanted {
    /// The prompts, as many as there are colours.
    pub fn prompts(&self) -> Vec<&str> {
        let prompts = self.words.split(',').map(str::trim).filter(|prompt| !prompt.is_empty());
        prompts.take(OVERLAY_COLOURS.len()).collect()
    }
}

/// What the engine has done so far.
#[derive(Clone, Default)]
pub struct Status {
    pub phase: Phase,
    /// How much of the weights is loaded, 0 to 1.
    pub loaded: f32,
    /// The picture to draw: the photo, or the photo with masks over it.
    pub picture: Option<wgpu::Texture>,
    /// What that shows.
    pub shown: Option<Wanted>,
    /// Loading the model, encoding the photo, and the latest key press, to the mask in the texture.
    pub took: [Option<Duration>; 3],
    /// What went wrong with the model, and with what is wanted.
    pub errors: [Option<String>; 2],
}

/// Between the window and the engine's threads.
struct Shared {
    wanted: Mutex<Option<Wanted>>,
    model: Mutex<Option<Arc<ClipSeg>>>,
    /// Something of the two above has changed, or the window is gone.
    changed: Condvar,
    is_closed: std::sync::atomic::AtomicBool,
    status: Mutex<Status>,
    context: egui::Context,
}

/// The engine, as the window has it.
pub struct Engine(Arc<Shared>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn tell(&self, change: impl FnOnce(&mut Status)) {
        change(&mut lock(&self.status));
        self.context.request_repaint();
    }

    fn is_closed(&self) -> bool {
        self.is_closed.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl Engine {
    /// Moves into the window's GPU and begins to load `model`, a folder.
    ///
    /// # Errors
    /// The device's, where it has less than the engine needs.
    pub fn new(gpu: &RenderState, model: &Path, context: &egui::Context) -> Result<Self, Error> {
        let longest = match gpu.adapter.get_info().device_type {
            wgpu::DeviceType::Cpu => LONGEST_SUBMISSION_OF_SOFTWARE,
            _ => LONGEST_SUBMISSION,
        };
        let options = DeviceOptions { longest_submission: Some(longest), ..DeviceOptions::default() };
        let device = Device::from_wgpu(&gpu.adapter, gpu.device.clone(), gpu.queue.clone(), &options)?;
        let shared = Arc::new(Shared {
            wanted: Mutex::default(),
            model: Mutex::default(),
            changed: Condvar::new(),
            is_closed: false.into(),
            status: Mutex::default(),
            context: context.clone(),
        });
        let (loading, folder) = (Arc::clone(&shared), model.to_owned());
        std::thread::Builder::new().name("loads".to_owned()).spawn(move || {
            let begin = Instant::now();
            match load(&loading, &device, &folder) {
                Ok(model) => {
                    *lock(&loading.model) = Some(Arc::new(model));
                    loading.tell(|status| {
                        status.took[0] = Some(begin.elapsed());
                        status.phase = Phase::Idle;
                    });
                    // Held, so that the other thread does not miss it between looking and waiting.
                    let _wanted = lock(&loading.wanted);
                    loading.changed.notify_all();
                }
                Err(error) => loading.tell(|status| {
                    status.errors[0] = Some(error.to_string());
                    status.phase = Phase::Idle;
                }),
            }
        })?;
        let (working, gpu) = (Arc::clone(&shared), gpu.clone());
        std::thread::Builder::new()
            .name("finds".to_owned())
            .spawn(move || Finder::new(working, gpu).run())?;
        Ok(Self(shared))
    }

    /// Says what is to be shown from now on; what was wanted before is dropped.
    pub fn want(&self, wanted: Wanted) {
        *lock(&self.0.wanted) = Some(wanted);
        self.0.changed.notify_all();
    }

    pub fn status(&self) -> Status {
        lock(&self.0.status).clone()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Held, so that the thread that finds does not miss it between looking and waiting.
        let _wanted = lock(&self.0.wanted);
        self.0.is_closed.store(true, std::sync::atomic::Ordering::Relaxed);
        self.0.changed.notify_all();
    }
}

/// Loads the model, and tells how far it is. It stops where the window is gone.
fn load(shared: &Arc<Shared>, device: &Device, folder: &Path) -> Result<ClipSeg, Error> {
    let config = ClipSegConfig::from_file(folder.join("config.json"))?;
    let (processor, tokenizer) = (Processor::from_dir(folder)?, Tokenizer::from_dir(folder)?);
    let told = Arc::clone(shared);
    let checkpoint = Checkpoint::open(folder)?.with_progress(move |progress| {
        told.tell(|status| status.loaded = progress.share() as f32);
        if told.is_closed() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let model = ClipSegForImageSegmentation::load(device, &checkpoint, &config)?;
    Ok(ClipSeg::from_parts(model, processor, tokenizer)?)
}

/// What does the work, step by step: each is done again only where what it is made of has changed.
struct Finder {
    shared: Arc<Shared>,
    gpu: RenderState,
    photo: Option<Loaded>,
    encoded: Option<EncodedImage>,
    found: Option<(String, DeviceSegmentation)>,
}

/// A photo on the GPU.
struct Loaded {
    path: PathBuf,
    texture: wgpu::Texture,
    /// The photo with masks over it, larger where the photo is small: one that is shown, and one that is
    /// being drawn, so that no frame shows some of the masks alone.
    overlaid: [wgpu::Texture; 2],
}

impl Finder {
    fn new(shared: Arc<Shared>, gpu: RenderState) -> Self {
        Self { shared, gpu, photo: None, encoded: None, found: None }
    }

    /// Until the window is gone.
    fn run(mut self) {
        let mut shown: Option<(Wanted, bool)> = None;
        while let Some((wanted, model)) = self.next(&shown) {
            let outcome = self.show(&wanted, model.as_deref());
            let error = outcome.err().map(|error| error.to_string());
            // Whatever went wrong, it would again: nothing is tried before something else is wanted.
            shown = Some((wanted.clone(), model.is_some()));
            self.shared.tell(|status| {
                status.errors[1] = error;
                status.shown = Some(wanted);
                if model.is_some() {
                    status.phase = Phase::Idle;
                }
            });
        }
    }

    /// Waits until something else is wanted than `shown`, or can be done since the model is there.
    fn next(&self, shown: &Option<(Wanted, bool)>) -> Option<(Wanted, Option<Arc<ClipSeg>>)> {
        let mut wanted = lock(&self.shared.wanted);
        loop {
            if self.shared.is_closed() {
                return None;
            }
            let model = lock(&self.shared.model).clone();
            if let Some(wanted) = &*wanted
                && shown.as_ref() != Some(&(wanted.clone(), model.is_some()))
            {
                return Some((wanted.clone(), model));
            }
            wanted = self.shared.changed.wait(wanted).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn show(&mut self, wanted: &Wanted, model: Option<&ClipSeg>) -> Result<(), Error> {
        let begin = Instant::now();
        if self.photo.as_ref().is_none_or(|photo| photo.path != wanted.photo) {
            (self.photo, self.encoded, self.found) = (None, None, None);
            self.photo = Some(self.open(&wanted.photo)?);
        }
        let Some(photo) = &mut self.photo else { return Ok(()) };
        let plain = photo.texture.clone();
        let (Some(model), prompts) = (model, wanted.prompts()) else {
            self.shared.tell(|status| status.picture = Some(plain));
            return Ok(());
        };
        if self.encoded.is_none() {
            self.shared.tell(|status| {
                status.picture = Some(plain.clone());
                status.phase = Phase::Encoding;
            });
            let begin = Instant::now();
            self.encoded = Some(model.encode_texture(&photo.texture)?);
            self.shared.tell(|status| status.took[1] = Some(begin.elapsed()));
        }
        let Some(encoded) = &self.encoded else { return Ok(()) };
        if prompts.is_empty() {
            self.shared.tell(|status| status.picture = Some(plain));
            return Ok(());
        }
        self.shared.tell(|status| status.phase = Phase::Finding);
        if self.found.as_ref().is_none_or(|(words, _)| *words != wanted.words) {
            let condition = model.encode_text(&prompts)?;
            let found = model.decode_on_device(encoded, &condition)?;
            self.found = Some((wanted.words.clone(), found));
        }
        let Some((_, found)) = &self.found else { return Ok(()) };
        photo.overlaid.swap(0, 1);
        let [_, target] = &photo.overlaid;
        for (prompt, colour) in (0..prompts.len()).zip(OVERLAY_COLOURS) {
            let under = if prompt == 0 { &photo.texture } else { target };
            let values = MaskValues::Threshold(wanted.threshold);
            let overlay = Overlay { colour, opacity: wanted.opacity, values, outline: 2 };
            found.write_overlay(prompt, under, target, &overlay)?;
        }
        let target = target.clone();
        self.shared.tell(|status| {
            status.picture = Some(target);
            status.took[2] = Some(begin.elapsed());
        });
        Ok(())
    }

    /// Reads a photo and gives it to the GPU.
    fn open(&self, path: &Path) -> Result<Loaded, Error> {
        let photo = Photo::open(path, Orientation::Apply)?;
        let (width, height) = (photo.width() as u32, photo.height() as u32);
        let longer = width.max(height);
        let most = self.gpu.device.limits().max_texture_dimension_2d;
        if longer > most {
            let shown = path.display();
            return Err(format!("{shown}: {longer} pixels are more than the GPU's {most}").into());
        }
        // egui wants colours as they are stored, not made linear.
        let texture = |label, width, height| {
            self.gpu.device.create_texture(&wgpu::TextureDescriptor {
                label: Some(label),
                size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
                mip_level_count: 1,
                sample_count: 1,
                dimension: wgpu::TextureDimension::D2,
                format: wgpu::TextureFormat::Rgba8Unorm,
                usage: wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST,
                view_formats: &[],
            })
        };
        let factor = SHOWN_SIDE.div_ceil(longer).min(most / longer);
        let texture_of_photo = texture("photo", width, height);
        let overlaid = [0, 1].map(|_| texture("photo with masks", factor * width, factor * height));
        let (pixels, _) = photo.rgb().as_chunks::<3>();
        let rgba: Vec<u8> = pixels.iter().flat_map(|&[red, green, blue]| [red, green, blue, 255]).collect();
        self.gpu.queue.write_texture(
            texture_of_photo.as_image_copy(),
            &rgba,
            wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(4 * width), rows_per_image: None },
            texture_of_photo.size(),
        );
        Ok(Loaded { path: path.to_owned(), texture: texture_of_photo, overlaid })
    }
}
