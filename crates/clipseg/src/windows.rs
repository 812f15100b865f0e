use std::borrow::{Borrow, Cow};

use clipseg_clip::MAX_PIXELS;
use clipseg_tensor::Array;

use crate::{
    ClipSeg, Condition, EncodedImage, Error, ImageSize, Photo, PixelValues, PreprocessorConfig, Processor,
    Result, Segmentation,
};

/// How the model looks at a photo that is much larger than its picture: through windows that slide over the
/// photo, which is resized to some windows' length.
///
/// At scale 2, for example, the photo's shorter side is two windows long. Windows overlap, and their logits
/// are blended there so that no seam shows. At scale 1 the model sees the whole photo at once, pressed into a
/// square, as without windows. The logits of all scales are averaged at the size of the largest: small scales
/// recognise objects, large ones find their edges.
#[derive(Clone, Debug, PartialEq)]
pub struct Windows {
    /// The scales, 1 or larger.
    pub scales: Vec<f32>,
    /// The least share of a window's side that the next window covers too, 0..=0.75.
    pub overlap: f32,
}

impl Default for Windows {
    /// The whole photo at once.
    fn default() -> Self {
        Self { scales: vec![1.0], overlap: 0.25 }
    }
}

/// A photo cut into windows, ready to be encoded. It holds the resized photo, 3 bytes per pixel and scale.
pub struct WindowPixels {
    levels: Vec<(Grid, View)>,
    overlap: f32,
    processor: Processor,
}

/// What the windows of a scale show.
enum View {
    /// The only window, preprocessed.
    Whole(PixelValues),
    /// The resized photo, from which windows are cut when they are encoded.
    Enlarged(Photo),
}

/// What [`ClipSeg::segment_windows`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WindowStep {
    /// Another window is encoded.
    Encoded,
    /// Another window is decoded, and so finished.
    Decoded,
}

impl WindowPixels {
    /// The number of windows, each of which costs as much as a photo.
    #[must_use]
    pub fn count(&self) -> usize {
        self.levels.iter().map(|(grid, _)| grid.starts.len()).sum()
    }

    /// The pixels of window number `index` of a level.
    fn window<'a>(&self, grid: &Grid, view: &'a View, index: usize) -> Cow<'a, PixelValues> {
        match view {
            View::Whole(pixels) => Cow::Borrowed(pixels),
            View::Enlarged(photo) => {
                let ([left, top], [columns, rows]) = (grid.starts[index], grid.side);
                Cow::Owned(self.processor.normalise(&photo.cropped(left..left + columns, top..top + rows)))
            }
        }
    }
}

/// A photo encoded in windows, against which any number of prompts can be decoded. Each window takes as much
/// memory as an [`EncodedImage`].
pub struct EncodedWindows {
    levels: Vec<(Grid, Vec<EncodedImage>)>,
    overlap: f32,
}

/// Where the windows of a scale lie. Sizes and places are `[columns, rows]`.
#[derive(Clone)]
struct Grid {
    /// The size of the resized photo.
    size: [usize; 2],
    /// The size of a window.
    side: [usize; 2],
    /// The upper left corners of the windows.
    starts: Vec<[usize; 2]>,
}

impl Windows {
    /// Cuts a photo into the windows of all scales.
    ///
    /// # Errors
    /// As [`validate`](Self::validate); [`Error::Input`] for a resized photo of more pixels than a photo may
    /// have, or, beyond scale 1, a processor that does not resize to one size.
    pub fn cut(&self, photo: &Photo, processor: &Processor) -> Result<WindowPixels> {
        self.validate()?;
        let levels = self.scales.iter().map(|&scale| {
            let grid = Grid::of(photo, processor.config(), scale, self.overlap)?;
            let view = grid.view(photo, processor);
            Ok((grid, view))
        });
        let levels = levels.collect::<Result<_>>()?;
        Ok(WindowPixels { levels, overlap: self.overlap, processor: processor.clone() })
    }

    /// Checks the values.
    ///
    /// # Errors
    /// [`Error::Input`] for no scale, scales outside 1..=64, or an overlap outside 0..=0.75.
    pub fn validate(&self) -> Result<()> {
        let Self { scales, overlap } = self;
        if scales.is_empty() {
            return Err(Error::Input("windows need at least one scale".to_owned()));
        }
        if let Some(scale) = scales.iter().find(|scale| !(1.0..=64.0).contains(*scale)) {
            return Err(Error::Input(format!("scales lie in 1..=64, not at {scale}")));
        }
        if !(0.0..=0.75).contains(overlap) {
            return Err(Error::Input(format!("windows overlap by 0..=0.75 of their side, not by {overlap}")));
        }
        Ok(())
    }
}

impl ClipSeg {
    /// Segments a photo window by window, and calls `progress` after each step. The device holds the image of
    /// a single window at a time, whereas [`encode_windows`](Self::encode_windows) keeps all of them for more
    /// prompts.
    ///
    /// # Errors
    /// As [`encode_pixels`](Self::encode_pixels) and [`decode`](Self::decode).
    pub fn segment_windows(
        &self,
        pixels: &WindowPixels,
        condition: &Condition,
        mut progress: impl FnMut(WindowStep),
    ) -> Result<Segmentation> {
        let mut levels = Vec::with_capacity(pixels.levels.len());
        for (grid, view) in &pixels.levels {
            let encode = |index| {
                let image = self.encode_pixels(&pixels.window(grid, view, index))?;
                self.wait()?;
                Ok(image)
            };
            levels.push(self.segment_level(grid, pixels.overlap, condition, encode, &mut progress)?);
        }
        self.mean(levels)
    }

    /// Encodes a photo window by window, once for all prompts, and calls `progress` with the number of
    /// windows that the device has done.
    ///
    /// # Errors
    /// As [`encode_pixels`](Self::encode_pixels); with a memory budget that does not hold all windows,
    /// [`OverBudget`](crate::DeviceError::OverBudget), where [`segment_windows`](Self::segment_windows) needs
    /// room for one.
    pub fn encode_windows(
        &self,
        pixels: &WindowPixels,
        mut progress: impl FnMut(usize),
    ) -> Result<EncodedWindows> {
        let mut done = 0;
        let mut levels = Vec::with_capacity(pixels.levels.len());
        for (grid, view) in &pixels.levels {
            let encode = |index| {
                let image = self.encode_pixels(&pixels.window(grid, view, index))?;
                self.wait()?;
                done += 1;
                progress(done);
                Ok(image)
            };
            levels.push((grid.clone(), (0..grid.starts.len()).map(encode).collect::<Result<_>>()?));
        }
        Ok(EncodedWindows { levels, overlap: pixels.overlap })
    }

    /// Decodes conditions against all windows: logits at the size of the largest scale, in the photo's
    /// proportions (at scale 1 alone, exactly [`decode`](Self::decode)'s).
    ///
    /// # Errors
    /// As [`decode`](Self::decode).
    pub fn decode_windows(&self, windows: &EncodedWindows, condition: &Condition) -> Result<Segmentation> {
        let mut levels = Vec::with_capacity(windows.levels.len());
        for (grid, of_grid) in &windows.levels {
            let image = |index: usize| Ok(&of_grid[index]);
            levels.push(self.segment_level(grid, windows.overlap, condition, image, &mut |_| ())?);
        }
        self.mean(levels)
    }

    /// Decodes the windows of a scale and blends their logits; `image` gives the encoded image of each
    /// window.
    fn segment_level<S: Borrow<EncodedImage>>(
        &self,
        grid: &Grid,
        overlap: f32,
        condition: &Condition,
        mut image: impl FnMut(usize) -> Result<S>,
        progress: &mut impl FnMut(WindowStep),
    ) -> Result<Segmentation> {
        let Grid { size, side: [columns, rows], starts } = grid;
        let mut decode = |index| {
            let image = image(index)?;
            progress(WindowStep::Encoded);
            let segmentation = self.decode(image.borrow(), condition)?;
            progress(WindowStep::Decoded);
            Ok(segmentation)
        };
        if let [_] = starts[..] {
            return decode(0);
        }
        let mut blend = Blend::new(condition.len(), size[0], size[1], overlap);
        for (index, start) in starts.iter().enumerate() {
            let mut segmentation = decode(index)?;
            // Logits end with the last whole patch.
            if (segmentation.width(), segmentation.height()) != (*columns, *rows) {
                segmentation = segmentation.resized(*columns, *rows)?;
            }
            blend.add(*start, segmentation.logits());
        }
        self.segmentation(blend.finish())
    }

    /// The mean of the logits of all scales, at the largest one's size.
    fn mean(&self, mut levels: Vec<Segmentation>) -> Result<Segmentation> {
        // There are levels, as `Windows::cut` refuses to make none.
        let largest = levels.iter().max_by_key(|level| level.width() * level.height());
        let Some((width, height)) = largest.map(|level| (level.width(), level.height())) else {
            return Err(Error::Input("there are no windows".to_owned()));
        };
        if let [_] = levels[..] {
            return Ok(levels.remove(0));
        }
        let share = 1.0 / levels.len() as f32;
        let prompts = levels[0].len();
        let mut mean = Array { shape: vec![prompts, height, width], values: Vec::new() };
        mean.values.resize(prompts * height * width, 0.0);
        for level in levels {
            let level = level.resized(width, height)?;
            mean.values
                .iter_mut()
                .zip(&level.logits().values)
                .for_each(|(mean, logit)| *mean += share * logit);
        }
        self.segmentation(mean)
    }
}

impl Grid {
    fn of(photo: &Photo, config: &PreprocessorConfig, scale: f32, overlap: f32) -> Result<Self> {
        let photo = [photo.width(), photo.height()];
        match config.size {
            ImageSize::Sides { height, width } if config.do_resize => {
                Self::new(photo, [width, height], scale, overlap)
            }
            _ if scale == 1.0 => Self::new(photo, photo, scale, overlap),
            _ => Err(Error::Input(
                "windows need a processor with do_resize and a size of height and width".to_owned(),
            )),
        }
    }

    /// The windows of a photo that is resized in its own proportions so that its shorter side is `scale`
    /// windows long; at scale 1 the whole photo is the only window.
    fn new(photo: [usize; 2], side: [usize; 2], scale: f32, overlap: f32) -> Result<Self> {
        if scale == 1.0 {
            return Ok(Self { size: side, side, starts: vec![[0, 0]] });
        }
        let scale = f64::from(scale);
        let longer = [photo[0] as f64 / photo[1] as f64, photo[1] as f64 / photo[0] as f64];
        let size = [0, 1].map(|axis| (scale * side[axis] as f64 * longer[axis].max(1.0)).round());
        if size[0] * size[1] > MAX_PIXELS as f64 {
            let [width, height] = size;
            return Err(Error::Input(format!(
                "at scale {scale} the photo would have {width} × {height} pixels, more than {MAX_PIXELS}"
            )));
        }
        let size = [0, 1].map(|axis| (size[axis] as usize).max(side[axis]));
        let across = starts(size[0], side[0], overlap);
        let row = |top| across.clone().map(move |left| [left, top]);
        Ok(Self { size, side, starts: starts(size[1], side[1], overlap).flat_map(row).collect() })
    }

    fn view(&self, photo: &Photo, processor: &Processor) -> View {
        match self.starts[..] {
            [_] => View::Whole(processor.preprocess(photo)),
            _ => View::Enlarged(photo.resized(self.size[0], self.size[1], processor.config().resample)),
        }
    }
}

/// Where windows start along a side: as few windows as overlap by the share `overlap` or more, spread evenly
/// from end to end.
fn starts(length: usize, window: usize, overlap: f32) -> impl Iterator<Item = usize> + Clone {
    let free = length - window;
    let stride = (window as f32 * (1.0 - overlap)).max(1.0);
    let steps = (free as f32 / stride).ceil() as usize;
    (0..=steps).map(move |step| (step * free + steps / 2) / steps.max(1))
}

/// Blends the logits of windows. The weight of a window falls towards its borders, so that one fades into the
/// next.
struct Blend {
    overlap: f32,
    logits: Array,
    weights: Vec<f32>,
}

impl Blend {
    fn new(prompts: usize, width: usize, height: usize, overlap: f32) -> Self {
        let values = vec![0.0; prompts * height * width];
        Self {
            overlap,
            logits: Array { shape: vec![prompts, height, width], values },
            weights: vec![0.0; height * width],
        }
    }

    /// Adds the logits `[prompts, rows, columns]` of the window that starts at `left` and `top`.
    fn add(&mut self, [left, top]: [usize; 2], window: &Array) {
        let &[prompts, rows, columns] = &window.shape[..] else { return };
        let &[_, height, width] = &self.logits.shape[..] else { return };
        let (down, across) = (ramps(rows, self.overlap), ramps(columns, self.overlap));
        for (row, down) in down.iter().enumerate() {
            let start = (top + row) * width + left;
            let add = |sums: &mut [f32], values: Option<&[f32]>| {
                for (column, (sum, across)) in sums.iter_mut().zip(&across).enumerate() {
                    *sum += down * across * values.map_or(1.0, |values| values[column]);
                }
            };
            add(&mut self.weights[start..start + columns], None);
            for prompt in 0..prompts {
                let sums = &mut self.logits.values[prompt * height * width + start..][..columns];
                add(sums, Some(&window.values[(prompt * rows + row) * columns..][..columns]));
            }
        }
    }

    fn finish(mut self) -> Array {
        for map in self.logits.values.chunks_exact_mut(self.weights.len()) {
            map.iter_mut().zip(&self.weights).for_each(|(sum, weight)| *sum /= weight);
        }
        self.logits
    }
}

/// The weights of the pixels along a window's side: 1, but falling towards either end, over the length by
/// which windows overlap.
fn ramps(length: usize, overlap: f32) -> Vec<f32> {
    let ramp = (length as f32 * overlap).max(1.0);
    let distance = |index: usize| index.min(length - 1 - index) as f32;
    (0..length).map(|index| ((distance(index) + 0.5) / ramp).min(1.0)).collect()
}

#[cfg(test)]
mod tests;
