//! Finding the tensors in what a program leaves behind.

use super::value::{Object, Objects, Value};
use super::{Dialect, MAX_VALUES};
use crate::tensor::StoredTensor;

/// How deep modules lie within modules; CLIP's seven.
const MAX_DEPTH: usize = 64;

/// The tensors below `root`, by name.
pub(super) fn tensors(
    root: Value,
    objects: &Objects,
    dialect: Dialect,
) -> Result<Vec<(String, StoredTensor)>, String> {
    let mut found = Vec::new();
    match (dialect, objects.get(&root)) {
        (Dialect::StateDict, Some(Object::Dict(items))) => {
            for (key, value) in items {
                let Value::Text(name) = key else {
                    return Err(format!("is no state dict: it has {} as a name", objects.kind(key)));
                };
                let Some(Object::Tensor(tensor)) = objects.get(value) else {
                    let kind = objects.kind(value);
                    return Err(format!(
                        "is no plain state dict: `{name}` is {kind}, not a tensor; re-save the state dict alone"
                    ));
                };
                found.push((name.to_string(), tensor.clone()));
            }
        }
        (Dialect::TorchScript, Some(Object::Module(attributes))) => {
            Walk { objects, found: &mut found, steps: 0 }.module("", attributes, 0)?;
        }
        _ => return Err(format!("holds {} instead of tensors by name", objects.kind(&root))),
    }
    Ok(found)
}

struct Walk<'a> {
    objects: &'a Objects,
    found: &'a mut Vec<(String, StoredTensor)>,
    /// Attributes seen. Modules may be shared, so that a small program could describe endlessly many.
    steps: usize,
}

impl Walk<'_> {
    fn module(&mut self, prefix: &str, attributes: &[(Value, Value)], depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err(format!("nests modules more than {MAX_DEPTH} deep"));
        }
        for (key, value) in attributes {
            self.steps += 1;
            if self.steps > MAX_VALUES {
                return Err(format!("describes modules with more than {MAX_VALUES} attributes"));
            }
            let Value::Text(name) = key else {
                return Err(format!("has {} as an attribute's name", self.objects.kind(key)));
            };
            match self.objects.get(value) {
                Some(Object::Tensor(tensor)) => self.found.push((format!("{prefix}{name}"), tensor.clone())),
                Some(Object::Module(inner)) => self.module(&format!("{prefix}{name}."), inner, depth + 1)?,
                // Numbers, texts and lists configure the module's code, which is not run.
                _ => {}
            }
        }
        Ok(())
    }
}
