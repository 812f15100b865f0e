use clipseg_convert::fuzzing::pickle;
use safetensors::Dtype;

use crate::check_refusal;

/// Most bytes of storages from which tensors are read.
const MOST: usize = 1 << 20;

/// Runs the program both as a state dict and as TorchScript.
pub fn run(program: &[u8]) -> bool {
    let read = |is_torch_script| match pickle(program, is_torch_script, MOST, &mut check) {
        Ok(tensors) => tensors > 0,
        Err(message) => check_refusal(&message, program),
    };
    [false, true].map(read).contains(&true)
}

/// Checks that a tensor has as many numbers as its shape says.
pub fn check(name: &str, dtype: Dtype, shape: &[usize], numbers: &[u8]) {
    let count: usize = shape.iter().product();
    assert_eq!(numbers.len() * 8, count * dtype.bitsize(), "{name:?}: {dtype:?} {shape:?}");
}
