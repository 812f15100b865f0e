//! What a pass binds: the declarations for its shader, and the memory behind them.

use anyhow::{Context, Result, ensure};
use clipseg_files::shown;
use serde_json::Value;

use super::manifest::{Binding, Field, Intermediate, Manifest, PassBinding};
use super::program::Bound;
use super::scope::{Engine, Scope};

/// A uniform struct's fields come in fours: of 4 bytes each, a multiple of 16.
const FOUR: usize = 4;

/// Where the names of a variant's passes lead.
pub struct Names<'a> {
    pub manifest: &'a Manifest,
    pub intermediates: &'a [Intermediate],
    /// The tensors that there are.
    pub tensors: &'a [(String, Vec<usize>)],
}

/// What a pass binds, in order, and the lines that declare it.
pub struct Resources {
    pub bound: Vec<Bound>,
    pub declarations: String,
}

impl Names<'_> {
    /// The resources of a pass whose values are in `scope`.
    pub fn resources(&self, bindings: &[PassBinding], engine: &Engine, scope: &Scope) -> Result<Resources> {
        let mut bound = Vec::new();
        let mut structs: Vec<(String, String)> = Vec::new();
        let mut lines = Vec::new();
        for (place, binding) in bindings.iter().enumerate() {
            let (handle, entry) = match binding {
                PassBinding::Named(handle) => {
                    (Some(handle.as_str()), self.manifest.bindings.get(handle).cloned().unwrap_or_default())
                }
                PassBinding::Entry(entry) => (None, Binding::clone(entry)),
            };
            let names = [entry.name.as_deref(), handle, entry.arg.as_deref(), entry.scratch.as_deref()];
            let name = names.into_iter().flatten().next().context("a binding has no name")?;
            ensure!(is_identifier(name), "{} is not a name in WGSL", shown(name));
            let start = format!("@group(0) @binding({place}) var");
            if let Some(fields) = &entry.fields {
                let kind = entry.struct_name.as_deref().unwrap_or("Params");
                ensure!(is_identifier(kind), "{} is not a name in WGSL", shown(kind));
                let text = declaration(kind, fields)?;
                match structs.iter().find(|(own, _)| own == kind) {
                    Some((_, own)) => ensure!(*own == text, "there are two structs {kind}"),
                    None => structs.push((kind.to_owned(), text)),
                }
                lines.push(format!("{start}<uniform> {name}: {kind};"));
                bound.push(Bound::Uniform(
                    bytes(fields, engine, scope).with_context(|| format!("the uniform {name}"))?,
                ));
                continue;
            }
            let (memory, scalar) = self.memory(name, &entry)?;
            let element = match &entry.element_type {
                Some(element) => resolved(element, scope)?,
                None => scalar,
            };
            let length = match &entry.length {
                Some(length) => {
                    let length = match length {
                        Value::String(name) => Value::from(resolved(name, scope)?),
                        length => length.clone(),
                    };
                    format!(", {}u", engine.count(&length, scope)?)
                }
                None => String::new(),
            };
            let access = if memory.is_written() { "read_write" } else { "read" };
            lines.push(format!("{start}<storage, {access}> {name}: array<{element}{length}>;"));
            bound.push(memory);
        }
        let structs = structs.into_iter().map(|(_, text)| text);
        Ok(Resources { bound, declarations: structs.chain(lines).collect::<Vec<_>>().join("\n") })
    }

    /// The memory that an entry names, and the type of its elements where the entry does not say.
    fn memory(&self, name: &str, entry: &Binding) -> Result<(Bound, String)> {
        let scratch = entry.scratch.as_deref().unwrap_or(name);
        let writes = |default: bool| match entry.buffer.as_deref() {
            None => Ok(default),
            Some("storage") => Ok(true),
            Some("read-only-storage") => Ok(false),
            Some(other) => Err(anyhow::anyhow!("{} is not a buffer of this kind", shown(other))),
        };
        if let Some(place) = self.intermediates.iter().position(|own| own.id == scratch) {
            let scalar = scalar(&self.intermediates[place].dtype)?.to_owned();
            return Ok((Bound::Scratch { place, writes: writes(true)? }, scalar));
        }
        ensure!(entry.scratch.is_none(), "the variant has no intermediate {}", shown(scratch));
        let role = entry.arg.as_deref().unwrap_or(name);
        let tensor = self.tensors.iter().position(|(own, _)| own == role);
        let tensor = tensor.with_context(|| format!("there is no tensor {}", shown(role)))?;
        let is_output = self.manifest.outputs.get(role).is_some();
        Ok((Bound::Tensor { place: tensor, writes: writes(is_output)? }, "f32".to_owned()))
    }
}

/// The type of WGSL that a dtype is stored as.
pub fn scalar(dtype: &str) -> Result<&'static str> {
    Ok(match dtype {
        "float32" => "f32",
        "float16" => "f16",
        "int8" | "int16" | "int32" => "i32",
        "uint8" | "uint32" | "bool" => "u32",
        _ => anyhow::bail!("{} is not a dtype of memory between passes", shown(dtype)),
    })
}

/// A type, or the derived value that stands behind its `$`.
fn resolved(text: &str, scope: &Scope) -> Result<String> {
    let Some(name) = text.strip_prefix('$') else { return Ok(text.to_owned()) };
    let value = scope.get(name).with_context(|| format!("{} was not derived", shown(text)))?;
    Ok(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
}

fn is_identifier(name: &str) -> bool {
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    starts && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The struct's text, with fields up to a multiple of four.
fn declaration(kind: &str, fields: &[Field]) -> Result<String> {
    ensure!(!fields.is_empty(), "the struct {kind} has no fields");
    let mut all = Vec::new();
    for Field { name, kind, .. } in fields {
        ensure!(is_identifier(name), "{} is not a name in WGSL", shown(name));
        ensure!(["u32", "i32", "f32"].contains(&kind.as_str()), "{name} is a {}, not a number", shown(kind));
        all.push(format!("{name}: {kind}"));
    }
    let missing = all.len().next_multiple_of(FOUR) - all.len();
    all.extend((0..missing).map(|place| format!("_pad{place}: u32")));
    Ok(format!("struct {kind} {{ {} }};", all.join(", ")))
}

/// The struct's bytes.
fn bytes(fields: &[Field], engine: &Engine, scope: &Scope) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for Field { name, kind, value, otherwise, .. } in fields {
        let json = value.as_ref().or(otherwise.as_ref()).with_context(|| format!("{name} has no value"))?;
        let value = engine.json(json, scope)?;
        let number = f64::try_from(value.clone()).ok().filter(|number| !number.is_nan());
        let number = number.with_context(|| format!("{name} comes to {value}, expected a number"))?;
        let least_and_most = match kind.as_str() {
            "u32" => Some((0.0, f64::from(u32::MAX))),
            "i32" => Some((f64::from(i32::MIN), f64::from(i32::MAX))),
            _ => None,
        };
        if let Some((least, most)) = least_and_most {
            let fits = number.fract() == 0.0 && (least..=most).contains(&number);
            ensure!(fits, "{name} comes to {value}, which is not a {kind}");
        }
        bytes.extend(match kind.as_str() {
            "u32" => (number as u32).to_le_bytes(),
            "i32" => (number as i32).to_le_bytes(),
            _ => (number as f32).to_le_bytes(),
        });
    }
    bytes.resize(bytes.len().next_multiple_of(4 * FOUR), 0);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::scope::Device;
    use super::*;

    fn resources(bindings: &str) -> Result<Resources> {
        let text = r#"{
            "name": "Op", "inputs": {"x": {}}, "outputs": {"y": {}}, "variants": [],
            "bindings": {
                "params": {"struct": [{"name": "n", "type": "u32", "value": "6 * 7"}, {"name": "e", "type": "f32", "value": 0.5},
                    {"name": "i", "type": "i32", "default": "0 - 1"}]},
                "x_vec": {"name": "x", "elementType": "$vector"}
            }
        }"#;
        let manifest: Manifest = serde_json::from_str(text).unwrap();
        let intermediates: Vec<Intermediate> =
            serde_json::from_str(r#"[{"id": "part", "dtype": "uint32", "shape": "[4]"}]"#).unwrap();
        let tensors = [("x".to_owned(), vec![8]), ("y".to_owned(), vec![8])];
        let device = Device::default();
        let mut scope = Scope::new(&device);
        scope.set("vector", "vec4<f32>".into());
        scope.set("four", 4.into());
        let names = Names { manifest: &manifest, intermediates: &intermediates, tensors: &tensors };
        names.resources(
            &serde_json::from_str::<Vec<_>>(bindings).unwrap(),
            &Engine::new(&device).unwrap(),
            &scope,
        )
    }

    #[test]
    fn declarations_are_in_the_order_of_the_bindings() {
        let bindings = r#"["x_vec", {"scratch": "part", "buffer": "read-only-storage"}, "y",
            {"name": "z", "arg": "x", "elementType": "u32", "length": "$four"}, "params"]"#;
        let Resources { bound, declarations } = resources(bindings).unwrap();
        let expected = "\
struct Params { n: u32, e: f32, i: i32, _pad0: u32 };
@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> part: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<storage, read> z: array<u32, 4u>;
@group(0) @binding(4) var<uniform> params: Params;";
        assert_eq!(declarations, expected);
        let mut uniform = [42u32.to_le_bytes(), 0.5f32.to_le_bytes(), (-1i32).to_le_bytes()].concat();
        uniform.extend([0; 4]);
        let tensor = |place, writes| Bound::Tensor { place, writes };
        let scratch = Bound::Scratch { place: 0, writes: false };
        assert_eq!(
            bound,
            [tensor(0, false), scratch, tensor(1, true), tensor(0, false), Bound::Uniform(uniform)]
        );
    }

    #[test]
    fn what_cannot_be_bound_is_told() {
        for (bindings, word) in [
            (r#"["unknown"]"#, "there is no tensor unknown"),
            (r#"[{"scratch": "other"}]"#, "no intermediate other"),
            (r#"[{"buffer": "storage"}]"#, "no name"),
            (r#"[{"name": "a b", "arg": "x"}]"#, "not a name in WGSL"),
            (r#"[{"name": "x", "elementType": "$none"}]"#, "$none was not derived"),
            (r#"[{"name": "x", "buffer": "texture"}]"#, "texture is not a buffer"),
            (r#"[{"name": "p", "struct": []}]"#, "has no fields"),
            (r#"[{"name": "p", "struct": [{"name": "a", "type": "f16", "value": 1}]}]"#, "a is a f16"),
            (r#"[{"name": "p", "struct": [{"name": "a", "type": "u32"}]}]"#, "a has no value"),
            (r#"[{"name": "p", "struct": [{"name": "a", "type": "u32", "value": "0 - 1"}]}]"#, "not a u32"),
            (r#"[{"name": "p", "struct": [{"name": "a", "type": "u32", "value": 1.5}]}]"#, "not a u32"),
            (
                r#"["params", {"name": "p", "struct": [{"name": "a", "type": "u32", "value": 1}]}]"#,
                "two structs",
            ),
        ] {
            let error = format!("{:#}", resources(bindings).err().unwrap());
            assert!(error.contains(word), "{word:?} is not in: {error}");
        }
    }
}
