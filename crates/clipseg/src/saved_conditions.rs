use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use clipseg_tensor::Array;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::saved_image::of_at_most;
use crate::{ClipSegForImageSegmentation, Condition, Error, Result};

/// The only entry of the file's metadata: the order of several entries would differ from run to run.
const METADATA: &str = "clipseg-conditions";
const VERSION: u32 = 1;
/// The name of the only tensor, as transformers calls it.
const TENSOR: &str = "conditional_embeddings";
/// The largest file: more than a hundred thousand prompts of the published size.
const MOST_BYTES: u64 = 1 << 28;

/// Conditions with their names, to be kept as a file and used without the text tower.
///
/// The file is safetensors: the tensor `conditional_embeddings`, f32 `[prompts, projection_dim]`, and in the
/// metadata under `clipseg-conditions` a JSON object of `version` (1), `model` (its
/// [fingerprint](ClipSegForImageSegmentation::fingerprint)), `prompts` (a list of texts), `classes` (a list
/// of a text or null for each prompt) and, if it is known, `cut` (for each prompt, whether it was longer than
/// the model reads).
#[derive(Clone, Debug)]
pub struct SavedConditions {
    /// Where they came from, for messages.
    path: PathBuf,
    header: Header,
    condition: Condition,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Header {
    version: u32,
    model: String,
    prompts: Vec<String>,
    classes: Vec<Option<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cut: Option<Vec<bool>>,
}

/// The part of the header that all versions have.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// By contents, wherever they came from.
impl PartialEq for SavedConditions {
    fn eq(&self, other: &Self) -> bool {
        self.header == other.header && self.condition == other.condition
    }
}

impl SavedConditions {
    /// Conditions that `model` made. For each, `prompts` has its name, and `classes` the class that it stands
    /// for, if it was given one.
    ///
    /// # Errors
    /// [`Error::Input`] when there are no conditions, or not as many names and classes as conditions; when
    /// they are of another width than the model's `projection_dim`; when a number is not finite; or when a
    /// name is empty or has a control character in it.
    pub fn new(
        model: &ClipSegForImageSegmentation,
        condition: Condition,
        prompts: Vec<String>,
        classes: Vec<Option<String>>,
    ) -> Result<Self> {
        condition.check(model.config().projection_dim)?;
        let model = model.fingerprint().to_owned();
        let header = Header { version: VERSION, model, prompts, classes, cut: None };
        let saved = Self { path: "the conditions".into(), header, condition };
        saved.check().map_err(|message| Error::Input(format!("conditions to be kept: {message}")))?;
        Ok(saved)
    }

    /// Reads a file. [`for_model`](Self::for_model) then checks that it is for the model in use.
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::Conditions`] for a file that is not of this format, was cut or is of a later
    /// version, and for what [`new`](Self::new) refuses.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = read(path)?;
        Self::from_bytes(path, &bytes).map_err(|message| Error::Conditions { path: path.to_owned(), message })
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// [`Error::Input`] when they cannot be written as safetensors, or are more than such a file holds.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let Array { shape, values } = &self.condition.embeddings;
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let refused = |error: &dyn std::fmt::Display| Error::Input(format!("conditions to be kept: {error}"));
        let header = serde_json::to_string(&self.header).map_err(|error| refused(&error))?;
        let metadata = HashMap::from([(METADATA.to_owned(), header)]);
        let view = TensorView::new(Dtype::F32, shape.clone(), &bytes).map_err(|error| refused(&error))?;
        let file =
            safetensors::serialize([(TENSOR, view)], Some(metadata)).map_err(|error| refused(&error))?;
        of_at_most(MOST_BYTES, file).map_err(|message| refused(&message))
    }

    /// Writes the file.
    ///
    /// # Errors
    /// [`Error::Write`]; [`Error::Input`] for more than such a file holds, 256 MiB.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        fs::write(path, self.to_bytes()?).map_err(|source| Error::Write { path: path.to_owned(), source })
    }

    /// The name of each prompt.
    #[must_use]
    pub fn prompts(&self) -> &[String] {
        &self.header.prompts
    }

    /// The class of each prompt, where it was given one.
    #[must_use]
    pub fn classes(&self) -> &[Option<String>] {
        &self.header.classes
    }

    /// As they are, with what is known of each prompt: whether it was longer than the model reads.
    ///
    /// # Errors
    /// [`Error::Input`] when there are not as many values as prompts.
    pub fn with_cut(mut self, cut: Vec<bool>) -> Result<Self> {
        self.header.cut = Some(cut);
        self.check().map_err(|message| Error::Input(format!("conditions to be kept: {message}")))?;
        Ok(self)
    }

    /// For each prompt, whether it was longer than the model reads, if that is known.
    #[must_use]
    pub fn cut(&self) -> Option<&[bool]> {
        self.header.cut.as_deref()
    }

    /// The conditions, if this model made them, or one whose towers are the same.
    ///
    /// # Errors
    /// [`Error::OtherModel`].
    pub fn for_model(&self, model: &ClipSegForImageSegmentation) -> Result<&Condition> {
        let (width, found) = (model.config().projection_dim, self.condition.embeddings.shape[1]);
        if found == width && self.header.model == model.fingerprint() {
            return Ok(&self.condition);
        }
        let message = if found == width {
            format!("was made by another model ({}, this one is {})", self.header.model, model.fingerprint())
        } else {
            format!("holds conditions of {found} numbers, but the model's projection_dim is {width}")
        };
        let message =
            format!("{message}; encode the prompts with this model: clipseg encode-prompts --model …");
        Err(Error::OtherModel { path: self.path.clone(), message })
    }

    fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self, String> {
        let not_safetensors = |error| {
            format!("is not a whole safetensors file ({error}); make it again with `clipseg encode-prompts`")
        };
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(not_safetensors)?;
        let Some(header) = metadata.metadata().as_ref().and_then(|metadata| metadata.get(METADATA)) else {
            return Err("holds no conditions; give a file that `clipseg encode-prompts` wrote".to_owned());
        };
        let malformed = |error| format!("its metadata are malformed ({error}); make it again");
        let Version { version } = serde_json::from_str(header).map_err(malformed)?;
        if version != VERSION {
            return Err(format!(
                "is of version {version}, this program reads {VERSION}; take a newer clipseg"
            ));
        }
        let header = serde_json::from_str(header).map_err(malformed)?;
        let tensors = SafeTensors::deserialize(bytes).map_err(not_safetensors)?;
        let view = tensors.tensor(TENSOR).map_err(|_| format!("has no tensor `{TENSOR}`"))?;
        if view.dtype() != Dtype::F32 {
            return Err(format!("stores `{TENSOR}` as {:?}, expected F32", view.dtype()));
        }
        let values = view.data().as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        let condition = Condition { embeddings: Array { shape: view.shape().to_vec(), values } };
        let saved = Self { path: path.to_owned(), header, condition };
        saved.check()?;
        Ok(saved)
    }

    fn check(&self) -> Result<(), String> {
        let Header { prompts: names, classes, model, cut, .. } = &self.header;
        let Array { shape, values } = &self.condition.embeddings;
        let &[prompts, width] = &shape[..] else {
            return Err(format!("has conditions of shape {shape:?}, expected [prompts, projection_dim]"));
        };
        if prompts == 0 || width == 0 || !self.condition.embeddings.is_consistent() {
            return Err(format!("has conditions of shape {shape:?} and {} values", values.len()));
        }
        if (names.len(), classes.len()) != (prompts, prompts) {
            let (names, classes) = (names.len(), classes.len());
            return Err(format!("has {prompts} conditions, but names for {names} and classes for {classes}"));
        }
        if let Some(cut) = cut.as_ref().filter(|cut| cut.len() != prompts) {
            return Err(format!("has {prompts} conditions, but says of {} whether they were cut", cut.len()));
        }
        let shown = names.iter().chain(classes.iter().flatten());
        // A terminal would obey control characters.
        if let Some(name) = shown.clone().chain([model]).find(|name| name.chars().any(char::is_control)) {
            return Err(format!("has a control character in the name {name:?}"));
        }
        if let Some(empty) = shown.clone().find(|name| name.trim().is_empty()) {
            return Err(format!("has the empty name {empty:?}"));
        }
        match values.iter().position(|value| !value.is_finite()) {
            Some(index) => Err(format!(
                "has the number {} in the condition of {:?}; make it again",
                values[index],
                names[index / width]
            )),
            None => Ok(()),
        }
    }
}

/// A file's bytes.
fn read(path: &Path) -> Result<Vec<u8>> {
    clipseg_files::read(path, MOST_BYTES).map_err(|source| Error::Read { path: path.to_owned(), source })
}
