//! Converts checkpoints of the original repositories: timojl/clipseg's decoder, joined with OpenAI's CLIP.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::archive::Archive;
use crate::config::{self, Shapes};
use crate::error::{Error, Result};
use crate::layout::{self, Origin, Wanted};
use crate::plan::{Part, Plan};

/// Prefix of CLIP's tensors in the original model's own state dict.
const CLIP: &str = "clip_model.";
/// Prefix of a second copy of CLIP's vision tower: `model` is `clip_model.visual`.
const VISION_AGAIN: &str = "model.";
/// Buffers of OpenAI's archives that are not weights.
const SIZES: [&str; 3] = ["input_resolution", "context_length", "vocab_size"];

/// Starts of the names of tensors that change what an original decoder computes, and for which transformers'
/// CLIPSeg has no place, with the argument of `CLIPDensePredT` that makes them (timojl/clipseg,
/// `models/clipseg.py`). The published decoders have none of them: transformers' conversion script accepts no
/// tensor beyond its own but `reduce.weight` and `reduce.bias`, which nothing reads.
const BEYOND: [(&str, &str); 4] = [
    ("extra_blocks.", "extra_blocks"),
    ("upsample_proj.", "upsample"),
    ("reduce_cond.", "reduce_cond"),
    ("shift_vector", "fix_shift"),
];

/// Whether the file comes from the original repository.
pub(crate) fn is_original(archive: &Archive) -> bool {
    archive.tensors().contains_key("film_mul.weight")
}

/// Whether the file holds OpenAI's CLIP, perhaps with a decoder.
pub(crate) fn holds_clip(archive: &Archive) -> bool {
    ["", CLIP].iter().any(|prefix| archive.tensors().contains_key(&format!("{prefix}logit_scale")))
        && archive.tensors().keys().any(|name| name.contains("transformer.resblocks."))
}

/// Plans the conversion of a decoder and its CLIP, which is in `clip` or else in the same file.
pub(crate) fn plan<'a>(
    source: &'a Archive,
    clip: Option<&'a Archive>,
    given: Option<&Path>,
) -> Result<Plan<'a>> {
    let mut parts = Parts::default();
    let inside = source.tensors().keys().any(|name| name.starts_with(CLIP));
    match clip {
        None if !inside => {
            return Err(Error::file(
                source.path(),
                "holds the decoder alone; give the CLIP that belongs to it by --clip: ViT-B-16.pt, which \
                 github.com/openai/CLIP links to in clip/clip.py",
            ));
        }
        Some(clip) if inside => {
            return Err(Error::file(
                source.path(),
                format!("holds a CLIP of its own (`{CLIP}…`); leave out --clip {}", clip.path().display()),
            ));
        }
        Some(clip) => parts.add_clip(clip)?,
        None => {}
    }
    refuse_beyond(source)?;
    parts.add_decoder(source);

    let shapes: Shapes<'_> =
        parts.0.iter().map(|(name, part)| (name.as_str(), part.tensor.shape())).collect();
    let (config, assumed) = config::derive(&shapes, given)?;
    let clip_path = clip.unwrap_or(source).path();
    let mut used = BTreeSet::new();
    let mut planned = Vec::new();
    for (wanted, prefix, path) in layout::clip(&config)
        .into_iter()
        .map(|wanted| (wanted, "clip.", clip_path))
        .chain(layout::decoder(&config).into_iter().map(|wanted| (wanted, "", source.path())))
    {
        let part = parts.take(&wanted, path)?;
        planned.push((format!("{prefix}{}", wanted.name), part));
        used.insert(wanted.original);
    }
    let left_out = parts.0.into_keys().filter(|name| !used.contains(name)).collect();
    Ok(Plan { parts: planned, left_out, assumed, config })
}

/// Refuses a decoder that would compute something else without some of its tensors.
fn refuse_beyond(decoder: &Archive) -> Result<()> {
    let argument = |name: &str| BEYOND.into_iter().find(|(start, _)| name.starts_with(start));
    let found = decoder.tensors().keys().find_map(|name| Some((name, argument(name)?.1)));
    found.map_or(Ok(()), |(name, argument)| {
        let message = format!(
            "belongs to a decoder that transformers' CLIPSeg cannot compute, as CLIPDensePredT makes with {argument}; \
             without it the masks would be wrong: convert a decoder that was trained without {argument}"
        );
        Err(Error::tensor(decoder.path(), name, message))
    })
}

/// The original tensors, by their names without prefix.
#[derive(Default)]
struct Parts<'a>(BTreeMap<String, Part<'a>>);

impl<'a> Parts<'a> {
    fn add_clip(&mut self, archive: &'a Archive) -> Result<()> {
        if !holds_clip(archive) {
            return Err(Error::file(
                archive.path(),
                "is not a CLIP of OpenAI with a vision transformer: it has no `transformer.resblocks`, or no \
                 `logit_scale`; ViT-B-16.pt is what the published decoders belong to",
            ));
        }
        for (name, tensor) in archive.tensors() {
            let short = name.strip_prefix(CLIP).unwrap_or(name);
            if !SIZES.contains(&short) {
                self.0.insert(short.to_owned(), Part::new(archive, name, tensor.clone()));
            }
        }
        Ok(())
    }

    fn add_decoder(&mut self, archive: &'a Archive) {
        for (name, tensor) in archive.tensors() {
            let short = name.strip_prefix(CLIP).unwrap_or(name);
            if !name.starts_with(VISION_AGAIN) && !SIZES.contains(&short) {
                self.0.insert(short.to_owned(), Part::new(archive, name, tensor.clone()));
            }
        }
    }

    /// The part of an original tensor that a tensor of transformers is made from; `path` is the file that
    /// should have it.
    fn take(&self, wanted: &Wanted, path: &Path) -> Result<Part<'a>> {
        let Some(part) = self.0.get(&wanted.original) else {
            let message = format!(
                "is missing, of which {} of shape {:?} is made; the file is incomplete, or of another model",
                wanted.name, wanted.shape
            );
            return Err(Error::tensor(path, &wanted.original, message));
        };
        part.check_weight()?;
        let found = part.tensor.shape().to_vec();
        let misshapen = || {
            let is = match wanted.origin {
                Origin::Same => "as it is",
                Origin::Transposed => "transposed",
                Origin::Third(_) => "a third of its rows",
            };
            let message = format!(
                "has shape {found:?}, which does not give ({is}) the {:?} that {} must have; do the decoder and the CLIP \
                 belong together? The published decoders need ViT-B-16.pt",
                wanted.shape, wanted.name
            );
            Error::tensor(part.archive.path(), &part.name, message)
        };
        let tensor = part.tensor.clone();
        let tensor = match wanted.origin {
            Origin::Same => tensor,
            Origin::Transposed => tensor.transposed(),
            Origin::Third(third) => {
                let rows = wanted.shape[0];
                if found.first() != Some(&(3 * rows)) {
                    return Err(misshapen());
                }
                tensor.rows(third * rows..(third + 1) * rows).ok_or_else(misshapen)?
            }
        };
        if tensor.shape() != wanted.shape {
            return Err(misshapen());
        }
        Ok(Part { tensor, ..part.clone() })
    }
}
