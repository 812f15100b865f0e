//! Checks that conversions of the committed archives equal transformers' own, byte for byte;
//! `fixtures/convert/README.md` says how those were made.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clipseg::{ClipSegConfig, ImageSize, PreprocessorConfig};
use clipseg_convert::{Report, Request, WeightType, convert};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

fn fixture(name: &str) -> PathBuf {
    clipseg_testing::fixture("convert").join(name)
}

/// A conversion into a temporary folder.
struct Converted {
    folder: TempDir,
    report: Report,
}

/// Converts `source`, with the options that a user would give.
fn run(source: &str, clip: Option<&str>, config: Option<&str>, weights: WeightType) -> Converted {
    let folder = tempfile::tempdir().unwrap();
    let [clip, config] = [clip, config].map(|name| name.map(fixture));
    let report = convert(
        &Request {
            source: &fixture(source),
            out: &folder.path().join("out"),
            clip: clip.as_deref(),
            config: config.as_deref(),
            tokenizer: None,
            weights,
        },
        &mut |_, _| {},
    );
    Converted { report: report.unwrap_or_else(|error| panic!("{source}: {error}")), folder }
}

impl Converted {
    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn weights(&self) -> Vec<u8> {
        fs::read(self.out().join("model.safetensors")).unwrap()
    }
}

/// One tensor of transformers' conversion.
#[derive(Deserialize)]
struct Expected {
    shape: Vec<usize>,
    /// Checksum of its numbers as f32.
    sha256: String,
}

fn expected(case: &str) -> BTreeMap<String, Expected> {
    serde_json::from_slice(&fs::read(fixture(case).join("expected.json")).unwrap()).unwrap()
}

/// Names of the tensors that differ between a weights file and transformers' conversion.
fn differences(weights: &[u8], expected: &BTreeMap<String, Expected>) -> Vec<String> {
    let weights = SafeTensors::deserialize(weights).unwrap();
    let mut names: Vec<_> = weights.names().into_iter().chain(expected.keys().map(String::as_str)).collect();
    names.sort_unstable();
    names.dedup();
    let differs = |name: &&str| {
        let (Ok(found), Some(expected)) = (weights.tensor(name), expected.get(*name)) else { return true };
        let digest: String = Sha256::digest(found.data()).iter().map(|byte| format!("{byte:02x}")).collect();
        found.dtype() != Dtype::F32 || found.shape() != expected.shape || digest != expected.sha256
    };
    names.into_iter().filter(differs).map(str::to_owned).collect()
}

fn no_differences() -> Vec<String> {
    Vec::new()
}

#[test]
fn a_decoder_with_openais_torchscript_archive() {
    let converted = run("published/rd16-uni.pth", Some("published/ViT-B-16.pt"), None, WeightType::F32);
    assert_eq!(differences(&converted.weights(), &expected("published")), no_differences());
    assert_eq!(converted.report.left_out, ["reduce.bias", "reduce.weight"]);
    assert!(!converted.report.has_tokenizer);
    let assumed = &converted.report.assumed[0];
    assert_eq!((assumed.setting, assumed.value.as_str()), ("extract_layers", "[3, 6, 9]"));

    let config = ClipSegConfig::from_file(converted.out()).unwrap();
    assert_eq!(config.extract_layers, [3, 6, 9]);
    assert_eq!((config.reduce_dim, config.projection_dim, config.decoder_intermediate_size), (16, 24, 28));
    assert!(!config.use_complex_transposed_convolution);
    assert_eq!(config.extra["torch_dtype"], "float32");
    let vision = config.vision_config;
    assert_eq!((vision.patch_size, vision.image_size, vision.num_hidden_layers), (16, 32, 10));
    let text = config.text_config;
    assert_eq!((text.vocab_size, text.max_position_embeddings, text.eos_token_id), (56, 12, 55));
}

#[test]
fn a_decoder_with_a_plain_state_dict() {
    let (clip, config) = (Some("unusual/clip-state-dict.pt"), Some("unusual/config.json"));
    let converted = run("unusual/rd64-uni-refined.pth", clip, config, WeightType::F32);
    assert_eq!(differences(&converted.weights(), &expected("unusual")), no_differences());
    assert!(converted.report.assumed.is_empty(), "the caller gave a config");
    let mut config = ClipSegConfig::from_file(converted.out()).unwrap();
    let mut given = ClipSegConfig::from_file(fixture("unusual/config.json")).unwrap();
    for config in [&mut config, &mut given] {
        config.extra.clear();
    }
    assert_eq!(config, given, "all that transformers knew is found again");
}

#[test]
fn decoder_and_clip_in_one_file() {
    let converted = run("unusual/clip-plus-decoder.pth", None, Some("unusual/config.json"), WeightType::F32);
    assert_eq!(differences(&converted.weights(), &expected("unusual")), no_differences());
}

/// The weights include one with unusual strides, one in a larger storage, and one that uses every other
/// number.
#[test]
fn transformers_own_file_and_its_shards() {
    let expected = expected("unusual");
    let whole = run("hub", None, None, WeightType::F32);
    // The buffers are kept unchanged; today's transformers does not have them.
    let buffers: Vec<_> = ["text", "vision"]
        .iter()
        .map(|tower| format!("clip.{tower}_model.embeddings.position_ids"))
        .collect();
    assert_eq!(differences(&whole.weights(), &expected), buffers);
    let sharded = run("hub-sharded", None, None, WeightType::F32);
    assert_eq!(differences(&sharded.weights(), &expected), no_differences());
    let by_index = run("hub-sharded/pytorch_model.bin.index.json", None, None, WeightType::F32);
    assert_eq!(by_index.weights(), sharded.weights());
}

/// What the model in config.json does not have is neither written nor read, and is named.
#[test]
fn tensors_of_no_use_are_left_out_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let config = fs::read_to_string(fixture("hub").join("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
    config["text_config"]["num_hidden_layers"] = 2.into();
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let request = Request {
        source: &fixture("hub"),
        out: &folder.path().join("out"),
        clip: None,
        config: Some(folder.path()),
        tokenizer: None,
        weights: WeightType::F32,
    };
    let report = convert(&request, &mut |_, _| {}).unwrap();
    let whole = run("hub", None, None, WeightType::F32).report;
    assert_eq!(whole.left_out, no_differences());
    assert_eq!((report.left_out.len(), report.tensors + 16), (16, whole.tensors));
    let layer = "clip.text_model.encoder.layers.2.";
    assert!(report.left_out.iter().all(|name| name.starts_with(layer)), "{:?}", report.left_out);
    let written = fs::read(folder.path().join("out/model.safetensors")).unwrap();
    let written = SafeTensors::deserialize(&written).unwrap();
    assert!(written.names().iter().all(|name| !name.starts_with(layer)));
}

/// DataParallel around a compiled model that contains a compiled CLIP: `module._orig_mod.clip._orig_mod.…`.
#[test]
fn what_training_had_put_around_the_model_is_taken_off() {
    let wrapped = run("wrapped", None, None, WeightType::F32);
    assert_eq!(differences(&wrapped.weights(), &expected("unusual")), no_differences());
    assert_eq!(wrapped.report.wrappers, ["_orig_mod", "module"]);
    assert!(run("hub", None, None, WeightType::F32).report.wrappers.is_empty());
}

/// transformers 5 saves the processor's settings in another file; the conversion writes them to the file that
/// all releases read.
#[test]
fn the_settings_of_transformers_5_are_kept() {
    let source = tempfile::tempdir().unwrap();
    for name in ["config.json", "pytorch_model.bin"] {
        fs::copy(fixture("hub").join(name), source.path().join(name)).unwrap();
    }
    let out = source.path().join("out");
    let settings = r#"{"image_processor": {"size": {"height": 24, "width": 24}, "do_center_crop": null}}"#;
    fs::write(source.path().join("processor_config.json"), settings).unwrap();
    let request = Request {
        source: source.path(),
        out: &out,
        clip: None,
        config: None,
        tokenizer: None,
        weights: WeightType::F32,
    };
    convert(&request, &mut |_, _| {}).unwrap();
    let written = PreprocessorConfig::from_file(out.join("preprocessor_config.json")).unwrap();
    assert_eq!(written, PreprocessorConfig::from_file(source.path()).unwrap());
    assert_eq!(written.size, ImageSize::Sides { height: 24, width: 24 });
}

/// What is safetensors already can be halved, freed of what training put into its names, and read from f64.
#[test]
fn safetensors_are_converted_too() {
    let whole = run("hub", None, None, WeightType::F32);
    let bytes = whole.weights();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::copy(fixture("hub").join("config.json"), folder.path().join("config.json")).unwrap();
    let source = folder.path().join("model.safetensors");
    let mut runs = 0;
    let mut run = |source: &Path, weights: WeightType| {
        runs += 1;
        let out = folder.path().join(format!("out-{runs}"));
        let request = Request { source, out: &out, clip: None, config: None, tokenizer: None, weights };
        let report = convert(&request, &mut |_, _| {}).unwrap();
        (fs::read(out.join("model.safetensors")).unwrap(), report)
    };

    fs::write(&source, &bytes).unwrap();
    assert!(run(folder.path(), WeightType::F32).0 == bytes, "nothing is to be changed");
    let half = self::run("hub", None, None, WeightType::F16).weights();
    assert!(run(folder.path(), WeightType::F16).0 == half);
    assert!(run(&source, WeightType::F16).0 == half);

    let wrapped = tensors.iter().map(|(name, view)| (format!("module.{name}"), view));
    fs::write(&source, safetensors::serialize(wrapped, None).unwrap()).unwrap();
    let (written, report) = run(folder.path(), WeightType::F32);
    assert!(written == bytes);
    assert_eq!(report.wrappers, ["module"]);

    let doubles = tensors.iter().filter(|(_, view)| view.dtype() == Dtype::F32).map(|(name, view)| {
        let numbers = view.data().as_chunks().0.iter().map(|&number| f32::from_le_bytes(number));
        let doubles: Vec<u8> = numbers.flat_map(|number| f64::from(number).to_le_bytes()).collect();
        (name, view.shape().to_vec(), doubles)
    });
    let doubles: Vec<_> = doubles.collect();
    let doubles = doubles
        .iter()
        .map(|(name, shape, bytes)| (*name, TensorView::new(Dtype::F64, shape.clone(), bytes).unwrap()));
    fs::write(&source, safetensors::serialize(doubles, None).unwrap()).unwrap();
    let written = run(folder.path(), WeightType::F32).0;
    assert_eq!(differences(&written, &expected("unusual")), no_differences());

    let (sharded, report) = run(&fixture("../models/tiny-sharded"), WeightType::F32);
    let sharded = SafeTensors::deserialize(&sharded).unwrap();
    assert_eq!((sharded.len(), report.left_out.len()), (report.tensors, 0));
}

/// The comparison itself must find differences.
#[test]
fn a_flipped_bit_a_missing_and_an_unknown_tensor_are_differences() {
    let mut weights = run("hub-sharded", None, None, WeightType::F32).weights();
    let mut expected = expected("unusual");
    // The last tensor by name is also the last in the file, because all are f32.
    *weights.last_mut().unwrap() ^= 1;
    assert_eq!(differences(&weights, &expected), ["decoder.transposed_convolution.4.weight"]);
    let scale = expected.remove("clip.logit_scale").unwrap();
    assert_eq!(differences(&weights, &expected).len(), 2);
    expected.insert("clip.logit_scale".to_owned(), Expected { shape: vec![1], ..scale });
    assert_eq!(differences(&weights, &expected).len(), 2);
    expected.insert("unknown".to_owned(), Expected { shape: Vec::new(), sha256: String::new() });
    assert_eq!(differences(&weights, &expected).len(), 3);
}

#[test]
fn half_weights_are_the_rounded_ones() {
    let half = run("hub", None, None, WeightType::F16);
    let (half_bytes, full_bytes) = (half.weights(), run("hub", None, None, WeightType::F32).weights());
    let (halves, full) =
        (SafeTensors::deserialize(&half_bytes).unwrap(), SafeTensors::deserialize(&full_bytes).unwrap());
    for (name, found) in halves.tensors() {
        let full = full.tensor(&name).unwrap();
        if full.dtype() == Dtype::I64 {
            assert_eq!(found.data(), full.data());
            continue;
        }
        assert_eq!((found.dtype(), found.shape()), (Dtype::F16, full.shape()), "{name}");
        let rounded = full
            .data()
            .as_chunks()
            .0
            .iter()
            .flat_map(|&number| half::f16::from_f32(f32::from_le_bytes(number)).to_le_bytes());
        assert!(found.data().iter().copied().eq(rounded), "{name}");
    }
    let config = ClipSegConfig::from_file(half.out()).unwrap();
    assert_eq!(config.extra["torch_dtype"], "float16");
}
