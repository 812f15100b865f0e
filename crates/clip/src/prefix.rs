//! CLIP's towers in a checkpoint: the prefixes of their tensors' names.

use clipseg_files::merge_adapter;

use crate::checkpoint::names;
use crate::{Checkpoint, Error, Result};

/// One of CLIP's two towers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tower {
    Text,
    Vision,
}

impl Tower {
    const ALL: [Self; 2] = [Self::Text, Self::Vision];

    /// The prefix of its tensors' names within a CLIP.
    fn within(self, prefix: &str) -> String {
        match self {
            Self::Text => format!("{prefix}text_model."),
            Self::Vision => format!("{prefix}vision_model."),
        }
    }

    /// A tensor that only this tower has, by its name in the checkpoint of a single tower.
    fn marker(self) -> &'static str {
        match self {
            Self::Text => "embeddings.token_embedding.weight",
            Self::Vision => "embeddings.class_embedding",
        }
    }
}

impl Checkpoint {
    /// The prefix of the names of CLIP's tensors: `clip.` in the checkpoint of a segmentation model, nothing
    /// in that of a `CLIPSegModel` or of a single tower.
    ///
    /// # Errors
    /// Where neither tower has a tensor under either prefix.
    pub fn clip_prefix(&self) -> Result<&'static str> {
        let has_tower =
            |prefix: &str| Tower::ALL.iter().any(|tower| self.contains_prefix(&tower.within(prefix)));
        if has_tower("clip.") {
            Ok("clip.")
        } else if has_tower("") || Tower::ALL.iter().any(|tower| self.contains(tower.marker())) {
            Ok("")
        } else if let Some(name) = self.names().find(|name| names::is_of_adapter(name)) {
            Err(Error::checkpoint(self.path(), merge_adapter(name)))
        } else if let Some(wrapper) = self.names().find_map(|name| names::unwrapped(name).1.first().copied())
        {
            Err(Error::checkpoint(
                self.path(),
                format!(
                    "was saved with a wrapper for training around the model: its tensors have `{wrapper}.` in their \
                     names. `clipseg convert` takes it off; or save the model inside it \
                     (`accelerator.unwrap_model`, or `model.{wrapper}`) with save_pretrained"
                ),
            ))
        } else {
            let sample: Vec<_> = self.names().take(3).collect();
            Err(Error::checkpoint(
                self.path(),
                format!(
                    "holds no CLIP: no tensor starts with clip.text_model., clip.vision_model., text_model. or \
                     vision_model., and there is neither {} nor {} (the first of its {} tensors: {sample:?})",
                    Tower::Text.marker(),
                    Tower::Vision.marker(),
                    self.names().count()
                ),
            ))
        }
    }

    /// The prefix of the names of one tower's tensors, in a CLIP with the prefix `prefix`. It is empty for a
    /// single tower that transformers 5.6 or later saved.
    pub(crate) fn tower_prefix(&self, prefix: &str, tower: Tower) -> String {
        let within = tower.within(prefix);
        match prefix.is_empty() && !self.contains_prefix(&within) && self.contains(tower.marker()) {
            true => String::new(),
            false => within,
        }
    }
}
