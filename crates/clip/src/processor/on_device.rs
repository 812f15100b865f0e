//! The steps of a processor for a device that has the photo in a texture.

use clipseg_tensor::{PhotoResizing, ResizeAxis};

use super::filter::{PRECISION_BITS, Window, windows};
use super::resize::{down_first, nearest_positions};
use super::{ImageSize, Processor, Resample};

impl Processor {
    /// The steps of [`preprocess`](Self::preprocess) for photos of one size, as input for
    /// [`PhotoResize`](clipseg_tensor::PhotoResize). The device computes with the same integers in the same
    /// order, so the values are the same too.
    pub fn photo_resizing(&self, width: usize, height: usize) -> PhotoResizing {
        let from = (width, height);
        let to = match self.config.size {
            ImageSize::Sides { height, width } if self.config.do_resize => (width, height),
            ImageSize::Sides { .. } | ImageSize::Edges { .. } => from,
        };
        let axis = |source: usize, target: usize| match self.config.resample {
            _ if source == target => of_single_pixels((0..source).collect()),
            Resample::Nearest => of_single_pixels(nearest_positions(source, target)),
            resample => of_windows(&windows(source, target, resample)),
        };
        PhotoResizing {
            size: (height, width),
            across: axis(from.0, to.0),
            down: axis(from.1, to.1),
            down_first: down_first(from, to),
            table: (0..3).flat_map(|channel| self.config.value_of_byte(channel)).collect(),
        }
    }
}

/// An axis whose target pixels are each a copy of one source pixel.
fn of_single_pixels(positions: Vec<usize>) -> ResizeAxis {
    let weights = vec![1 << PRECISION_BITS; positions.len()];
    ResizeAxis { starts: positions.into_iter().map(|position| position as u32).collect(), weights }
}

fn of_windows(windows: &[Window]) -> ResizeAxis {
    let taps = windows.iter().map(|window| window.weights.len()).max().unwrap_or(0);
    let mut weights = Vec::with_capacity(taps * windows.len());
    for window in windows {
        weights.extend(&window.weights);
        weights.extend(std::iter::repeat_n(0, taps - window.weights.len()));
    }
    ResizeAxis { starts: windows.iter().map(|window| window.start as u32).collect(), weights }
}
