//! Archives that PyTorch writes seldom: views that repeat what is stored, and no checksums.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::PathBuf;

use clipseg_convert::{Report, Request, WeightType, convert};
use clipseg_testing::fixture;
use rawzip::{CompressionMethod, Crc32Option};
use safetensors::SafeTensors;
use serde_json::Value;
use support::{archive, archive_as, archive_of, entries};
use tempfile::TempDir;

const SOURCE: &str = "convert/hub/pytorch_model.bin";

/// A folder with a changed `pytorch_model.bin`.
struct Changed {
    folder: TempDir,
    entries: Vec<(String, Vec<u8>)>,
    config: Value,
}

impl Changed {
    fn new() -> Self {
        let config = fs::read_to_string(fixture("convert/hub/config.json")).unwrap();
        let config = serde_json::from_str(&config).unwrap();
        Self { folder: tempfile::tempdir().unwrap(), entries: entries(&fixture(SOURCE)), config }
    }

    fn entry(&mut self, end: &str) -> &mut Vec<u8> {
        &mut self.entries.iter_mut().find(|(name, _)| name.ends_with(end)).unwrap().1
    }

    /// Replaces the first `from` behind the name of a tensor, in the pickle.
    fn replace(&mut self, tensor: &str, from: &[u8], to: &[u8]) {
        let program = self.entry("data.pkl");
        let find = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).position(|bytes| bytes == part);
        let start = find(program, tensor.as_bytes()).unwrap();
        let start = start + find(&program[start..], from).unwrap();
        program.splice(start..start + from.len(), to.iter().copied());
    }

    fn convert(&self) -> Result<Report, String> {
        self.convert_bytes(&archive_of(&self.entries))
    }

    fn convert_bytes(&self, bytes: &[u8]) -> Result<Report, String> {
        let source = self.folder.path().join("pytorch_model.bin");
        fs::write(&source, bytes).unwrap();
        fs::write(self.folder.path().join("config.json"), self.config.to_string()).unwrap();
        let request = Request {
            source: &source,
            out: &self.out(),
            clip: None,
            config: None,
            tokenizer: None,
            weights: WeightType::F32,
        };
        convert(&request, &mut |_, _| {}).map_err(|error| error.to_string())
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    /// The bytes of a tensor that was written.
    fn written(&self, name: &str) -> Vec<u8> {
        let bytes = fs::read(self.out().join("model.safetensors")).unwrap();
        SafeTensors::deserialize(&bytes).unwrap().tensor(name).unwrap().data().to_vec()
    }
}

/// `torch.zeros(1).expand(24)` in place of a bias.
#[test]
fn an_expanded_tensor_is_written_as_what_it_is() {
    let name = "clip.text_model.encoder.layers.0.layer_norm1.bias";
    let mut changed = Changed::new();
    changed.replace(name, b"K\x18t", b"K\x01t");
    changed.replace(name, b"K\x01\x85", b"K\x00\x85");
    let stored = changed.entry("/data/12");
    stored.truncate(4);
    let stored = stored.clone();
    changed.convert().unwrap();
    assert_eq!(changed.written(name), stored.repeat(24));
}

#[test]
fn an_expanded_tensor_that_the_model_does_not_need_stops_nothing() {
    let mut changed = Changed::new();
    changed.config["text_config"]["num_hidden_layers"] = 2.into();
    let name = "clip.text_model.encoder.layers.2.mlp.fc1.weight";
    // Of 5 · 10¹⁰ numbers.
    changed.replace(name, b"K\x28K\x18\x86", b"J\xff\xff\xff\x7fK\x18\x86");
    changed.replace(name, b"K\x18K\x01\x86", b"K\x00K\x01\x86");
    let report = changed.convert().unwrap();
    assert!(report.left_out.iter().any(|left_out| left_out == name), "{:?}", report.left_out);
}

/// A small file whose configuration too asks for gigabytes.
#[test]
fn what_is_repeated_without_end_is_refused_by_name() {
    let mut changed = Changed::new();
    changed.config["text_config"]["vocab_size"] = (1 << 24).into();
    let name = "clip.text_model.embeddings.token_embedding.weight";
    changed.replace(name, b"K\x28K\x18\x86", b"J\x00\x00\x00\x01K\x18\x86");
    changed.replace(name, b"K\x18K\x01\x86", b"K\x00K\x01\x86");
    let message = changed.convert().unwrap_err();
    for words in [&format!("tensor `{name}` is an expanded view")[..], "[16777216, 24]", ".contiguous()"] {
        assert!(message.contains(words), "{words} is not in: {message}");
    }
    assert!(!changed.out().exists());
}

/// `torch.serialization.set_crc32_options(False)`.
#[test]
fn files_without_checksums_are_read() {
    let changed = Changed::new();
    let parts: Vec<_> = changed.entries.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).collect();
    let without = archive_as(CompressionMethod::STORE, Crc32Option::Skip, &parts);
    assert_eq!(without.len(), archive(&parts).len());
    changed.convert_bytes(&without).unwrap();
    let name = "decoder.film_mul.bias";
    let bytes = changed.written(name);
    fs::remove_dir_all(changed.out()).unwrap();
    changed.convert_bytes(&archive(&parts)).unwrap();
    assert_eq!(changed.written(name), bytes);

    // A file that was cut off is noticed all the same.
    fs::remove_dir_all(changed.out()).unwrap();
    assert!(changed.convert_bytes(&without[..without.len() - 1]).is_err());
    let mut shorter = without.clone();
    shorter.drain(1000..1001);
    assert!(changed.convert_bytes(&shorter).is_err());
}
