//! The pickle inside a PyTorch file, read as data.
//!
//! A pickle is a program for a small stack machine, and Python's machine calls whatever function the program
//! names. The one here calls nothing. It knows the opcodes that PyTorch writes (protocol 2) and a closed list
//! of names, each with a meaning of its own ([`globals::Global`]); anything else is refused by name. The
//! value that is left when the program stops is searched for tensors, each of which describes a range of the
//! archive.
//!
//! Memory is bounded by the size of the program and by [`MAX_VALUES`]; time by limits on the depth and number
//! of what is searched, because objects may refer to themselves.

mod collect;
mod globals;
mod machine;
mod value;

use self::machine::Machine;
use crate::tensor::StoredTensor;

/// Longest program read, in bytes. A ViT-L/14's takes a few hundred kilobytes.
pub(crate) const MAX_PROGRAM: u64 = 16 << 20;
/// Most values on the stack and in the memo, and most objects.
const MAX_VALUES: usize = 1 << 20;

/// The kind of file that the program comes from, which decides the names it may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `torch.save` of a state dict: tensors by name.
    StateDict,
    /// `torch.jit.save`: nested modules, whose classes are compiled into the archive (and ignored).
    TorchScript,
}

/// Reads the program and returns the tensors it describes, by name, in the order of the file.
///
/// Error messages say what was found, and name the opcode, function or tensor.
pub(crate) fn read_tensors(program: &[u8], dialect: Dialect) -> Result<Vec<(String, StoredTensor)>, String> {
    let (root, objects) = Machine::new(program, dialect).run()?;
    collect::tensors(root, &objects, dialect)
}

#[cfg(test)]
mod tests;
