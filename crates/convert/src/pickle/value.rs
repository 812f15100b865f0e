//! The values of a pickle program.

use std::rc::Rc;

use super::MAX_VALUES;
use super::globals::Global;
use crate::tensor::{Storage, StoredTensor};

/// A value on the stack. Containers are kept in [`Objects`], so that values are flat: copying and dropping
/// them does not recurse, however deeply a program nests them.
#[derive(Debug, Clone)]
pub(super) enum Value {
    None,
    Bool,
    Int(i64),
    Float,
    Text(Rc<str>),
    Global(Global),
    /// Lists occur only as attributes of modules, where their contents are not needed.
    List,
    Object(Id),
}

impl Value {
    /// What the value is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool => "a truth value",
            Self::Int(_) => "a whole number",
            Self::Float => "a number",
            Self::Text(_) => "a text",
            Self::Global(_) => "a class or function",
            Self::List => "a list",
            Self::Object(_) => "an object",
        }
    }
}

/// The index of an object in [`Objects`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id(usize);

/// A value that other values refer to.
#[derive(Debug)]
pub(super) enum Object {
    Tuple(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    /// A TorchScript module, and the dict of its attributes once it is known. Modules may share a dict; a
    /// copy for each would let a small program fill the memory.
    Module(Option<Id>),
    Storage(Rc<Storage>),
    Tensor(StoredTensor),
}

/// All objects that a program has made.
#[derive(Debug, Default)]
pub(super) struct Objects(Vec<Object>);

impl Objects {
    pub(super) fn add(&mut self, object: Object) -> Result<Value, String> {
        if self.0.len() >= MAX_VALUES {
            return Err(format!("makes more than {MAX_VALUES} objects; a state dict has a few thousand"));
        }
        self.0.push(object);
        Ok(Value::Object(Id(self.0.len() - 1)))
    }

    /// The object behind a value, if it is one.
    pub(super) fn get(&self, value: &Value) -> Option<&Object> {
        match value {
            // Only `add` makes ids, and objects are never removed.
            Value::Object(Id(place)) => self.0.get(*place),
            _ => None,
        }
    }

    pub(super) fn get_mut(&mut self, value: &Value) -> Option<&mut Object> {
        match value {
            Value::Object(Id(place)) => self.0.get_mut(*place),
            _ => None,
        }
    }

    /// The attributes of a module; none if it has not been given any, or is not a module.
    pub(super) fn attributes(&self, module: &Value) -> &[(Value, Value)] {
        let dict = match self.get(module) {
            Some(Object::Module(Some(id))) => self.get(&Value::Object(*id)),
            _ => None,
        };
        match dict {
            Some(Object::Dict(items)) => items,
            _ => &[],
        }
    }

    /// The items of a tuple.
    pub(super) fn tuple(&self, value: &Value) -> Result<&[Value], String> {
        match self.get(value) {
            Some(Object::Tuple(items)) => Ok(items),
            _ => Err(format!("has {} where a tuple is due", self.kind(value))),
        }
    }

    /// What a value is, for messages.
    pub(super) fn kind(&self, value: &Value) -> &'static str {
        match self.get(value) {
            Some(Object::Tuple(_)) => "a tuple",
            Some(Object::Dict(_)) => "a dict",
            Some(Object::Module(_)) => "a module",
            Some(Object::Storage(_)) => "a storage",
            Some(Object::Tensor(_)) => "a tensor",
            None => value.kind(),
        }
    }

    /// Values held by all objects together.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        let held = |object: &Object| match object {
            Object::Tuple(items) => items.len(),
            Object::Dict(items) => 2 * items.len(),
            Object::Module(_) | Object::Storage(_) | Object::Tensor(_) => 1,
        };
        self.0.iter().map(held).sum()
    }
}
