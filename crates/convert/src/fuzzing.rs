//! What the fuzz targets reach of the readers; nothing else is to use it.

use std::path::Path;

use safetensors::Dtype;

use crate::archive::TorchArchive;
use crate::pickle::{self, Dialect};

/// Hears of a tensor: its name, type and shape, and its numbers' bytes.
pub type Take<'a> = &'a mut dyn FnMut(&str, Dtype, &[usize], &[u8]);

/// Reads a pickle as that of a state dict or of TorchScript. What its tensors describe is taken from storages
/// of zeros, so far as these have at most `most` bytes. Gives the number of tensors.
pub fn pickle(program: &[u8], is_torch_script: bool, most: usize, take: Take<'_>) -> Result<usize, String> {
    let dialect = if is_torch_script { Dialect::TorchScript } else { Dialect::StateDict };
    let tensors = pickle::read_tensors(program, dialect)?;
    let mut left = most;
    for (name, tensor) in &tensors {
        let bytes = tensor.storage().bytes();
        if bytes <= left {
            left -= bytes;
            take(name, tensor.dtype(), tensor.shape(), &tensor.gather(&vec![0; bytes]));
        }
    }
    Ok(tensors.len())
}

/// Reads a file of PyTorch's and the tensors in it, until these have had `most` bytes. Gives the number of
/// tensors.
pub fn archive(path: &Path, most: usize, take: Take<'_>) -> crate::Result<usize> {
    let archive = TorchArchive::open(path)?;
    let mut left = most;
    for (name, tensor) in archive.tensors() {
        let bytes = tensor.storage().bytes();
        if bytes <= left {
            left -= bytes;
            take(name, tensor.dtype(), tensor.shape(), &archive.read(tensor)?);
        }
    }
    Ok(archive.tensors().len())
}
