//! Reading weights: from single, sharded, converted and damaged files, and from memory.

use std::collections::HashMap;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use clipseg_clip::{Checkpoint, Error, StandIn};
use half::{bf16, f16};
use proptest::prelude::*;
use safetensors::Dtype;
use safetensors::tensor::{TensorView, serialize_to_file};
use tempfile::TempDir;

/// A tensor to write: name, type, shape, bytes.
type Stored<'a> = (&'a str, Dtype, Vec<usize>, Vec<u8>);

fn f32s<'a>(name: &'a str, values: &[f32]) -> Stored<'a> {
    (name, Dtype::F32, vec![values.len()], values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

fn write(path: &Path, tensors: &[Stored]) {
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        (*name, TensorView::new(*dtype, shape.clone(), bytes).expect("test tensors are consistent"))
    });
    serialize_to_file(views, None::<HashMap<String, String>>, path).unwrap();
}

fn folder_with(tensors: &[Stored]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("model.safetensors"), tensors);
    folder
}

fn error_of(folder: &TempDir) -> String {
    Checkpoint::open(folder.path()).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn floats_are_read_and_halves_converted() {
    let values = [1.0_f32, -0.5, 65504.0, 3.0e-5];
    let halves = values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect();
    let brains = values.iter().flat_map(|&v| bf16::from_f32(v).to_le_bytes()).collect();
    // As 0.1, which rounding to f32 changes.
    let doubles = [1.0_f64, 0.1, -65504.0, 1e-300].iter().flat_map(|v| v.to_le_bytes()).collect();
    let folder = folder_with(&[
        f32s("f32", &values),
        ("f16", Dtype::F16, vec![2, 2], halves),
        ("bf16", Dtype::BF16, vec![4], brains),
        ("f64", Dtype::F64, vec![4], doubles),
        ("scalar", Dtype::F32, vec![], 2.6592_f32.to_le_bytes().to_vec()),
        ("ids", Dtype::I64, vec![1], vec![0; 8]),
    ]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["bf16", "f16", "f32", "f64", "ids", "scalar"]);
    assert!(checkpoint.contains("f16") && !checkpoint.contains("f8"));

    let f32_view = checkpoint.tensor("f32", &[4]).unwrap();
    assert_eq!(f32_view.to_f32().unwrap(), values);
    let f16_view = checkpoint.tensor("f16", &[2, 2]).unwrap();
    assert_eq!((f16_view.dtype(), f16_view.shape(), f16_view.len()), (Dtype::F16, [2, 2].as_slice(), 4));
    assert_eq!(f16_view.to_f32().unwrap(), values.map(|v| f16::from_f32(v).to_f32()));
    let bf16_view = checkpoint.tensor("bf16", &[4]).unwrap();
    assert_eq!(bf16_view.to_f32().unwrap(), values.map(|v| bf16::from_f32(v).to_f32()));
    let f64_view = checkpoint.tensor("f64", &[4]).unwrap();
    assert_eq!(f64_view.to_f32().unwrap(), [1.0, 0.1, -65504.0, 0.0]);
    assert_eq!(checkpoint.tensor("scalar", &[]).unwrap().to_f32().unwrap(), [2.6592]);
}

#[test]
fn a_tensor_that_does_not_fit_is_named() {
    let folder = folder_with(&[f32s("a.weight", &[0.0; 6]), ("a.ids", Dtype::I64, vec![1], vec![0; 8])]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let missing = checkpoint.tensor("a.bias", &[3]).unwrap_err();
    assert!(matches!(&missing, Error::MissingTensor { name, .. } if name == "a.bias"));
    assert!(missing.to_string().contains("tensor `a.bias` is missing (expected shape [3])"), "{missing}");
    let shape = checkpoint.tensor("a.weight", &[2, 3]).unwrap_err().to_string();
    assert!(shape.contains("`a.weight` has shape [6], but config.json implies [2, 3]"), "{shape}");
    let dtype = checkpoint.tensor("a.ids", &[1]).unwrap_err().to_string();
    assert!(dtype.contains("`a.ids` is stored as I64; weights must be F32, F16, BF16 or F64"), "{dtype}");
    assert_eq!(checkpoint.get("a.ids").unwrap().bytes().unwrap(), [0; 8]);
}

#[test]
fn the_prefix_of_clip_is_found() {
    for (tensor, prefix) in [
        ("clip.text_model.final_layer_norm.bias", "clip."),
        ("clip.vision_model.embeddings.class_embedding", "clip."),
        ("text_model.final_layer_norm.bias", ""),
        ("vision_model.embeddings.class_embedding", ""),
        // A single tower, as transformers 5.6 and later save it.
        ("embeddings.token_embedding.weight", ""),
        ("embeddings.class_embedding", ""),
    ] {
        let folder = folder_with(&[f32s("a", &[1.0]), f32s(tensor, &[1.0]), f32s("z", &[1.0])]);
        assert_eq!(Checkpoint::open(folder.path()).unwrap().clip_prefix().unwrap(), prefix);
    }
    for (tensor, words) in [
        ("module._orig_mod.clip.logit_scale", ["`module.`", "save_pretrained"]),
        (
            "base_model.model.clip.text_model.encoder.layers.0.q_proj.lora_A.weight",
            ["lora_A", "merge_and_unload"],
        ),
    ] {
        let folder = folder_with(&[f32s(tensor, &[1.0])]);
        let error = Checkpoint::open(folder.path()).unwrap().clip_prefix().unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
    let folder = folder_with(&[f32s("bert.text", &[1.0])]);
    let error = Checkpoint::open(folder.path()).unwrap().clip_prefix().unwrap_err().to_string();
    assert!(error.contains("holds no CLIP") && error.contains("bert.text"), "{error}");
}

#[test]
fn a_value_that_is_no_number_is_named_with_its_tensor_and_place() {
    let bytes = |values: &[f32], convert: fn(f32) -> u16| -> Vec<u8> {
        values.iter().flat_map(|&value| convert(value).to_le_bytes()).collect()
    };
    for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        // More values than are read at once, with the wrong one in the last block.
        let mut values: Vec<f32> = (0..70_000).map(|n| (n % 7) as f32).collect();
        values[69_999] = wrong;
        let halves = bytes(&values, |value| f16::from_f32(value).to_bits());
        let brains = bytes(&values, |value| bf16::from_f32(value).to_bits());
        let mut floats = f32s("clip.vision_model.pre_layrnorm.weight", &values);
        floats.2 = vec![7, 10_000];
        let folder = folder_with(&[
            floats,
            ("f16", Dtype::F16, vec![70_000], halves),
            ("bf16", Dtype::BF16, vec![7, 100, 100], brains),
            ("scalar", Dtype::F32, vec![], wrong.to_le_bytes().to_vec()),
            // More than f32 can hold, which is not finite there.
            ("f64", Dtype::F64, vec![2], [0.0_f64, 1e300].iter().flat_map(|v| v.to_le_bytes()).collect()),
            f32s("good", &[f32::MAX, f32::MIN, 1e-45]),
        ]);
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        let too_large = checkpoint.get("f64").unwrap().to_f32().unwrap_err();
        assert!(matches!(too_large, Error::NotFinite { position, .. } if position == [1]));
        let not_finite = |name: &str| match checkpoint.get(name).unwrap().to_f32().unwrap_err() {
            Error::NotFinite { name, value, position, count, .. } => {
                assert_eq!(value.to_bits() & 0x7fc0_0000, wrong.to_bits() & 0x7fc0_0000);
                (name, position, count)
            }
            other => panic!("{other}"),
        };
        let layer_norm = "clip.vision_model.pre_layrnorm.weight";
        assert_eq!(not_finite(layer_norm), (layer_norm.to_owned(), vec![6, 9_999], 1));
        assert_eq!(not_finite("f16").1, [69_999]);
        assert_eq!(not_finite("bf16").1, [6, 99, 99]);
        assert!(not_finite("scalar").1.is_empty());
        checkpoint.get("good").unwrap().to_f32().unwrap();
        let message = checkpoint.get(layer_norm).unwrap().to_f32().unwrap_err().to_string();
        assert!(
            message.contains("model.safetensors: tensor `clip.vision_model.pre_layrnorm.weight` holds"),
            "{message}"
        );
    }
}

#[test]
fn what_a_failed_download_left_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 603000000\n";
    let error = r#"{"error":"Repository not found"}"#;
    for (text, stand_in, next_step) in [
        (pointer, StandIn::LfsPointer, "git lfs pull"),
        ("\n<!doctype html>\n<title>Sign in</title>", StandIn::WebPage, "download the file again"),
        ("", StandIn::Empty, "download it again"),
        (error, StandIn::ErrorMessage(error.to_owned()), "download it again"),
    ] {
        for name in ["model.safetensors", "model.safetensors.index.json"] {
            std::fs::write(folder.path().join(name), text).unwrap();
            let error = Checkpoint::open(folder.path()).map(|_| ()).unwrap_err();
            assert!(
                matches!(&error, Error::StandIn { stand_in: found, .. } if *found == stand_in),
                "{error:?}"
            );
            let message = error.to_string();
            assert!(message.contains(&format!("{name} is")) && message.contains(next_step), "{message}");
            std::fs::remove_file(folder.path().join(name)).unwrap();
        }
    }
}

#[test]
fn shards_are_joined_by_their_index() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    write(&path("one.safetensors"), &[f32s("a", &[1.0]), f32s("b", &[2.0])]);
    let index = |map: &str| std::fs::write(path("model.safetensors.index.json"), map).unwrap();

    index(
        r#"{"metadata":{"total_size":12},"weight_map":{"a":"one.safetensors","b":"one.safetensors","c":"two.safetensors"}}"#,
    );
    let missing = error_of(&folder);
    assert!(missing.contains("two.safetensors is missing"), "{missing}");

    write(&path("two.safetensors"), &[f32s("c", &[3.0])]);
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(checkpoint.tensor("c", &[1]).unwrap().to_f32().unwrap(), [3.0]);

    index(r#"{"weight_map":{"d":"two.safetensors"}}"#);
    assert!(error_of(&folder).contains("says that `d` is in two.safetensors, which does not hold it"));
    index(r#"{"weight_map":{"d":"../two.safetensors"}}"#);
    assert!(error_of(&folder).contains("not a plain file name"));
    index(r#"{"weights":{}}"#);
    assert!(error_of(&folder).contains("weight_map"));
}

#[test]
fn what_is_kept_in_memory_needs_no_file() {
    let folder = folder_with(&[f32s("a", &[1.0, 2.0]), f32s("b", &[3.0])]);
    let file = folder.path().join("model.safetensors");
    let opened = Checkpoint::open(folder.path()).unwrap();
    let kept = Checkpoint::open(folder.path()).unwrap().keep().unwrap();
    // Overwritten at the same length, so that reading the file again would give zeros, not an error.
    let length = std::fs::metadata(&file).unwrap().len() as usize;
    std::fs::write(&file, vec![0; length]).unwrap();
    let a = |checkpoint: &Checkpoint| checkpoint.tensor("a", &[2]).unwrap().to_f32().unwrap();
    assert_eq!((a(&opened), a(&kept)), (vec![0.0, 0.0], vec![1.0, 2.0]));
    assert_eq!(kept.keep().unwrap().tensor("b", &[1]).unwrap().to_f32().unwrap(), [3.0]);
    std::fs::write(&file, []).unwrap();
    let error = opened.keep().unwrap_err().to_string();
    assert!(error.contains("model.safetensors"), "{error}");
}

/// The bytes of a safetensors file.
fn bytes(tensors: &[Stored]) -> Vec<u8> {
    let folder = folder_with(tensors);
    std::fs::read(folder.path().join("model.safetensors")).unwrap()
}

/// Counts the bytes read from it.
struct Counting(Cursor<Vec<u8>>, Arc<AtomicUsize>);

impl Read for Counting {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.0.read(buffer)?;
        self.1.fetch_add(length, Ordering::Relaxed);
        Ok(length)
    }
}

impl Seek for Counting {
    fn seek(&mut self, position: SeekFrom) -> std::io::Result<u64> {
        self.0.seek(position)
    }
}

#[test]
fn weights_come_from_memory_and_readers_as_from_files() {
    let file = bytes(&[f32s("a", &[1.0, 2.0]), f32s("b", &[3.0])]);
    let length = file.len();
    let leaked: &'static [u8] = file.clone().leak();
    let count = Arc::new(AtomicUsize::new(0));
    let reader = Counting(Cursor::new(file.clone()), Arc::clone(&count));
    let reader = Checkpoint::from_reader("reader", reader).unwrap();
    for checkpoint in [
        Checkpoint::from_bytes("owned", file.clone()).unwrap(),
        Checkpoint::from_bytes("compiled in", leaked).unwrap(),
        Checkpoint::from_bytes("shared", Arc::<[u8]>::from(file)).unwrap(),
        reader.clone(),
    ] {
        assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(checkpoint.tensor("a", &[2]).unwrap().to_f32().unwrap(), [1.0, 2.0]);
        let label = checkpoint.path().display().to_string();
        let error = checkpoint.tensor("a", &[3]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{label}: tensor `a` has shape [2]")), "{error}");
        let error = checkpoint.tensor("c", &[3]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{label}: tensor `c` is missing")), "{error}");
    }
    // Once kept, the reader is not read again.
    count.store(0, Ordering::Relaxed);
    let kept = reader.keep().unwrap();
    for _ in 0..3 {
        assert_eq!(kept.tensor("b", &[1]).unwrap().to_f32().unwrap(), [3.0]);
    }
    assert_eq!(count.load(Ordering::Relaxed), length);
}

#[test]
fn damaged_memory_is_named_by_its_label() {
    let whole = bytes(&[f32s("a", &[1.0, 2.0])]);
    for length in 0..whole.len() {
        for checkpoint in [
            Checkpoint::from_bytes("my weights", whole[..length].to_vec()),
            Checkpoint::from_reader("my weights", Cursor::new(whole[..length].to_vec())),
        ] {
            let error = checkpoint.unwrap_err().to_string();
            assert!(error.starts_with("my weights"), "cut at {length}: {error}");
        }
    }
    // Memory that shrinks after it was opened gives an error too.
    struct Shrinks(Vec<u8>, AtomicUsize);
    impl AsRef<[u8]> for Shrinks {
        fn as_ref(&self) -> &[u8] {
            let is_open = self.1.fetch_add(1, Ordering::Relaxed) == 0;
            if is_open { &self.0 } else { &self.0[..self.0.len() - 1] }
        }
    }
    let checkpoint = Checkpoint::from_bytes("my weights", Shrinks(whole, AtomicUsize::new(0))).unwrap();
    let error = checkpoint.tensor("a", &[2]).unwrap().to_f32().unwrap_err();
    assert!(matches!(&error, Error::Read { .. }) && error.to_string().contains("my weights"), "{error}");
}

#[test]
fn shards_in_memory_are_joined_one_by_one() {
    let part = |label: &str, tensors: &[Stored]| Checkpoint::from_bytes(label, bytes(tensors)).unwrap();
    let (one, two) =
        (part("one", &[f32s("a", &[1.0]), f32s("c", &[3.0])]), part("two", &[f32s("b", &[2.0])]));
    let all = Checkpoint::from_shards("all", [one.clone(), two.clone()]).unwrap();
    assert_eq!(all.names().collect::<Vec<_>>(), ["a", "b", "c"]);
    for (name, value) in [("a", 1.0), ("b", 2.0), ("c", 3.0)] {
        assert_eq!(all.tensor(name, &[1]).unwrap().to_f32().unwrap(), [value]);
    }
    let error = all.tensor("b", &[7]).unwrap_err().to_string();
    assert!(error.starts_with("two: "), "{error}");
    let error = all.tensor("d", &[7]).unwrap_err().to_string();
    assert!(error.starts_with("all: "), "{error}");
    let three = Checkpoint::from_shards("three", [all, part("third", &[f32s("d", &[4.0])])]).unwrap();
    assert_eq!(three.tensor("d", &[1]).unwrap().to_f32().unwrap(), [4.0]);
    assert_eq!(three.tensor("b", &[1]).unwrap().to_f32().unwrap(), [2.0]);
    let error = Checkpoint::from_shards("all", [one, two.clone(), two]).unwrap_err().to_string();
    assert_eq!(error, "two: has the tensor `b`, which two has too");
    assert_eq!(Checkpoint::from_shards("none", []).unwrap().names().count(), 0);
}

#[test]
fn missing_weights_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    assert!(error_of(&folder).contains("the folder has no weights"));
    std::fs::write(folder.path().join("pytorch_model.bin"), b"PK").unwrap();
    let pickled = error_of(&folder);
    assert!(pickled.contains("pytorch_model.bin alone") && pickled.contains("clipseg convert"), "{pickled}");
    let nowhere = Checkpoint::open(folder.path().join("nowhere")).unwrap_err().to_string();
    assert!(nowhere.contains("cannot read") && nowhere.contains("nowhere"), "{nowhere}");
}

#[test]
fn damaged_files_are_named() {
    let folder = folder_with(&[f32s("a", &[1.0, 2.0])]);
    let file = folder.path().join("model.safetensors");
    let whole = std::fs::read(&file).unwrap();
    for length in 0..whole.len() {
        std::fs::write(&file, &whole[..length]).unwrap();
        assert!(error_of(&folder).contains("model.safetensors"), "cut at {length}");
    }
}

proptest! {
    /// Whichever byte of the header is wrong, opening gives an error, or a checkpoint that can be read
    /// without a panic.
    #[test]
    fn a_wrong_byte_never_panics(position in 0_usize..120, byte in any::<u8>()) {
        let folder = folder_with(&[f32s("a", &[1.0, 2.0]), f32s("b", &[3.0])]);
        let file = folder.path().join("model.safetensors");
        let mut bytes = std::fs::read(&file).unwrap();
        let position = position % bytes.len();
        bytes[position] = byte;
        std::fs::write(&file, bytes).unwrap();
        if let Ok(checkpoint) = Checkpoint::open(folder.path()) {
            for name in checkpoint.names() {
                let _ = checkpoint.get(name).map(|view| view.to_f32().map(|values| values.len()));
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), header in 0_u64..64) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("model.safetensors");
        std::fs::write(&file, &bytes).unwrap();
        let _ = Checkpoint::open(&file);
        std::fs::write(&file, [header.to_le_bytes().as_slice(), &bytes].concat()).unwrap();
        let _ = Checkpoint::open(&file);
    }
}
