//! What an op in the layout comes to for given tensors on a device: shaders, resources and grids.

use anyhow::{Context, Result, bail, ensure};
use clipseg_files::shown;
use minijinja::Value;

use super::manifest::{Dispatch, Manifest, Port, Tunable};
use super::ordered::Ordered;
use super::package::Package;
use super::resources::{Names, Resources, scalar};
use super::scope::{self, Device, Engine, FOLD, Scope};
use super::select;

/// The dtype that tensors are given in.
const DTYPE: &str = "float32";
/// Bytes of a tensor or of memory between passes at most: more is not the op's need.
const MOST_BYTES: u64 = 1 << 32;

/// What an op is called with: f32 tensors by the manifest's names of them, and attributes.
pub struct Call {
    pub inputs: Vec<(String, Vec<usize>)>,
    pub attributes: Vec<(String, serde_json::Value)>,
}

/// Passes to run one behind the other.
pub struct Program {
    /// The variant's name.
    pub variant: String,
    /// Inputs in the call's order, then the outputs.
    pub tensors: Vec<(String, Vec<usize>)>,
    pub scratches: Vec<Scratch>,
    pub passes: Vec<Pass>,
}

/// Memory between passes.
#[derive(Debug, PartialEq)]
pub struct Scratch {
    pub bytes: u64,
    /// Whether it is zeros before each run.
    pub is_cleared: bool,
}

/// A dispatch.
pub struct Pass {
    pub name: String,
    /// WGSL with the entry point `main`.
    pub source: String,
    /// By binding number.
    pub bound: Vec<Bound>,
    pub grid: [u32; 3],
}

/// What is bound.
#[derive(Clone, Debug, PartialEq)]
pub enum Bound {
    Tensor { place: usize, writes: bool },
    Scratch { place: usize, writes: bool },
    Uniform(Vec<u8>),
}

impl Bound {
    pub fn is_written(&self) -> bool {
        matches!(self, Self::Tensor { writes: true, .. } | Self::Scratch { writes: true, .. })
    }
}

impl Program {
    /// # Errors
    /// Where the op does not take the call, no variant computes it on the device, or a template or an
    /// expression fails; each says which.
    pub fn new(package: &Package, device: &Device, call: &Call) -> Result<Self> {
        let manifest = &package.manifest;
        let engine = Engine::new(device)?;
        let mut scope = Scope::new(device);
        scope.set_map("attrs", attributes(manifest, call)?);
        set_tunables(&mut scope, [&manifest.tunables]);
        let tensors = tensors(manifest, &engine, &scope, call)?;
        set_tensors(&mut scope, manifest, &tensors)?;
        engine.derive(&manifest.derive, &mut scope);
        let variant = select::choose(manifest, &engine, &scope, device).map_err(|lacks| {
            anyhow::anyhow!("no variant of it computes this on this device: {}", lacks.join("; "))
        })?;
        let in_variant = || format!("the variant {}", shown(&variant.id));
        set_tunables(&mut scope, [&manifest.tunables, &variant.tunables]);
        engine.derive(&variant.derive, &mut scope);
        let mut scratches = Vec::new();
        for own in &variant.intermediates {
            let shape = engine.shape(&own.shape, &scope).with_context(in_variant)?;
            let size = if scalar(&own.dtype)? == "f16" { 2 } else { 4 };
            let bytes = bytes_of(&shape, size)?.next_multiple_of(4).max(4);
            scratches.push(Scratch { bytes, is_cleared: own.zero_init });
        }
        let names = Names { manifest, intermediates: &variant.intermediates, tensors: &tensors };
        let limit =
            device.limit("maxComputeWorkgroupsPerDimension").map_or(FOLD.into(), |limit| limit as u64);
        let mut passes = Vec::new();
        for (place, pass) in variant.passes.iter().enumerate() {
            let in_pass = || format!("the pass {place} of {}, {}", in_variant(), shown(&pass.shader));
            let mut scope = scope.clone();
            engine.derive(&pass.derive, &mut scope);
            let Resources { bound, declarations } =
                names.resources(&pass.bindings, &engine, &scope).with_context(in_pass)?;
            let wgsl = Value::from_pairs([("resourceDeclarations", Value::from(declarations))]);
            let seen = scope.get("device").cloned().unwrap_or_default();
            scope.set_map("env", [("device", seen), ("wgsl", wgsl)]);
            let source = engine.render(package.template(&pass.shader)?, &scope).with_context(in_pass)?;
            let grid = grid(&pass.dispatch, &engine, &scope, limit).with_context(in_pass)?;
            let name = pass.name.clone().unwrap_or_else(|| format!("{}.{}", variant.id, pass.id));
            passes.push(Pass { name, source, bound, grid });
        }
        Ok(Self { variant: variant.id.clone(), tensors, scratches, passes })
    }
}

/// The attributes' values: the defaults, and those of the call.
fn attributes(manifest: &Manifest, call: &Call) -> Result<Vec<(String, Value)>> {
    for (name, _) in &call.attributes {
        ensure!(
            manifest.attributes.get(name).is_some(),
            "the op has no attribute {name}, which it is called with"
        );
    }
    let of_call = |name: &str| call.attributes.iter().find(|(own, _)| own == name).map(|(_, value)| value);
    let value = |(name, attribute): &(String, super::manifest::Attribute)| {
        let value = of_call(name).or(attribute.default.as_ref())?;
        Some((name.clone(), scope::plain(value)))
    };
    Ok(manifest.attributes.iter().filter_map(value).collect())
}

/// Sets the tunables' values, where the later ones count.
fn set_tunables<'a>(scope: &mut Scope, all: impl IntoIterator<Item = &'a Ordered<Tunable>>) {
    let entries = all.into_iter().flat_map(|tunables| tunables.iter());
    scope.set_map("tunables", entries.map(|(name, own)| (name.as_str(), scope::plain(&own.default))));
}

/// The tensors of a call: its inputs, then the outputs that the manifest derives from them.
fn tensors(
    manifest: &Manifest,
    engine: &Engine,
    scope: &Scope,
    call: &Call,
) -> Result<Vec<(String, Vec<usize>)>> {
    let mut tensors = call.inputs.clone();
    for (name, _) in &tensors {
        ensure!(manifest.inputs.get(name).is_some(), "the op takes no {}", shown(name));
    }
    for (name, port) in manifest.inputs.iter() {
        let is_given = tensors.iter().any(|(own, _)| own == name);
        ensure!(is_given || port.optional, "the op takes {}, too, which it is not called with", shown(name));
    }
    let mut scope = scope.clone();
    set_tensors(&mut scope, manifest, &tensors)?;
    engine.derive(&manifest.derive, &mut scope);
    for (name, port) in manifest.outputs.iter().filter(|(_, port)| !port.optional) {
        let shape = port.shape.as_ref();
        let shape =
            shape.with_context(|| format!("the shape of {} is not derived from inputs", shown(name)))?;
        tensors.push((name.clone(), engine.shape(shape, &scope)?));
    }
    for (_, shape) in &tensors {
        bytes_of(shape, 4)?;
    }
    Ok(tensors)
}

/// Sets what expressions know of the tensors.
fn set_tensors(scope: &mut Scope, manifest: &Manifest, tensors: &[(String, Vec<usize>)]) -> Result<()> {
    let ports = || manifest.inputs.iter().chain(manifest.outputs.iter());
    let mut variables = Vec::new();
    for (name, _) in tensors {
        for (_, port) in ports().filter(|(own, _)| own == name) {
            variables.extend(variable(manifest, name, port)?);
        }
    }
    // A variable is known by itself, too, to elements' types.
    for variable in &variables {
        scope.set(variable, "f32".into());
    }
    let of = |dtype: &'static str| variables.iter().map(move |name| (name.clone(), Value::from(dtype)));
    scope.set_map("dtypes", of("f32"));
    scope.set_map("logicalDtypes", of(DTYPE));
    scope.set_map("tensorDtypes", tensors.iter().map(|(name, _)| (name.clone(), Value::from(DTYPE))));
    scope.set_map("ranks", tensors.iter().map(|(name, shape)| (name.clone(), Value::from(shape.len()))));
    let sizes = |shape: &[usize]| shape.iter().map(|&size| Value::from(size)).collect::<Value>();
    scope.set_map("shapes", tensors.iter().map(|(name, shape)| (name.clone(), sizes(shape))));
    let is_there = |name: &str| tensors.iter().any(|(own, _)| own == name);
    scope.set_map("present", ports().map(|(name, _)| (name.clone(), Value::from(is_there(name)))));
    Ok(())
}

/// The variable that a tensor's dtype is, where it is one; the tensor may be f32.
fn variable(manifest: &Manifest, name: &str, port: &Port) -> Result<Option<String>> {
    let Some(dtype) = &port.dtype else { return Ok(None) };
    let constraint = manifest.type_constraints.get(dtype);
    let takes = match constraint {
        Some(dtypes) => dtypes.iter().any(|own| own == DTYPE),
        None => dtype == DTYPE || scalar(dtype).is_err(),
    };
    ensure!(takes && port.storage.is_none(), "{} cannot be {DTYPE}", shown(name));
    Ok((dtype != DTYPE).then(|| dtype.clone()))
}

fn bytes_of(shape: &[usize], size: u64) -> Result<u64> {
    let elements = shape.iter().try_fold(size, |product, &length| product.checked_mul(length as u64));
    elements.filter(|bytes| *bytes <= MOST_BYTES).with_context(|| format!("{shape:?} is too large"))
}

fn grid(dispatch: &Dispatch, engine: &Engine, scope: &Scope, limit: u64) -> Result<[u32; 3]> {
    let count = |size: &serde_json::Value| engine.count(size, scope);
    let folded = |workgroups: u64| [workgroups.min(FOLD.into()), workgroups.div_ceil(FOLD.into()), 1];
    let sides = match dispatch {
        Dispatch { x: Some(x), y, z, threads: None, workgroup_size: None, workgroups: None } => {
            let other = |size: &Option<serde_json::Value>| size.as_ref().map_or(Ok(1), count);
            [count(x)?, other(y)?, other(z)?]
        }
        Dispatch {
            threads: Some(threads), workgroup_size: Some(size), x: None, workgroups: None, ..
        } => {
            let size = count(size)?;
            ensure!(size > 0, "workgroups have no threads");
            folded(count(threads)?.div_ceil(size))
        }
        Dispatch { workgroups: Some(workgroups), x: None, threads: None, .. } => folded(count(workgroups)?),
        _ => {
            bail!("its dispatch is neither a grid of x, y and z nor threads by workgroupSize nor workgroups")
        }
    };
    ensure!(
        sides.iter().all(|side| *side <= limit),
        "it has {sides:?} workgroups; {limit} on a side are the most"
    );
    Ok(sides.map(|side| side as u32))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    fn fixture(id: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/rivals").join(id).join("build/webgpu")
    }

    fn device() -> Device {
        Device {
            features: vec!["subgroups"],
            limits: vec![
                ("maxComputeWorkgroupsPerDimension", 1000.0),
                ("maxComputeInvocationsPerWorkgroup", 256.0),
            ],
            lanes: Some([8, 8]),
            ..Device::default()
        }
    }

    fn softmax(rows: usize, columns: usize) -> Call {
        Call {
            inputs: vec![("x".to_owned(), vec![rows, columns])],
            attributes: vec![("axis".to_owned(), (-1).into())],
        }
    }

    fn product(m: usize, n: usize, k: usize) -> Call {
        let inputs = [("left", vec![m, k]), ("right", vec![k, n])];
        Call { inputs: inputs.map(|(name, shape)| (name.to_owned(), shape)).to_vec(), attributes: vec![] }
    }

    #[test]
    fn passes_have_their_memory_and_grid() {
        let package = Package::open(&fixture("ai.onnx.Softmax")).unwrap();
        let program = Program::new(&package, &device(), &softmax(3500, 3)).unwrap();
        assert_eq!(program.variant, "two_passes");
        let tensors = [("x".to_owned(), vec![3500, 3]), ("y".to_owned(), vec![3500, 3])];
        assert_eq!(program.tensors, tensors);
        assert_eq!(program.scratches, [Scratch { bytes: 3500 * 8, is_cleared: true }]);
        let [sums, shares] = &program.passes[..] else { panic!("{} passes", program.passes.len()) };
        assert_eq!((sums.name.as_str(), sums.grid), ("Softmax.Sums", [55, 1, 1]));
        let scratch = |writes| Bound::Scratch { place: 0, writes };
        let tensor = |place, writes| Bound::Tensor { place, writes };
        assert_eq!(sums.bound, [tensor(0, false), scratch(true)]);
        assert_eq!(shares.bound, [tensor(0, false), scratch(false), tensor(1, true)]);
        assert!(sums.source.contains("const ROWS: u32 = 3500u;"), "{}", sums.source);
        assert!(shares.source.contains("var<storage, read> sums: array<vec2<f32>>;"), "{}", shares.source);
    }

    #[test]
    fn a_call_that_does_not_fit_is_refused() {
        type Change = fn(&mut Call);
        let package = Package::open(&fixture("ai.onnx.MatMul")).unwrap();
        let call = |change: Change| {
            let mut call = product(2, 3, 4);
            change(&mut call);
            Program::new(&package, &device(), &call)
                .err()
                .map(|error| format!("{error:#}"))
                .unwrap_or_default()
        };
        let changes: [(Change, &str); 7] = [
            (|_| {}, ""),
            (|call| drop(call.inputs.pop()), "takes right, too"),
            (|call| call.inputs.push(("other".to_owned(), vec![1])), "takes no other"),
            (|call| call.attributes.push(("axis".to_owned(), 1.into())), "no attribute axis"),
            (|call| call.inputs[1].1[0] = 5, "inner sizes"),
            (|call| call.inputs[0].1[0] = 8001, "`fits` does not hold"),
            (|call| call.inputs[0].1[0] = 1 << 40, "is too large"),
        ];
        for (change, word) in changes {
            let error = call(change);
            assert!(error.contains(word) && error.is_empty() == word.is_empty(), "{word:?} is not: {error}");
        }
    }

    /// Whatever is wrong with a manifest or a template, it is an error.
    #[test]
    fn damaged_files_are_refused_or_read() {
        let mut programs = 0;
        for (id, template, call) in [
            ("ai.onnx.MatMul", "vectors.wgsl.jinja", product(2, 4, 4)),
            ("ai.onnx.Softmax", "sums.wgsl.jinja", softmax(2, 5)),
        ] {
            for file in ["manifest.json", template] {
                let folder = tempfile::tempdir().unwrap();
                for entry in walkdir::WalkDir::new(fixture(id)).into_iter().map(|entry| entry.unwrap()) {
                    let path = folder.path().join(entry.path().strip_prefix(fixture(id)).unwrap());
                    match entry.file_type().is_dir() {
                        true => fs::create_dir_all(path).unwrap(),
                        false => fs::write(path, fs::read(entry.path()).unwrap()).unwrap(),
                    }
                }
                let text = fs::read_to_string(fixture(id).join(file)).unwrap();
                for (place, _) in text.char_indices().step_by(11) {
                    for put in ["", "9", "-", "\"", "{", "]", "99999999999999999999", "shapes.x", "\u{202e}"]
                    {
                        let damaged = [&text[..place], put, text[place..].get(1..).unwrap_or("")].concat();
                        fs::write(folder.path().join(file), damaged).unwrap();
                        if let Ok(package) = Package::open(folder.path()) {
                            programs += usize::from(Program::new(&package, &device(), &call).is_ok());
                        }
                    }
                }
            }
        }
        assert!(programs > 100, "{programs} were read: the test damages too much");
    }
}
