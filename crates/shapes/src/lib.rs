//! `clipseg-shapes`: scenes of coloured shapes with exact masks, and the prompts that ask for them.
//!
//! It serves to train the small model of this repository and to score models. Every scene is a function of
//! (seed, index) in integer arithmetic, and for training `tools/training/shapes.py` draws the same pixels,
//! masks and phrases.
//!
//! ```
//! use clipseg_shapes::{Prompt, Scene};
//!
//! let scene = Scene::new(7, 0);
//! for query in scene.queries(7, 0) {
//!     let shown = scene.mask(&query.members).iter().filter(|&&pixel| pixel != 0).count();
//!     match query.prompt {
//!         Prompt::Text(text) => println!("{text:?} is on {shown} pixels"),
//!         Prompt::Image(other) => println!("the first of {} objects is on {shown} pixels", other.objects.len()),
//!     }
//! }
//! ```

mod draws;
mod object;
mod query;
mod scene;

pub use object::{COLOURS, FILLS, HELD_OUT, Object, SHAPES, SIZES};
pub use query::{Attributes, Prompt, Query};
pub use scene::{SIZE, Scene};
