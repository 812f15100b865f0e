//! Checks that what cannot be converted is refused by name, and that nothing is left behind.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::PathBuf;

use clipseg_convert::{Request, WeightType, convert};
use clipseg_testing::fixture;
use rawzip::{CompressionMethod, Crc32Option};
use support::{archive, archive_as, archive_of, entries};
use tempfile::TempDir;

/// The arguments of a conversion; each test breaks one of them.
struct Case {
    folder: TempDir,
    source: PathBuf,
    clip: Option<PathBuf>,
    config: Option<PathBuf>,
    tokenizer: Option<PathBuf>,
}

impl Case {
    fn of(source: PathBuf) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), source, clip: None, config: None, tokenizer: None }
    }

    /// A case whose source is a file of these bytes.
    fn with_bytes(name: &str, bytes: &[u8]) -> Self {
        let mut case = Self::of(PathBuf::new());
        case.source = case.folder.path().join(name);
        fs::write(&case.source, bytes).unwrap();
        case
    }

    fn run(&self) -> Result<(), String> {
        let request = Request {
            source: &self.source,
            out: &self.folder.path().join("a/out"),
            clip: self.clip.as_deref(),
            config: self.config.as_deref(),
            tokenizer: self.tokenizer.as_deref(),
            weights: WeightType::F32,
        };
        convert(&request, &mut |_, _| {}).map(|_| ()).map_err(|error| error.to_string())
    }

    /// Asserts that the conversion is refused with all of these words, and that nothing is written.
    fn refused(&self, words: &[&str]) {
        let message = self.run().expect_err("should be refused");
        for word in words {
            assert!(message.contains(word), "{word:?} is not in: {message}");
        }
        assert!(!self.folder.path().join("a").exists(), "something is left behind: {message}");
    }
}

/// A fixture's archive with each `from` in it replaced.
fn changed(name: &str, from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut entries = entries(&fixture(name));
    let mut changes = 0;
    for (_, bytes) in &mut entries {
        while let Some(start) = bytes.windows(from.len()).position(|part| part == from) {
            bytes.splice(start..start + from.len(), to.iter().copied());
            changes += 1;
        }
    }
    assert!(changes > 0, "{name} has none of these");
    archive_of(&entries)
}

/// A state dict with one tensor `w` of two f32 numbers.
const PROGRAM: &[u8] = b"\x80\x02}X\x01\0\0\0wctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\n\
    FloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x02tQK\0K\x02\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtRs.";

#[test]
fn a_program_that_asks_for_more_than_tensors() {
    let program = b"\x80\x02cposix\nsystem\nX\x0d\0\0\0touch /tmp/pwn\x85R.";
    for more in ["constants.pkl", "version"] {
        let bytes = archive(&[("m/data.pkl", program), (&format!("m/{more}"), b")")]);
        Case::with_bytes("weights.pth", &bytes).refused(&["weights.pth", "posix.system", "refused"]);
    }
}

#[test]
fn files_that_are_no_archives_of_pytorch() {
    Case::with_bytes("old.pth", b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.")
        .refused(&["before 1.6", "torch.save"]);
    Case::with_bytes("page.pth", b"<!DOCTYPE html>")
        .refused(&["page.pth is a web page", "download the file again"]);
    Case::with_bytes("empty.pth", b"").refused(&["empty.pth is empty", "download it again"]);
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 603000000\n";
    for name in ["pytorch_model.bin", "pytorch_model.bin.index.json"] {
        Case::with_bytes(name, pointer).refused(&[name, "is a Git LFS pointer", "git lfs pull"]);
    }
    Case::with_bytes("text.pth", b"Entry not found").refused(&["text.pth is not a file of PyTorch"]);
    Case::with_bytes("error.pth", br#"{"error":"Repository not found"}"#).refused(&[
        "error.pth is an error's message",
        "Repository not found",
        "download it again",
    ]);
    Case::with_bytes("model.safetensors", b"\x02\0\0\0\0\0\0\0{}").refused(&["holds no CLIPSeg"]);
    Case::with_bytes("model.safetensors", b"\x09\0\0\0\0\0\0\0{").refused(&["is truncated"]);
    Case::with_bytes("cut.pth", b"PK\x03\x04").refused(&["not a whole zip"]);
    Case::with_bytes("weights.zip", &archive(&[("rd64-uni.pth", b"PK")])).refused(&["no data.pkl", "unpack"]);
    let two = archive(&[("a/data.pkl", PROGRAM), ("b/data.pkl", PROGRAM)]);
    Case::with_bytes("two.pth", &two).refused(&["several data.pkl"]);
    let twice = archive(&[("a/data.pkl", PROGRAM), ("a/data.pkl", PROGRAM)]);
    Case::with_bytes("twice.pth", &twice).refused(&["two entries"]);
    Case::of(PathBuf::from("/no/such/file.pth")).refused(&["/no/such/file.pth", "cannot read"]);
}

#[test]
fn an_adapter_is_not_applied_but_what_applies_it_is_said() {
    let words = ["lora_A", "which are not applied here", "merge_and_unload", "clipseg convert"];
    Case::of(fixture("convert/adapter_model.bin")).refused(&words);
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("adapter_config.json"), "{}").unwrap();
    Case::of(folder.path().to_owned()).refused(&["adapter_config.json", "merge_and_unload"]);
}

#[test]
fn storages_that_lie() {
    let with = |data: &[u8]| archive(&[("m/data.pkl", PROGRAM), ("m/data/0", data)]);
    // The archive itself is sound, and refused only because it does not contain a CLIPSeg.
    Case::with_bytes("w.pth", &with(&[0; 8])).refused(&["holds no CLIPSeg", "\"w\""]);
    Case::with_bytes("w.pth", &with(&[0; 4])).refused(&["m/data/0 of 4 bytes", "take 8", "`w`"]);
    Case::with_bytes("w.pth", &with(&[0; 9])).refused(&["m/data/0 of 9 bytes"]);
    Case::with_bytes("w.pth", &archive(&[("m/data.pkl", PROGRAM)])).refused(&["no entry m/data/0"]);
    let big = archive(&[("m/data.pkl", PROGRAM), ("m/data/0", &[0; 8]), ("m/byteorder", b"big")]);
    Case::with_bytes("w.pth", &big).refused(&["big-endian"]);
    let deflated = archive_as(CompressionMethod::DEFLATE, Crc32Option::Calculate, &[("m/data.pkl", PROGRAM)]);
    Case::with_bytes("w.pth", &deflated).refused(&["m/data.pkl compressed"]);

    // The directory at the end claims four gigabytes for the storage; its entry is the last.
    let mut lying = with(&[0; 8]);
    let directory = lying.windows(4).rposition(|bytes| bytes == b"PK\x01\x02").unwrap();
    lying[directory + 20..directory + 28].copy_from_slice(&[0xfe; 8]);
    Case::with_bytes("w.pth", &lying).refused(&["claims", "m/data/0"]);
}

#[test]
fn a_damaged_number_is_noticed() {
    let mut bytes = fs::read(fixture("convert/hub/pytorch_model.bin")).unwrap();
    // The start of the second storage, far from the pickle before it and the directory after it.
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    let mut case = Case::with_bytes("pytorch_model.bin", &bytes);
    case.config = Some(fixture("convert/hub"));
    case.refused(&["pytorch_model.bin", "damaged entry"]);
}

/// Such a folder would be written, and no command could load it.
#[test]
fn weights_that_are_whole_numbers() {
    // Storages of whole numbers that are as long.
    let (float, whole_number) = (&b"torch\nFloatStorage\n"[..], &b"torch\nIntStorage\n"[..]);
    let bytes = changed("convert/hub/pytorch_model.bin", float, whole_number);
    let mut case = Case::with_bytes("pytorch_model.bin", &bytes);
    case.config = Some(fixture("convert/hub"));
    case.refused(&["pytorch_model.bin", "tensor `clip.", "is stored as I32", "floating-point"]);
}

/// What CLIPDensePredT has with other arguments than the published ones.
#[test]
fn decoders_that_compute_something_else() {
    let text = |text: &str| [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat();
    for (name, argument) in [
        ("extra_blocks.0.linear1.weight", "with extra_blocks"),
        ("upsample_proj.weight", "with upsample"),
        ("reduce_cond.weight", "with reduce_cond"),
        ("shift_vector", "with fix_shift"),
    ] {
        let bytes = changed("convert/published/rd16-uni.pth", &text("reduce.weight"), &text(name));
        let mut case = Case::with_bytes("mine.pth", &bytes);
        case.clip = Some(fixture("convert/published/ViT-B-16.pt"));
        case.refused(&["mine.pth", &format!("tensor `{name}`"), "cannot compute", argument]);
    }
}

#[test]
fn an_output_that_is_not_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "kept").unwrap();
    for out in [file.clone(), file.join("within")] {
        let request = Request {
            source: &fixture("convert/hub"),
            out: &out,
            clip: None,
            config: None,
            tokenizer: None,
            weights: WeightType::F32,
        };
        let message = convert(&request, &mut |_, _| {}).unwrap_err().to_string();
        for word in ["--out", "file is not a folder; name one"] {
            assert!(message.contains(word), "{word:?} is not in: {message}");
        }
    }
    assert_eq!(fs::read(&file).unwrap(), b"kept");
}

/// A download cut off anywhere gives an error, not a panic.
#[test]
fn truncated_archives() {
    let whole = fs::read(fixture("convert/unusual/rd64-uni-refined.pth")).unwrap();
    for eighth in 0..8 {
        let case = Case::with_bytes("cut.pth", &whole[..whole.len() * eighth / 8]);
        case.refused(&["cut.pth"]);
    }
    Case::with_bytes("cut.pth", &whole[..whole.len() - 1]).refused(&["cut.pth"]);
}

#[test]
fn files_that_do_not_belong_together() {
    let decoder = || Case::of(fixture("convert/published/rd16-uni.pth"));
    decoder().refused(&["rd16-uni.pth", "decoder alone", "--clip", "ViT-B-16.pt"]);
    let with_clip = |clip: &str| Case { clip: Some(fixture(clip)), ..decoder() };
    with_clip("convert/published/rd16-uni.pth").refused(&["not a CLIP of OpenAI"]);
    with_clip("convert/unusual/clip-state-dict.pt").refused(&[
        "extract_layers = [3, 6, 9]",
        "layer 3 does not exist",
        "as published",
        "by --config",
    ]);
    let other = Case {
        config: Some(fixture("convert/unusual/config.json")),
        ..with_clip("convert/published/ViT-B-16.pt")
    };
    other.refused(&["3 blocks", "extract_layers = [0, 2]", "--config"]);

    Case::of(fixture("convert/published/ViT-B-16.pt")).refused(&["without a decoder", "--clip"]);
    let clip = Some(fixture("convert/published/ViT-B-16.pt"));
    let whole = fixture("convert/unusual/clip-plus-decoder.pth");
    Case { clip: clip.clone(), ..Case::of(whole) }.refused(&["CLIP of its own", "leave out --clip"]);
    Case { clip, ..Case::of(fixture("convert/hub")) }.refused(&["--clip", "holds its own CLIP"]);

    let hub = Case { config: Some(fixture("models/tiny-complex")), ..Case::of(fixture("convert/hub")) };
    hub.refused(&["clip.text_projection.weight", "[20, 24]", "[36, 40]"]);
    Case::of(fixture("photos")).refused(&["pytorch_model.bin"]);

    let folder = tempfile::tempdir().unwrap();
    fs::copy(fixture("convert/hub/pytorch_model.bin"), folder.path().join("pytorch_model.bin")).unwrap();
    let config = fs::read_to_string(fixture("convert/hub/config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
    config["extract_layers"] = vec![0, 99].into();
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let named = format!("{}: extract_layers", folder.path().join("config.json").display());
    Case::of(folder.path().to_owned()).refused(&[&named, "layer 99 does not exist"]);
}

#[test]
fn an_index_that_leaves_its_folder() {
    for (listed, words) in [
        ("../pytorch_model.bin", &["not a plain file name"][..]),
        ("/etc/passwd", &["not a plain file name"]),
        ("missing.bin", &["missing.bin is missing", "download"]),
    ] {
        let index = format!(r#"{{"weight_map": {{"a": "{listed}"}}}}"#);
        Case::with_bytes("pytorch_model.bin.index.json", index.as_bytes()).refused(words);
    }
    Case::with_bytes("pytorch_model.bin.index.json", b"[]").refused(&["not an index of shards"]);
}

#[test]
fn what_is_there_is_not_overwritten() {
    let case = Case::of(fixture("convert/hub"));
    case.run().unwrap();
    let message = case.run().unwrap_err();
    assert!(message.contains("config.json") && message.contains("already"), "{message}");
}

#[test]
fn a_tokenizer_is_copied_whole_or_refused() {
    let tokenizer = Some(fixture("clip-tokenizer"));
    let case = Case { tokenizer, ..Case::of(fixture("convert/hub")) };
    case.run().unwrap();
    for name in ["vocab.json", "merges.txt", "special_tokens_map.json", "tokenizer_config.json"] {
        let copied = fs::read(case.folder.path().join("a/out").join(name)).unwrap();
        assert!(copied == fs::read(fixture("clip-tokenizer").join(name)).unwrap(), "{name}");
    }
    Case { tokenizer: Some(fixture("photos")), ..Case::of(fixture("convert/hub")) }
        .refused(&["no tokenizer"]);
}
