//! Reading a reference: tensors `in.…` and `out.…`, and the task in its metadata.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clipseg::{Array, ImageInput, Photo, TextInput};
use safetensors::{Dtype, SafeTensors};

/// Inputs and expected outputs of one call of a transformers model.
pub struct Reference {
    pub path: PathBuf,
    pub task: String,
    /// The transformers that computed it, where the file says so.
    pub transformers: Option<String>,
    /// The largest relative difference allowed, where the file allows more than the others.
    pub tolerance: Option<f64>,
    pub inputs: BTreeMap<String, Input>,
    pub outputs: BTreeMap<String, Array>,
}

/// An input tensor.
pub enum Input {
    Floats(Array),
    Integers { shape: Vec<usize>, values: Vec<u32> },
    Bytes { shape: Vec<usize>, values: Vec<u8> },
}

impl Reference {
    /// Reads `path`.
    pub fn read(path: &Path) -> Result<Self> {
        Self::parse(path).with_context(|| format!("{} is not a reference file", path.display()))
    }

    fn parse(path: &Path) -> Result<Self> {
        let bytes = fs::read(path)?;
        let (_, header) = SafeTensors::read_metadata(&bytes)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        let task = metadata.get("task").context("its metadata has no `task`")?.clone();
        let tolerance = metadata.get("tolerance").map(|text| text.parse()).transpose();
        let mut reference = Self {
            path: path.to_owned(),
            task,
            transformers: metadata.get("transformers").cloned(),
            tolerance: tolerance.context("its metadata's `tolerance` is not a number")?,
            inputs: BTreeMap::new(),
            outputs: BTreeMap::new(),
        };
        for (name, view) in SafeTensors::deserialize(&bytes)?.tensors() {
            let shape = view.shape().to_vec();
            let tensor = match view.dtype() {
                Dtype::F32 => {
                    let values = view.data().chunks_exact(4).map(bytemuck::pod_read_unaligned).collect();
                    Input::Floats(Array { shape, values })
                }
                Dtype::I64 => {
                    let integers = view.data().chunks_exact(8).map(bytemuck::pod_read_unaligned::<i64>);
                    let values = integers
                        .map(|value| u32::try_from(value).with_context(|| format!("{name} holds {value}")))
                        .collect::<Result<_>>()?;
                    Input::Integers { shape, values }
                }
                Dtype::U8 => Input::Bytes { shape, values: view.data().to_vec() },
                other => bail!("{name} is {other:?}; expected F32, I64 or U8"),
            };
            match (name.split_once('.'), tensor) {
                (Some(("in", name)), tensor) => {
                    reference.inputs.insert(name.to_owned(), tensor);
                }
                (Some(("out", name)), Input::Floats(array)) => {
                    reference.outputs.insert(name.to_owned(), array);
                }
                _ => bail!("{name} is neither an input `in.…` nor an output `out.…` of floats"),
            }
        }
        ensure!(!reference.outputs.is_empty(), "it holds no `out.…` tensor, so there is nothing to compare");
        Ok(reference)
    }

    /// Whether an output's name contains `part`.
    pub fn wants(&self, part: &str) -> bool {
        self.outputs.keys().any(|name| name.contains(part))
    }

    /// The floats `name`, if they are there.
    pub fn floats(&self, name: &str) -> Result<Option<&Array>> {
        match self.inputs.get(name) {
            None => Ok(None),
            Some(Input::Floats(array)) => Ok(Some(array)),
            Some(_) => bail!("in.{name} holds integers; expected floats"),
        }
    }

    fn integers(&self, name: &str) -> Result<Option<(&[usize], &[u32])>> {
        match self.inputs.get(name) {
            None => Ok(None),
            Some(Input::Integers { shape, values }) => Ok(Some((shape, values))),
            Some(_) => bail!("in.{name} is not I64; expected ids or a mask"),
        }
    }

    /// The photo `name`, `[height, width, 3]`, if it is there.
    pub fn photo(&self, name: &str) -> Result<Option<Photo>> {
        match self.inputs.get(name) {
            None => Ok(None),
            Some(Input::Bytes { shape, values }) => {
                let &[height, width, 3] = shape.as_slice() else {
                    bail!("in.{name} is {shape:?}; expected [height, width, 3]")
                };
                Ok(Some(Photo::from_rgb(width, height, values.clone())?))
            }
            Some(_) => bail!("in.{name} is not U8; expected the bytes of a photo"),
        }
    }

    /// The text inputs, if there are ids.
    pub fn text(&self) -> Result<Option<TextInput<'_>>> {
        let Some((shape, input_ids)) = self.integers("input_ids")? else { return Ok(None) };
        let &[_, length] = shape else { bail!("in.input_ids is {shape:?}; expected [batch, length]") };
        let same = |name: &str| -> Result<Option<&[u32]>> {
            match self.integers(name)? {
                Some((other, values)) if other == shape => Ok(Some(values)),
                Some((other, _)) => bail!("in.{name} is {other:?}; expected {shape:?} as in.input_ids"),
                None => Ok(None),
            }
        };
        let attention_mask = same("attention_mask")?;
        Ok(Some(TextInput { input_ids, length, attention_mask, position_ids: same("position_ids")? }))
    }

    /// The images `name`, if they are there.
    pub fn images(&self, name: &str) -> Result<Option<ImageInput<'_>>> {
        let Some(array) = self.floats(name)? else { return Ok(None) };
        let &[batch, _, height, width] = array.shape.as_slice() else {
            bail!("in.{name} is {:?}; expected [batch, channels, height, width]", array.shape)
        };
        Ok(Some(ImageInput { pixel_values: &array.values, batch, height, width }))
    }
}
