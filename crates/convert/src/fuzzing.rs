//! Internals that the fuzz targets use; not for anyone else.

use std::path::Path;

use safetensors::Dtype;

use crate::archive::Archive;
use crate::pickle::{self, Dialect};
use crate::tensor::StoredTensor;

/// Called for each tensor with its name, type, shape and bytes.
pub type Take<'a> = &'a mut dyn FnMut(&str, Dtype, &[usize], &[u8]);

/// Reads a pickle as a state dict or as TorchScript. Tensors are read from storages of zeros, as long as
/// these and the tensors take at most `most` bytes in all. Returns the number of tensors.
pub fn pickle(program: &[u8], is_torch_script: bool, most: usize, take: Take<'_>) -> Result<usize, String> {
    let dialect = if is_torch_script { Dialect::TorchScript } else { Dialect::StateDict };
    let tensors = pickle::read_tensors(program, dialect)?;
    let mut left = most;
    for (name, tensor) in &tensors {
        if let Some(less) = left.checked_sub(memory(tensor)) {
            left = less;
            take(name, tensor.dtype(), tensor.shape(), &tensor.gather(&vec![0; tensor.storage().bytes()]));
        }
    }
    Ok(tensors.len())
}

/// Reads a PyTorch file and the tensors in it, as long as they and their storages take at most `most` bytes
/// in all. Returns the number of tensors.
pub fn archive(path: &Path, most: usize, take: Take<'_>) -> crate::Result<usize> {
    let archive = Archive::open(path)?;
    let mut left = most;
    for (name, tensor) in archive.tensors() {
        if let Some(less) = left.checked_sub(memory(tensor)) {
            left = less;
            take(name, tensor.dtype(), tensor.shape(), &archive.read(tensor)?);
        }
    }
    Ok(archive.tensors().len())
}

/// Bytes that reading a tensor takes: its storage and, where it is an expanded view, the tensor itself, which
/// may be larger than any memory.
fn memory(tensor: &StoredTensor) -> usize {
    let expanded = if tensor.is_expanded() { tensor.bytes() } else { 0 };
    tensor.storage().bytes().saturating_add(expanded)
}
