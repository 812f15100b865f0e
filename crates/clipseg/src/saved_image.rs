use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use clipseg_tensor::{Array, Checksum};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The only entry of the file's metadata: the order of several entries would differ from run to run.
const METADATA: &str = "clipseg-encoded-image";
const VERSION: u32 = 1;
/// The largest file: an image of some 5000 by 5000 pixels at the published size.
const MOST_BYTES: u64 = 1 << 30;

/// An encoded image in the host's memory, to be kept there or as a file, and segmented later without the
/// photo: in the same process, in another one, on another device.
///
/// [`ClipSeg::save_image`](crate::ClipSeg::save_image) makes it and
/// [`ClipSeg::restore_image`](crate::ClipSeg::restore_image) brings it back to a device, where the logits are
/// bit for bit those of the image itself. At the published size (352 by 352 pixels) it takes 4.5 MB.
///
/// The file is safetensors: the tensors `activations.0`, `activations.1`, …, f32
/// `[batch, 1 + rows · columns, hidden_size]`, and in the metadata under `clipseg-encoded-image` a JSON
/// object of `version` (1), `model` (the vision tower's [fingerprint](crate::VisionEncoder::fingerprint)),
/// `grid` (rows and columns of patches) and `checksum` of all of it.
///
/// ```no_run
/// use clipseg::{ClipSeg, Device, DeviceOptions, Orientation, Photo, SavedImage};
///
/// # fn main() -> clipseg::Result<()> {
/// let device = Device::open(&DeviceOptions::default())?;
/// let model = ClipSeg::from_pretrained(&device, "clipseg-rd64-refined")?;
///
/// // Once: the library's photos are encoded.
/// for name in ["beach", "kitchen"] {
///     let photo = Photo::open(format!("{name}.jpg"), Orientation::Apply)?;
///     let image = model.encode_image(&photo)?;
///     model.save_image(&image)?.to_file(format!("{name}.safetensors"))?;
/// }
///
/// // Ever after: which of them show a dog, and where?
/// for name in ["beach", "kitchen"] {
///     let image = model.restore_image(&SavedImage::from_file(format!("{name}.safetensors"))?)?;
///     let found = model.segment(&image, &["a dog"])?;
///     if found.presence(0)? > 0.5 {
///         let mask = found.mask(0, 0.5);
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SavedImage {
    /// Where it came from, for messages.
    path: PathBuf,
    header: Header,
    activations: Vec<Array>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Header {
    version: u32,
    model: String,
    grid: [usize; 2],
    checksum: String,
}

/// The part of the header that all versions have.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// By contents, wherever they came from.
impl PartialEq for SavedImage {
    fn eq(&self, other: &Self) -> bool {
        self.header == other.header && self.activations == other.activations
    }
}

impl SavedImage {
    /// The downloaded activations of an image that the vision tower with the fingerprint `model` encoded.
    pub(crate) fn new(model: &str, (rows, columns): (usize, usize), activations: Vec<Array>) -> Self {
        let grid = [rows, columns];
        let checksum = checksum(model, grid, &activations);
        let header = Header { version: VERSION, model: model.to_owned(), grid, checksum };
        Self { path: "the encoded image".into(), header, activations }
    }

    /// Reads a file. [`ClipSeg::restore_image`](crate::ClipSeg::restore_image) then checks that it is for the
    /// model in use.
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::SavedImage`] for a file that is not of this format, was cut or altered, or
    /// is of a later version.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let read = clipseg_files::read(path, MOST_BYTES);
        Self::from_bytes(path, &read.map_err(|source| Error::Read { path: path.to_owned(), source })?)
    }

    /// As [`from_file`](Self::from_file), from the file's bytes. `label` stands for them in errors.
    ///
    /// # Errors
    /// As [`from_file`](Self::from_file).
    pub fn from_bytes(label: impl AsRef<Path>, bytes: &[u8]) -> Result<Self> {
        let path = label.as_ref();
        parse(path, bytes).map_err(|message| Error::SavedImage { path: path.to_owned(), message })
    }

    /// The file's bytes.
    ///
    /// # Errors
    /// [`Error::Input`] when they cannot be written as safetensors, or are more than such a file holds.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let refused =
            |error: &dyn std::fmt::Display| Error::Input(format!("encoded images to be kept: {error}"));
        let header = serde_json::to_string(&self.header).map_err(|error| refused(&error))?;
        let bytes = |array: &Array| array.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let data: Vec<Vec<u8>> = self.activations.iter().map(bytes).collect();
        let views = self.activations.iter().zip(&data).enumerate().map(|(index, (array, bytes))| {
            Ok((name(index), TensorView::new(Dtype::F32, array.shape.clone(), bytes)?))
        });
        let views = views.collect::<Result<Vec<_>, safetensors::SafeTensorError>>();
        let views = views.map_err(|error| refused(&error))?;
        let metadata = HashMap::from([(METADATA.to_owned(), header)]);
        let file = safetensors::serialize(views, Some(metadata)).map_err(|error| refused(&error))?;
        of_at_most(MOST_BYTES, file).map_err(|message| refused(&message))
    }

    /// Writes the file.
    ///
    /// # Errors
    /// [`Error::Write`]; [`Error::Input`] for more than such a file holds, 1 GiB: some 240 images of the
    /// published size, encoded as one batch.
    pub fn to_file(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        fs::write(path, self.to_bytes()?).map_err(|source| Error::Write { path: path.to_owned(), source })
    }

    /// The fingerprint of the vision tower that encoded it.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.header.model
    }

    /// Rows and columns of patches.
    #[must_use]
    pub fn grid(&self) -> (usize, usize) {
        let [rows, columns] = self.header.grid;
        (rows, columns)
    }

    /// The extract layers' outputs, `[batch, tokens, hidden_size]` each.
    #[must_use]
    pub fn activations(&self) -> &[Array] {
        &self.activations
    }

    /// Bytes that it takes in the host's memory. Its file is larger by a short header.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.activations.iter().map(|array| 4 * array.values.len()).sum()
    }

    /// The path that it was read from, or its label.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

fn name(index: usize) -> String {
    format!("activations.{index}")
}

/// The checksum of all that the file holds. Numbers enter it by their bits.
fn checksum(model: &str, grid: [usize; 2], activations: &[Array]) -> String {
    let mut checksum = Checksum::default();
    checksum.add(model.bytes().map(u64::from));
    checksum.add(grid.map(|side| side as u64));
    for Array { shape, values } in activations {
        checksum.add(shape.iter().map(|&side| side as u64));
        checksum.add(values.iter().map(|value| u64::from(value.to_bits())));
    }
    checksum.digits()
}

fn parse(path: &Path, bytes: &[u8]) -> Result<SavedImage, String> {
    let not_safetensors =
        |error| format!("is not a whole safetensors file ({error}); encode the photo again");
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(not_safetensors)?;
    let Some(header) = metadata.metadata().as_ref().and_then(|metadata| metadata.get(METADATA)) else {
        return Err("holds no encoded image".to_owned());
    };
    let malformed = |error| format!("its metadata are malformed ({error}); encode the photo again");
    let Version { version } = serde_json::from_str(header).map_err(malformed)?;
    if version != VERSION {
        return Err(format!("is of version {version}, this program reads {VERSION}; take a newer clipseg"));
    }
    let header: Header = serde_json::from_str(header).map_err(malformed)?;
    let tensors = SafeTensors::deserialize(bytes).map_err(not_safetensors)?;
    let activation = |index: usize| {
        let name = name(index);
        let view = tensors.tensor(&name).map_err(|_| format!("has no tensor `{name}`"))?;
        if view.dtype() != Dtype::F32 {
            return Err(format!("stores `{name}` as {:?}, expected F32", view.dtype()));
        }
        let values = view.data().as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        Ok(Array { shape: view.shape().to_vec(), values })
    };
    let activations = (0..tensors.len()).map(activation).collect::<Result<Vec<_>, String>>()?;
    if checksum(&header.model, header.grid, &activations) != header.checksum {
        return Err("was altered: its checksum does not fit its contents; encode the photo again".to_owned());
    }
    Ok(SavedImage { path: path.to_owned(), header, activations })
}

/// A file that is written only if it can be read again; else why not.
pub(crate) fn of_at_most(most: u64, file: Vec<u8>) -> Result<Vec<u8>, String> {
    if file.len() as u64 <= most {
        return Ok(file);
    }
    Err(format!("they take {} bytes, and such a file holds {most}; keep fewer in each file", file.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_too_large_to_be_read_is_not_written() {
        assert_eq!(of_at_most(3, vec![1, 2, 3]), Ok(vec![1, 2, 3]));
        let refused = of_at_most(3, vec![0; 4]).unwrap_err();
        assert!(refused.contains("4 bytes") && refused.contains("fewer"), "{refused}");
    }
}
