use clipseg_convert::fuzzing::archive;

use crate::pickle::check;
use crate::{check_refusal, folder};

/// Most bytes of storages from which tensors are read.
const MOST: usize = 1 << 20;

/// Opens the file as `clipseg convert` does, and reads its tensors.
pub fn run(bytes: &[u8]) -> bool {
    let folder = folder([("pytorch_model.bin", bytes)]);
    match archive(&folder.path().join("pytorch_model.bin"), MOST, &mut check) {
        Ok(tensors) => tensors > 0,
        Err(error) => check_refusal(&error, bytes),
    }
}
