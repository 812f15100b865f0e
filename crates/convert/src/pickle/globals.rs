//! The names that a program may use, and what they mean here.

use std::rc::Rc;

use clipseg_files::shown;
use safetensors::Dtype;

use super::Dialect;
use super::value::{Object, Objects, Value};
use crate::tensor::{MAX_RANK, Storage, StoredTensor};

/// A class or function that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    /// `collections.OrderedDict`: a dict.
    OrderedDict,
    /// `torch._utils._rebuild_tensor_v2`: makes a tensor from a part of a storage.
    RebuildTensor,
    /// `torch._utils._rebuild_parameter`: returns the tensor that it is given.
    RebuildParameter,
    /// `torch.FloatStorage` and the like: the type of a storage's numbers.
    Storage(Dtype),
    /// `__torch__.….Name` of TorchScript: a module.
    ModuleClass,
    /// `torch.jit._pickle.build_intlist` and the like, and `restore_type_tag`: they return their first
    /// argument.
    TypedContainer,
}

impl Global {
    /// Looks up a name.
    pub(super) fn find(module: &str, name: &str, dialect: Dialect) -> Result<Self, String> {
        match (module, name) {
            ("collections", "OrderedDict") => return Ok(Self::OrderedDict),
            ("torch._utils", "_rebuild_tensor_v2") => return Ok(Self::RebuildTensor),
            ("torch._utils", "_rebuild_parameter") => return Ok(Self::RebuildParameter),
            ("torch", storage) => {
                if let Some(dtype) = storage.strip_suffix("Storage").and_then(number_type) {
                    return Ok(Self::Storage(dtype));
                }
            }
            _ => {}
        }
        if dialect == Dialect::TorchScript {
            if module == "__torch__" || module.starts_with("__torch__.") {
                return Ok(Self::ModuleClass);
            }
            let container =
                name.starts_with("build_") && name.ends_with("list") || name == "restore_type_tag";
            if module == "torch.jit._pickle" && container {
                return Ok(Self::TypedContainer);
            }
        }
        Err(format!(
            "asks for {}, which a state dict of tensors does not need; it is refused, and nothing in the \
             file has been run. Do not load the file elsewhere unless you trust where it comes from; if you do, \
             re-save its state dict alone",
            shown(&format!("{module}.{name}"))
        ))
    }

    /// The result of calling it with these arguments.
    pub(super) fn call(self, arguments: &Value, objects: &mut Objects) -> Result<Value, String> {
        let items = objects.tuple(arguments)?;
        match (self, items) {
            (Self::OrderedDict, []) => objects.add(Object::Dict(Vec::new())),
            // Behind the strides: whether it needs a gradient, hooks (always none), and metadata.
            (Self::RebuildTensor, [storage, offset, shape, strides, further @ ..]) => {
                let Some(Object::Storage(storage)) = objects.get(storage) else {
                    return Err(format!("builds a tensor on {}", objects.kind(storage)));
                };
                if let Some(metadata) = further.get(2) {
                    check_metadata(metadata, objects)?;
                }
                let offset = size(offset, "offset")?;
                let (shape, strides) = (sizes(objects, shape, "shape")?, sizes(objects, strides, "strides")?);
                let tensor = StoredTensor::new(storage.clone(), offset, shape, strides)?;
                objects.add(Object::Tensor(tensor))
            }
            (Self::RebuildParameter, [tensor, ..])
                if matches!(objects.get(tensor), Some(Object::Tensor(_))) =>
            {
                Ok(tensor.clone())
            }
            (Self::TypedContainer, [container, ..]) => Ok(container.clone()),
            (function, items) => {
                Err(format!("calls {function:?} with {} arguments, which cannot be right", items.len()))
            }
        }
    }
}

/// Refuses metadata, which say that a tensor's numbers are not those that are stored.
fn check_metadata(metadata: &Value, objects: &Objects) -> Result<(), String> {
    let items = match (metadata, objects.get(metadata)) {
        (Value::None, _) => return Ok(()),
        (_, Some(Object::Dict(items))) => items,
        _ => return Err(format!("has {} as a tensor's metadata", objects.kind(metadata))),
    };
    let Some((key, _)) = items.first() else { return Ok(()) };
    Err(match key {
        Value::Text(name) if matches!(&**name, "neg" | "conj") => format!(
            "has a tensor that is stored with other signs than it has ({name}); re-save it with .resolve_{name}()"
        ),
        Value::Text(name) => format!("has a tensor with metadata that are not known (`{}`)", shown(name)),
        other => format!("has {} as a name of a tensor's metadata", objects.kind(other)),
    })
}

/// The type of the numbers in PyTorch's `{name}Storage`.
fn number_type(name: &str) -> Option<Dtype> {
    Some(match name {
        "Double" => Dtype::F64,
        "Float" => Dtype::F32,
        "Half" => Dtype::F16,
        "BFloat16" => Dtype::BF16,
        "Long" => Dtype::I64,
        "Int" => Dtype::I32,
        "Short" => Dtype::I16,
        "Char" => Dtype::I8,
        "Byte" => Dtype::U8,
        "Bool" => Dtype::BOOL,
        _ => return None,
    })
}

/// The storage that a persistent id stands for: `("storage", class, key, device, length)`. The device that it
/// was on does not matter.
pub(super) fn storage(id: &Value, objects: &Objects) -> Result<Rc<Storage>, String> {
    match objects.tuple(id)? {
        [
            Value::Text(kind),
            Value::Global(Global::Storage(dtype)),
            Value::Text(key),
            Value::Text(_),
            length,
        ] if &**kind == "storage" => {
            Storage::new(key.clone(), *dtype, size(length, "storage's length")?).map(Rc::new)
        }
        _ => Err("has a persistent id that is not (\"storage\", type, key, device, length)".to_owned()),
    }
}

fn size(value: &Value, what: &str) -> Result<usize, String> {
    match value {
        Value::Int(number) => {
            usize::try_from(*number).map_err(|_| format!("gives a tensor the {what} {number}"))
        }
        _ => Err(format!("has {} as a tensor's {what}", value.kind())),
    }
}

fn sizes(objects: &Objects, value: &Value, what: &str) -> Result<Vec<usize>, String> {
    let items = objects.tuple(value)?;
    // Checked before copying: a program can use one long tuple as the shape of many tensors.
    if items.len() > MAX_RANK {
        return Err(format!("has a tensor with a {what} of {} numbers, more than {MAX_RANK}", items.len()));
    }
    items.iter().map(|item| size(item, what)).collect()
}
