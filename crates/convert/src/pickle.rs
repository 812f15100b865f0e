//! The pickle inside a PyTorch file, read as data.
//!
//! A pickle is a program for a small stack machine, and Python's machine calls whatever function the program
//! names. This one calls nothing. It knows the opcodes that PyTorch writes (protocol 2) and a closed list of
//! names, for each of which it has a meaning of its own ([`globals::Global`]); anything else is refused by
//! name. What is left when the program stops is searched for tensors, which are descriptions of places in the
//! archive.
//!
//! Memory is bounded: by the size of the program, by [`MAX_VALUES`], and by never following a reference twice
//! into itself.

mod collect;
mod globals;
mod machine;
mod value;

use self::machine::Machine;
use crate::tensor::StoredTensor;

/// Longest program read, in bytes. That of a ViT-L/14 takes a few hundred kilobytes.
pub(crate) const MAX_PROGRAM: u64 = 16 << 20;
/// Most values on the stack, in the memo, and objects made.
const MAX_VALUES: usize = 1 << 20;

/// What kind of file the program comes from, which decides what it may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `torch.save` of a state dict: tensors by name.
    StateDict,
    /// `torch.jit.save`: modules within modules, of classes that are compiled into the archive (and not
    /// looked at).
    TorchScript,
}

/// Reads the program and returns the tensors it describes, by name, in the order of the file.
///
/// The message of an error says what was found, and names the opcode, function or tensor.
pub(crate) fn read_tensors(program: &[u8], dialect: Dialect) -> Result<Vec<(String, StoredTensor)>, String> {
    let (root, objects) = Machine::new(program, dialect).run()?;
    collect::tensors(root, &objects, dialect)
}

#[cfg(test)]
mod tests;
