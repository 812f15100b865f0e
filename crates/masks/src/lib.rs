//! `clipseg-masks`: how binary masks are made of probabilities, and what they are made into for other
//! programs.
//!
//! - [`ProbabilityMap`]: probabilities of several prompts, combined and subtracted; [`MaskOptions`] makes a
//!   mask of them, and says in which order everything is done.
//! - [`Mask::grown`], [`Mask::shrunk`], [`Mask::feathered`]: edges moved and softened by true distances.
//! - [`Mask::union`], [`Mask::intersection`], [`Mask::difference`], [`Mask::inverted`].
//! - [`Mask::components`]: connected components with area and bounding box; the small ones can be dropped.
//! - [`Mask::contours`]: polygons along the edges of the pixels, which enclose exactly the mask's pixels; and
//!   [simplified](Contour::simplified) ones, which do so about.
//! - [`RunLengths`]: COCO's run-length encoding, as pycocotools writes it.
//! - [`Mask::laid_over`]: a photo with the mask in colour.
//! - [`LabelMap`]: several masks in one picture of labels.
//!
//! ```
//! use clipseg_masks::{Connectivity, Mask, RunLengths};
//!
//! # fn main() -> Result<(), clipseg_masks::Error> {
//! let mask = Mask::new(3, 2, vec![true, true, false, true, true, true])?;
//! let contours = mask.contours(Connectivity::Eight);
//! assert_eq!(contours[0].outer.points, [[0, 0], [2, 0], [2, 1], [3, 1], [3, 2], [0, 2]]);
//! assert_eq!(RunLengths::of(&mask).counts(), [0, 4, 1, 1]);
//! # Ok(())
//! # }
//! ```
//!
//! It knows nothing of models and devices, and depends on nothing.

mod components;
mod contours;
mod distance;
mod error;
mod label_map;
mod mask;
mod mask_options;
mod overlay;
mod probability_map;
mod run_lengths;
mod set_operations;
mod simplify;

pub use components::{Component, Components, Connectivity};
pub use contours::{Contour, Ring};
pub use error::Error;
pub use label_map::LabelMap;
pub use mask::{BoundingBox, Mask};
pub use mask_options::MaskOptions;
pub use overlay::OVERLAY_COLOURS;
pub use probability_map::{Combination, ProbabilityMap};
pub use run_lengths::RunLengths;
