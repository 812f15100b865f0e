//! Finds the tensors in the value that a program leaves.

use clipseg_files::shown;

use super::value::{Object, Objects, Value};
use super::{Dialect, MAX_VALUES};
use crate::tensor::StoredTensor;

/// Deepest nesting of modules; CLIP's is seven.
const MAX_DEPTH: usize = 64;
/// Most tensors; a ViT-L/14 has some 700.
const MAX_TENSORS: usize = 1 << 16;
/// Longest name of a tensor in bytes, including the modules around it.
const MAX_NAME: usize = 4096;
/// Most bytes of all names. A short program can use one long text in every name.
const MAX_NAMES: usize = 16 << 20;

/// The tensors below `root`, by name.
pub(super) fn tensors(
    root: Value,
    objects: &Objects,
    dialect: Dialect,
) -> Result<Vec<(String, StoredTensor)>, String> {
    let mut found = Found::default();
    match (dialect, objects.get(&root)) {
        (Dialect::StateDict, Some(Object::Dict(items))) => {
            for (key, value) in items {
                let Value::Text(name) = key else {
                    return Err(format!("is not a state dict: it has {} as a name", objects.kind(key)));
                };
                let Some(Object::Tensor(tensor)) = objects.get(value) else {
                    let (name, kind) = (shown(name), objects.kind(value));
                    return Err(format!(
                        "is not a plain state dict: `{name}` is {kind}, not a tensor; re-save the state dict alone"
                    ));
                };
                found.add(joined("", name, "")?, tensor)?;
            }
        }
        (Dialect::TorchScript, Some(Object::Module(_))) => {
            Walk { objects, found: &mut found, steps: 0 }.module("", &root, 0)?;
        }
        _ => return Err(format!("holds {} instead of tensors by name", objects.kind(&root))),
    }
    Ok(found.tensors)
}

/// The tensors found so far.
#[derive(Default)]
struct Found {
    tensors: Vec<(String, StoredTensor)>,
    /// Bytes of all their names.
    names: usize,
}

impl Found {
    fn add(&mut self, name: String, tensor: &StoredTensor) -> Result<(), String> {
        self.names += name.len();
        if self.tensors.len() >= MAX_TENSORS || self.names > MAX_NAMES {
            return Err(format!(
                "describes more than {MAX_TENSORS} tensors, or names of more than {MAX_NAMES} bytes; a model has a few \
                 hundred tensors"
            ));
        }
        self.tensors.push((name, tensor.clone()));
        Ok(())
    }
}

/// Joins the parts of a name, unless it becomes longer than any real one.
fn joined(prefix: &str, name: &str, end: &str) -> Result<String, String> {
    match prefix.len() + name.len() > MAX_NAME {
        true => Err(format!("has a name of more than {MAX_NAME} bytes, which begins `{}`", shown(name))),
        false => Ok(format!("{prefix}{name}{end}")),
    }
}

struct Walk<'a> {
    objects: &'a Objects,
    found: &'a mut Found,
    /// Attributes visited. Modules may be shared, so a small program could describe an exponential number of
    /// them.
    steps: usize,
}

impl Walk<'_> {
    fn module(&mut self, prefix: &str, module: &Value, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("nests modules more than {MAX_DEPTH} deep"));
        }
        for (key, value) in self.objects.attributes(module) {
            self.steps += 1;
            if self.steps > MAX_VALUES {
                return Err(format!("describes modules with more than {MAX_VALUES} attributes"));
            }
            let Value::Text(name) = key else {
                return Err(format!("has {} as an attribute's name", self.objects.kind(key)));
            };
            match self.objects.get(value) {
                Some(Object::Tensor(tensor)) => self.found.add(joined(prefix, name, "")?, tensor)?,
                Some(Object::Module(_)) => self.module(&joined(prefix, name, ".")?, value, depth + 1)?,
                // Numbers, texts and lists configure the module's code, which is not run.
                _ => {}
            }
        }
        Ok(())
    }
}
