//! Writes our kernels in the layout.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use clipseg::{AdapterChoice, Device, DeviceOptions, Precision};
use serde::Serialize;
use serde_json::{Value, json};

use super::digest::{digest, short};
use super::manifest::{Manifest, SPECIFICATION};
use super::ordered::Ordered;
use super::own::{self, Op};
use super::package::{BUILD, MANIFEST, METADATA};
use crate::kernels::rival::counterpart::{self, Request};
use crate::kernels::work::{Arithmetic, Work};
use crate::kernels::{cases, run};
use crate::output::Folder;

const TEST: &str = "test.json";
const BENCH: &str = "bench.json";
/// Far more than metadata have.
const MOST_BYTES: u64 = 1 << 20;
const LICENCE: &str = "MIT OR Apache-2.0";
/// How far a value may be from the processor's.
const TOLERANCE: f64 = 1e-4;

/// Writes a folder per op and says so.
pub fn write(folder: &Folder) -> Result<String> {
    let processor = Device::open(&DeviceOptions {
        adapter: AdapterChoice::Processor,
        precision: Precision::F32,
        ..DeviceOptions::default()
    })?;
    let mut ops = Vec::new();
    for op in own::ops() {
        let id = format!("{}.{}", op.manifest.domain, op.manifest.name);
        let path = Path::new(&id).join(BUILD);
        let files = files(&op, &id, &processor)?;
        // All of them, before any is written.
        expect_own(&folder.path().join(&path), &files)?;
        ops.push((op, id, path, files));
    }
    let mut told = String::new();
    for (op, id, path, files) in ops {
        for (name, text) in files {
            folder.write(path.join(name), text.as_bytes())?;
        }
        let kernels: Vec<_> = op.kernels.iter().map(|kernel| kernel.name).collect();
        told += &format!("{id}: {}\n", kernels.join(", "));
    }
    Ok(format!("{told}wrote them to {}, each in its {BUILD}\n", folder.path().display()))
}

/// Refuses to write over the kernel of another.
fn expect_own(place: &Path, files: &[(String, String)]) -> Result<()> {
    let Some((taken, _)) = files.iter().find(|(name, _)| place.join(name).exists()) else { return Ok(()) };
    let metadata = clipseg_files::read(&place.join(METADATA), MOST_BYTES).ok();
    let metadata: Option<Value> = metadata.and_then(|text| serde_json::from_slice(&text).ok());
    let is_ours = metadata.is_some_and(|metadata| metadata.pointer("/provenance/clipseg").is_some());
    ensure!(
        is_ours,
        "--export: {} is of a kernel that clipseg did not write; choose another folder",
        place.join(taken).display()
    );
    Ok(())
}

/// All files of an op.
fn files(op: &Op, id: &str, processor: &Device) -> Result<Vec<(String, String)>> {
    let mut files: Vec<_> =
        op.kernels.iter().map(|kernel| (own::template_name(kernel), own::template(kernel))).collect();
    files.push((MANIFEST.to_owned(), pretty(&op.manifest)?));
    files.push((TEST.to_owned(), pretty(&tests(&op.manifest, id, processor)?)?));
    files.push((BENCH.to_owned(), pretty(&benches(&op.manifest, id, processor)?)?));
    files.sort();
    files.push((METADATA.to_owned(), pretty(&metadata(op, id, &files))?));
    Ok(files)
}

fn pretty(value: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// What the op is, of which build, and the digests of its files.
fn metadata(op: &Op, id: &str, files: &[(String, String)]) -> Value {
    let digests: Ordered<_> =
        files.iter().map(|(name, text)| (name.as_str(), digest(text.as_bytes()))).collect();
    let all: String = digests.iter().map(|(_, digest)| digest.as_str()).collect();
    let variants: Ordered<_> = op
        .manifest
        .variants
        .iter()
        .map(|variant| {
            (variant.id.as_str(), variant.passes.iter().map(|pass| &pass.shader).collect::<Vec<_>>())
        })
        .collect();
    let engine = run::engine();
    let mut provenance = json!({"clipseg": engine.version, "kernels": engine.kernels});
    if let Some(commit) = engine.commit {
        // As `git describe --dirty` marks it.
        let (sha, is_dirty) = match commit.strip_suffix("-dirty") {
            Some(sha) => (sha, true),
            None => (commit.as_str(), false),
        };
        provenance["kernel"] = json!({"sha": sha, "dirty": is_dirty});
    }
    json!({
        "name": id,
        "id": format!("_{}_webgpu_{}", id.to_lowercase().replace('.', "_"), short(&all)),
        "version": 1,
        "license": LICENCE,
        "backend": {"type": "webgpu"},
        "digest": {"algorithm": "sha256", "files": digests},
        "provenance": provenance,
        "webgpu": {"manifestSpec": SPECIFICATION, "variants": variants},
    })
}

/// Small cases with ragged sizes, their operands and what the processor makes of them.
fn tests(manifest: &Manifest, id: &str, processor: &Device) -> Result<Value> {
    let works = [
        Work::Product { m: 3, n: 8, k: 12 },
        Work::Product { m: 5, n: 7, k: 9 },
        Work::Product { m: 17, n: 12, k: 8 },
        Work::attention(2, 5, 2, 4, false),
        Work::attention(1, 7, 1, 3, true),
        Work::LayerNorm { rows: 3, columns: 8 },
        Work::LayerNorm { rows: 2, columns: 7 },
        Work::Softmax { rows: 3, columns: 5 },
        Work::Binary { operation: Arithmetic::Add, length: 13 },
        Work::Binary { operation: Arithmetic::Mul, length: 13 },
        Work::QuickGelu { length: 13 },
        Work::Sigmoid { length: 13 },
    ];
    let mut cases = Vec::new();
    for work in works.into_iter().filter(|work| counterpart::computes(id, *work)) {
        let request = counterpart::request(id, work, processor)?;
        let mut case = case(manifest, work, &request, |values| json!({"kind": "values", "values": values}))?;
        let name = port(&manifest.outputs, request.output)?;
        let output = &mut case["outputs"][name];
        output["tolerance"] = json!(TOLERANCE);
        output["data"] = json!({"kind": "values", "values": request.expected});
        cases.push(case);
    }
    Ok(json!({"cases": cases}))
}

/// The published model's shapes.
fn benches(manifest: &Manifest, id: &str, processor: &Device) -> Result<Value> {
    let mut benches = Vec::new();
    for own in cases::own().into_iter().filter(|own| counterpart::computes(id, own.work)) {
        let request = counterpart::request(id, own.work, processor)?;
        let mut bench = case(
            manifest,
            own.work,
            &request,
            |_| json!({"kind": "fillFloat32", "sinStep": 0.13, "cosStep": 0.29}),
        )?;
        bench["provenance"] = json!({"source": own.source, "notes": own.layer});
        benches.push(bench);
    }
    Ok(json!({"cases": benches}))
}

/// A case by the manifest's names.
fn case(manifest: &Manifest, work: Work, request: &Request, data: impl Fn(&[f32]) -> Value) -> Result<Value> {
    let mut inputs = Ordered::default();
    for operand in &request.operands {
        let name = port(&manifest.inputs, operand.onnx)?;
        let entry = json!({"dtype": "float32", "shape": operand.shape, "data": data(&operand.values)});
        inputs = inputs.iter().cloned().chain([(name.to_owned(), entry)]).collect::<Ordered<Value>>();
    }
    let attributes: Ordered<_> = request.attributes.iter().map(|(name, value)| (*name, value)).collect();
    let output = port(&manifest.outputs, request.output)?;
    let mut case = json!({
        "name": name(work),
        "inputs": inputs,
        "outputs": {output: {"dtype": "float32", "shape": request.output_shape}},
    });
    if !attributes.is_empty() {
        case["attrs"] = json!(attributes);
    }
    Ok(case)
}

/// A case's name: the op's sizes.
fn name(work: Work) -> String {
    let sizes: Vec<_> =
        work.sizes().iter().map(|(name, size)| format!("{}{size}", name.to_lowercase())).collect();
    let causal = if matches!(work, Work::Attention { causal: true, .. }) { "_causal" } else { "" };
    sizes.join("_") + causal
}

/// The manifest's name of one of ONNX's tensors.
fn port<'a>(ports: &'a Ordered<super::Port>, onnx: &str) -> Result<&'a str> {
    let found = ports.iter().find(|(_, port)| port.onnx.as_deref() == Some(onnx));
    found.map(|(name, _)| name.as_str()).with_context(|| format!("no port is {onnx}"))
}

#[cfg(test)]
mod tests {
    use super::super::Package;
    use super::*;

    #[test]
    fn kernels_are_templates_as_they_stand() {
        for op in own::ops() {
            for kernel in op.kernels {
                for tag in ["{{", "{%", "{#"] {
                    assert!(!kernel.source.contains(tag), "{} has {tag}", kernel.name);
                }
                let template = own::template(kernel);
                assert!(!template.contains("override "), "{}", kernel.name);
                // Browsers refuse them without.
                let enables =
                    template.starts_with("enable subgroups;\ndiagnostic(off, subgroup_uniformity);\n");
                assert_eq!(enables, kernel.uses_subgroups, "{}", kernel.name);
                assert_eq!(template.matches("{{").count(), kernel.overrides.len(), "{}", kernel.name);
            }
        }
    }

    #[test]
    fn every_parameter_is_a_number_that_has_a_value_or_is_left_out() {
        // Masks, packed sequences and residuals are what the ops do without.
        let left_out = ["has_mask", "has_cu_seqlens", "has_residual"];
        for op in own::ops() {
            for variant in &op.manifest.variants {
                let text = serde_json::to_value(&variant.passes[0].bindings).unwrap();
                for field in text[0]["struct"].as_array().unwrap() {
                    let name = field["name"].as_str().unwrap();
                    assert!(
                        ["u32", "f32"].contains(&field["type"].as_str().unwrap()),
                        "{}: {name}",
                        variant.id
                    );
                    assert_eq!(field["value"] == 0, left_out.contains(&name), "{}: {name}", variant.id);
                }
            }
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let parent = tempfile::tempdir().unwrap();
        let told = write(&Folder::prepare(parent.path(), "--export").unwrap()).unwrap();
        for op in own::ops() {
            let id = format!("{}.{}", op.manifest.domain, op.manifest.name);
            assert!(told.contains(&id) && counterpart::IDS.contains(&id.as_str()), "{told}");
            let package = Package::open(&parent.path().join(&id)).unwrap();
            assert_eq!(package.id(), id);
            let ids = |manifest: &Manifest| -> Vec<String> {
                manifest.variants.iter().map(|variant| variant.id.clone()).collect()
            };
            assert_eq!(ids(&package.manifest), ids(&op.manifest));
            let text =
                |name: &str| std::fs::read_to_string(parent.path().join(&id).join(BUILD).join(name)).unwrap();
            let tests: Value = serde_json::from_str(&text(TEST)).unwrap();
            let benches: Value = serde_json::from_str(&text(BENCH)).unwrap();
            for case in tests["cases"].as_array().unwrap().iter().chain(benches["cases"].as_array().unwrap())
            {
                for (name, input) in case["inputs"].as_object().unwrap() {
                    assert!(package.manifest.inputs.get(name).is_some(), "{id}: {name}");
                    assert!(input["shape"].is_array() && input["data"]["kind"].is_string(), "{input}");
                }
            }
            assert!(tests["cases"][0]["outputs"].to_string().contains("\"tolerance\":0.0001"), "{tests}");
        }
    }
}
