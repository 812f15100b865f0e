//! Reads the processor's settings from either of the two files in which a checkpoint folder may have them.

use std::path::Path;

use serde_json::Value;

use super::{ImageSize, PreprocessorConfig};
use crate::config::fields::{FieldValue, Fields, wrong_type};
use crate::config::{Object, read_config};
use crate::error::{Error, Result};

/// Name of the file with the processor's settings in a checkpoint folder.
pub const PREPROCESSOR_FILE: &str = "preprocessor_config.json";
/// Name of the file in which transformers 5 saves these settings, under `image_processor`.
pub const PROCESSOR_FILE: &str = "processor_config.json";
/// The field of [`PROCESSOR_FILE`] that holds the settings.
const NESTED: &str = "image_processor";

/// Reads the settings at `path`. If that is a folder, reads its `preprocessor_config.json`, or what
/// transformers 5 saves in its place.
pub(super) fn read(path: &Path) -> Result<PreprocessorConfig> {
    let hint = format!(
        "it says how photos are resized and normalised, unless a {PROCESSOR_FILE} of transformers 5 does; download it \
         with the checkpoint"
    );
    let old = || read_config(path, PREPROCESSOR_FILE, &hint, from_object);
    let nested = path.join(PROCESSOR_FILE);
    if !path.is_dir() || !nested.exists() {
        return old();
    }
    // Older releases also wrote this file, but with other settings only.
    let Some(new) = read_config(&nested, PROCESSOR_FILE, "", |mut object| from_nested(&mut object))? else {
        return old();
    };
    if path.join(PREPROCESSOR_FILE).exists() && !old()?.prepares_as(&new) {
        return Err(Error::config(format!(
            "{NESTED} differs from {PREPROCESSOR_FILE} in the same folder, and of the two transformers 5 reads this and \
             older releases that: delete the one that the checkpoint was not trained with"
        ))
        .in_file(&nested));
    }
    Ok(new)
}

/// Settings from a file's object: its `image_processor` if it has one, else the whole object.
pub(super) fn from_object(mut object: Object) -> Result<PreprocessorConfig> {
    match from_nested(&mut object)? {
        Some(config) => Ok(config),
        None => {
            refuse_undecided(&object)?;
            settings(object, "")
        }
    }
}

/// Releases before transformers 5 leave out a step whose setting is null; transformers 5, which writes null
/// for what was not set, does it. Its own file is read so; of another nobody knows which of the two wrote it.
fn refuse_undecided(object: &Object) -> Result<()> {
    let steps = ["do_resize", "do_rescale", "do_normalize"];
    match steps.into_iter().find(|&step| object.get(step) == Some(&Value::Null)) {
        None => Ok(()),
        Some(step) => Err(Error::config(format!(
            "{step} = null: must be true or false; null is false to transformers 4 and true to transformers 5"
        ))),
    }
}

/// The settings in `image_processor`; `None` if that is missing or null, as in files of older releases.
fn from_nested(object: &mut Object) -> Result<Option<PreprocessorConfig>> {
    match object.remove(NESTED) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(nested)) => {
            let config = settings(nested, &format!("{NESTED}."))?;
            refuse_crop(&config)?;
            Ok(Some(config))
        }
        Some(other) => Err(wrong_type(&other, NESTED, "an object {…} or null")),
    }
}

fn settings(object: Object, prefix: &str) -> Result<PreprocessorConfig> {
    let config = PreprocessorConfig::from_fields(Fields::new(object, prefix))?;
    config.validate_as(prefix)?;
    Ok(config)
}

/// transformers 5 crops to the centre if the file asks for it. Older releases ignored that for CLIPSeg, and
/// this crate does not crop.
fn refuse_crop(config: &PreprocessorConfig) -> Result<()> {
    if config.extra.get("do_center_crop") != Some(&Value::Bool(true)) {
        return Ok(());
    }
    let path = format!("{NESTED}.crop_size");
    let size = config.extra.get("crop_size").filter(|size| !size.is_null());
    let size = size.map(|size| ImageSize::from_value(size.clone(), &path)).transpose()?;
    if size.is_none_or(|size| size == config.size) {
        return Ok(());
    }
    Err(Error::config(format!(
        "{NESTED}.do_center_crop = true: a centre other than the whole of `size` is not cut out here; CLIPSeg's own \
         processor resizes without cropping: set it to false if the checkpoint was trained so"
    )))
}
