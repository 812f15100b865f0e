//! Everything that can be wrong is refused by name, before anything is written.

use std::fs;

use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use crate::support::{Workspace, clipseg, fixture, refuse};

/// A PNG file of 45 bytes that claims 60000 × 60000 pixels, 10 GB.
const BOMB: &[u8] = b"\x89PNG\r\n\x1a\n\
    \0\0\0\x0dIHDR\0\0\xea\x60\0\0\xea\x60\x08\x02\0\0\0\x0f\xb0\xe2\x15\
    \0\0\0\0IDAT\x35\xaf\x06\x1e";

/// Refuses to segment `photo`, and to preprocess it.
fn refuse_photo(workspace: &Workspace, photo: &str, words: &[&str]) {
    let [model, photo, out] = ["model", photo, "out"].map(|name| workspace.argument(name));
    let words = [words, &[&photo]].concat();
    refuse(&["segment", "--model", &model, &photo, "-p", "a cat", "--out", &out], &words);
    refuse(&["preprocess", "--model", &model, &photo, "--out", &out], &words);
    assert!(!workspace.path("out").exists());
}

#[test]
fn a_missing_model_folder() {
    let workspace = Workspace::empty();
    fs::remove_dir(workspace.path("model")).unwrap();
    let model = workspace.argument("model");
    workspace.refuse_segment(&[], &[&model, "no such folder"]);
    refuse(&["tokenize", "--model", &model, "a cat"], &[&model, "no such folder"]);
    refuse(&["bench", "--model", &model], &[&model, "no such folder"]);
}

#[test]
fn missing_files() {
    for (name, word) in [
        ("config.json", "settings"),
        ("model.safetensors", "no weights"),
        ("preprocessor_config.json", "download"),
        ("merges.txt", "download both"),
    ] {
        let workspace = Workspace::tiny();
        fs::remove_file(workspace.path("model").join(name)).unwrap();
        workspace.refuse_segment(&[], &[name, "is missing", word]);
    }
    let workspace = Workspace::tiny();
    for name in ["vocab.json", "merges.txt"] {
        fs::remove_file(workspace.path("model").join(name)).unwrap();
    }
    workspace.refuse_segment(&[], &["tokenizer.json", "no tokenizer"]);
    refuse(&["tokenize", "--model", &workspace.argument("model"), "a cat"], &["no tokenizer"]);
}

#[test]
fn a_photo_that_is_none() {
    let workspace = Workspace::tiny();
    workspace.write("notes.png", b"not a picture at all");
    refuse_photo(&workspace, "notes.png", &["not a picture"]);
    refuse_photo(&workspace, "missing.png", &["cannot read"]);
    refuse_photo(&workspace, "model", &["folder"]);
    let photo = fs::read(fixture("photos/chelsea.png")).unwrap();
    workspace.write("half.png", &photo[..photo.len() / 2]);
    refuse_photo(&workspace, "half.png", &["damaged"]);
}

#[test]
fn a_photo_of_another_kind() {
    let workspace = Workspace::tiny();
    for (name, bytes, kind) in [
        ("photo.heic", &b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"[..], "a HEIC picture"),
        ("photo.jpg", b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf", "an AVIF picture"),
        ("photo.jxl", b"\xff\x0a\xfa\x7f", "a JPEG XL picture"),
    ] {
        workspace.write(name, bytes);
        refuse_photo(&workspace, name, &[kind, "convert it to an ordinary JPEG or PNG"]);
    }
    let lab = fs::read(fixture("processor/kinds/lab.tif")).unwrap();
    workspace.write("lab.tif", &lab);
    refuse_photo(&workspace, "lab.tif", &["L*a*b*", "save it as PNG"]);
}

#[test]
fn a_decompression_bomb() {
    let workspace = Workspace::tiny();
    workspace.write("bomb.png", BOMB);
    refuse_photo(&workspace, "bomb.png", &["60000 × 60000", "scale it down"]);
}

#[test]
fn an_empty_prompt() {
    let workspace = Workspace::tiny();
    workspace.refuse_segment(&["-p", " \t"], &["prompt 2 of 2 is empty"]);
    refuse(&["tokenize", "--model", &workspace.argument("model"), ""], &["prompt 1 of 1 is empty"]);
}

#[test]
fn impossible_windows_and_radii() {
    let workspace = Workspace::tiny();
    for (arguments, words) in [
        (["--scales", "1,0.5"], ["--scales", "0.5"]),
        (["--scales", "nan"], ["--scales", "NaN"]),
        (["--overlap", "0.9"], ["--overlap", "0.9"]),
        (["--overlap", "0.5"], ["--overlap", "add --scales"]),
        (["--matrix-units", "any"], ["--matrix-units", "add --precision f16"]),
        (["--matrix-units", "known"], ["--matrix-units", "add --precision f16"]),
        (["--logits", "cat.PNG"], ["--logits cat.PNG", ".safetensors"]),
        (["--logits", "out/chelsea-a-cat-probability.npy"], ["--logits", ".npy"]),
        (["--refine=0", "--json"], ["--refine", "radius"]),
        (["--refine=257", "--json"], ["--refine", "256"]),
    ] {
        workspace.refuse_segment(&arguments, &words);
    }
}

#[test]
fn safetensors_under_a_name_of_another_kind() {
    let workspace = Workspace::tiny();
    let photo = fixture("photos/chelsea.png");
    let [model, picture, json] = ["model", "pets.jpg", "pets.json"].map(|name| workspace.argument(name));
    for out in [&picture, &json] {
        let words = ["--out", out, "is written as safetensors", "let the name end in .safetensors"];
        refuse(&["encode-prompts", "--model", &model, "-p", "a cat", "--out", out], &words);
        refuse(&["preprocess", "--model", &model, photo.to_str().unwrap(), "--out", out], &words);
    }
}

#[test]
fn a_threshold_that_is_no_probability() {
    let workspace = Workspace::tiny();
    for threshold in ["1.5", "-0.1", "NaN", "inf"] {
        workspace.refuse_segment(&["--threshold", threshold], &["--threshold", threshold, "between 0 and 1"]);
    }
}

#[test]
fn a_simplification_that_is_none() {
    let workspace = Workspace::tiny();
    for pixels in ["-1", "NaN", "inf"] {
        let more = ["--save", "regions", "--simplify", pixels];
        workspace.refuse_segment(&more, &["--simplify", pixels, "0 or more"]);
    }
    workspace.refuse_segment(&["--simplify", "1"], &["--simplify 1", "add --save regions"]);
}

#[test]
fn an_adapter_that_is_not_there() {
    let workspace = Workspace::tiny();
    workspace.refuse_segment(&["--adapter", "no such card"], &["--adapter no such card", "there are: 0: "]);
    workspace.refuse_segment(&["--adapter", "99"], &["--adapter 99", "there are: 0: "]);
}

#[test]
fn an_output_folder_that_cannot_be_written() {
    let workspace = Workspace::tiny();
    workspace.write("taken", b"a file");
    let photo = fixture("photos/chelsea.png");
    let [model, taken] = ["model", "taken"].map(|name| workspace.argument(name));
    let below = format!("{taken}/below");
    let photo = photo.to_str().unwrap();
    for out in [&taken, &below] {
        refuse(&["segment", "--model", &model, photo, "-p", "a cat", "--out", out], &["--out", out]);
    }
    let out = workspace.argument("new");
    refuse(
        &["segment", "--model", &model, photo, "-p", "a cat", "--out", &out, "--logits", &out],
        &["--logits", &out, "is the folder of --out"],
    );
    assert!(!workspace.path("new").exists());
    // The message names the part of the path that is wrong.
    for (path, named) in [(workspace.argument(""), &workspace.argument("")), (below, &taken)] {
        refuse(
            &["segment", "--model", &model, photo, "-p", "a cat", "--logits", &path],
            &["--logits", named],
        );
        refuse(&["preprocess", "--model", &model, photo, "--out", &path], &["--out", named]);
    }
    #[cfg(unix)]
    for out in ["link", "link/below"] {
        let link = workspace.path("link");
        let _ = std::os::unix::fs::symlink("a disk that is not mounted", &link);
        let words = [link.to_str().unwrap(), "is a link that leads nowhere"];
        refuse(
            &["segment", "--model", &model, photo, "-p", "a cat", "--out", &workspace.argument(out)],
            &words,
        );
        fs::remove_file(link).unwrap();
    }
    assert_eq!(fs::read(workspace.path("taken")).unwrap(), b"a file");
    assert_eq!(workspace.files(""), ["model", "taken"]);
}

/// Errors of the outputs come before those of the weights, which here are not weights at all.
#[test]
fn cheap_checks_come_first() {
    let workspace = Workspace::tiny();
    workspace.write("model/model.safetensors", b"");
    workspace.write("out", b"a file");
    let arguments = workspace.segment();
    refuse(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), &["--out"]);
}

#[test]
fn weights_whose_file_contradicts_itself() {
    let workspace = Workspace::tiny();
    let whole = fs::read(workspace.path("model/model.safetensors")).unwrap();
    let mut lying = whole.clone();
    lying[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    for (bytes, word) in [
        (&whole[..whole.len() - 100], "truncated"),
        (&whole[..100], "truncated"),
        (&whole[..4], "it has 4 bytes"),
        (&[], "safetensors"),
        (&lying, "header length"),
    ] {
        workspace.write("model/model.safetensors", bytes);
        workspace.refuse_segment(&[], &["model.safetensors", word]);
    }
}

/// Rewrites the weights with one tensor in another shape, or left out.
fn replace_tensor(workspace: &Workspace, name: &str, shape: Option<&[usize]>) {
    let path = workspace.path("model/model.safetensors");
    let bytes = fs::read(&path).unwrap();
    let mut tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
    let place = tensors.iter().position(|(found, _)| found == name).unwrap();
    match shape {
        Some(shape) => {
            let view =
                TensorView::new(tensors[place].1.dtype(), shape.to_vec(), tensors[place].1.data()).unwrap();
            tensors[place].1 = view;
        }
        None => drop(tensors.swap_remove(place)),
    }
    fs::write(&path, safetensors::serialize(tensors, None).unwrap()).unwrap();
}

#[test]
fn a_tensor_that_is_missing_or_misshapen() {
    let name = "decoder.reduces.1.weight";
    let workspace = Workspace::tiny();
    replace_tensor(&workspace, name, None);
    workspace.refuse_segment(&[], &[name, "is missing", "[16, 48]"]);
    let workspace = Workspace::tiny();
    replace_tensor(&workspace, name, Some(&[48, 16]));
    workspace.refuse_segment(&[], &[name, "[48, 16]", "[16, 48]"]);
}

#[test]
fn weights_that_are_no_numbers() {
    let workspace = Workspace::tiny();
    let path = workspace.path("model/model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let (values, _) = bytes[8 + header..].as_chunks_mut::<4>();
    values.fill(f32::NAN.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    let model = workspace.argument("model");
    workspace.refuse_segment(&[], &[&model, "not finite numbers", "download them again"]);
}

/// They used to give a mask of nothing: ReLU made zero of NaN.
#[test]
fn weights_with_which_the_model_overflows() {
    let workspace = Workspace::tiny();
    let path = workspace.path("model/model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let tensors: serde_json::Value = serde_json::from_slice(&bytes[8..header]).unwrap();
    let [start, end] = [0, 1].map(|side| {
        header + tensors["decoder.reduces.0.weight"]["data_offsets"][side].as_u64().unwrap() as usize
    });
    bytes[start..end].as_chunks_mut::<4>().0.fill(3e38_f32.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    let model = workspace.argument("model");
    workspace.refuse_segment(&[], &[&model, "not finite numbers", "diverged"]);
    let photo = fixture("photos/chelsea.png");
    for folder in ["data/images", "data/masks"] {
        fs::create_dir_all(workspace.path(folder)).unwrap();
    }
    fs::copy(&photo, workspace.path("data/images/cat.png")).unwrap();
    let mask = image::GrayImage::from_pixel(451, 300, image::Luma([255]));
    mask.save(workspace.path("data/masks/mask.png")).unwrap();
    workspace.write("data/prompts.jsonl", br#"{"image": "cat.png", "text": "a cat", "mask": "mask.png"}"#);
    let data = workspace.argument("data");
    refuse(&["eval", "--model", &model, "--data", &data], &["not finite numbers"]);
}

#[test]
fn a_config_that_is_impossible() {
    for (from, to, words) in [
        (
            r#""num_attention_heads": 5"#,
            r#""num_attention_heads": 7"#,
            ["text_config.num_attention_heads = 7", "must divide"],
        ),
        ("\n    3\n", "\n    4\n", ["extract_layers = [0, 1, 4]", "layer 4 does not exist"]),
        (
            r#""conditional_layer": 0"#,
            r#""conditional_layer": 3"#,
            ["conditional_layer = 3", "extract_layers"],
        ),
        (r#""patch_size": 16"#, r#""patch_size": 0"#, ["patch_size = 0", "must lie"]),
        (r#""reduce_dim": 16"#, r#""reduce_dim": "wide""#, ["reduce_dim", "wide"]),
    ] {
        let workspace = Workspace::tiny();
        workspace.edit("model/config.json", from, to);
        workspace.refuse_segment(&[], &[words.as_slice(), &["config.json"]].concat());
    }
    let workspace = Workspace::tiny();
    workspace.write("model/config.json", b"{");
    workspace.refuse_segment(&[], &["config.json", "not valid JSON"]);
}

#[test]
fn a_tokenizer_of_another_model() {
    let workspace = Workspace::tiny();
    for name in ["vocab.json", "merges.txt"] {
        fs::copy(fixture("clip-tokenizer").join(name), workspace.path("model").join(name)).unwrap();
    }
    workspace.refuse_segment(&[], &[&workspace.argument("model"), "the vocabulary has 600 tokens"]);
}

#[test]
fn wrong_usage_is_explained_by_the_parser() {
    let workspace = Workspace::tiny();
    let model = workspace.argument("model");
    for arguments in [
        &["segment", "--model", &model, "photo.png", "-p", "a cat"][..],
        &["segment", "--model", &model, "photo.png", "--out", "out"],
        &["segment", "--model", &model, "photo.png", "-p", "a cat", "--logits", "logits", "--save", "mask"],
        &["segment", "--model", &model, "photo.png", "-p", "a cat", "--out", "out", "--save", "sculpture"],
        &["segment", "--model", &model, "photo.png", "-p", "a cat", "--out", "out", "--min-area", "-1"],
        &["tokenize", "--model", &model],
        &["bench", "--model", &model, "--runs", "0"],
        &["paint"],
    ] {
        let output = clipseg(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("Usage:") || stderr.contains("error: invalid value"), "{stderr}");
    }
}
