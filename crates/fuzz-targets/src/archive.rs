use clipseg_convert::fuzzing::archive;

use crate::pickle::check;
use crate::{check_refusal, folder};

/// Most bytes of storages that tensors are read from.
const MOST: usize = 1 << 20;

/// The file is opened as `clipseg convert` opens it, and its tensors are read.
pub fn run(bytes: &[u8]) -> bool {
    let folder = folder([("pytorch_model.bin", bytes)]);
    match archive(&folder.path().join("pytorch_model.bin"), MOST, &mut check) {
        Ok(tensors) => tensors > 0,
        Err(error) => check_refusal(&error, bytes),
    }
}
