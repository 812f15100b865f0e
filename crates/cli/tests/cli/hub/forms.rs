//! Repositories and folders that have no weights, or have them in another form than model.safetensors.

use std::fs;

use clipseg_hub_server::MAIN;

use super::{Tiny, ranges};
use crate::support::{Workspace, refuse, tensor};

/// The tiny checkpoint's folder with other files in place of its weights.
fn instead(names: &[&str]) -> Workspace {
    let workspace = Workspace::tiny();
    fs::remove_file(workspace.path("model/model.safetensors")).unwrap();
    for name in names {
        let path = workspace.path("model").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"{}").unwrap();
    }
    workspace
}

/// In a folder and in a repository alike.
#[test]
fn what_there_is_in_place_of_weights_is_called_what_it_is() {
    for (names, words) in [
        (&["onnx/model.onnx"][..], &["ONNX", "onnx/model.onnx", "CIDAS/clipseg-rd64-refined"][..]),
        (&["model.onnx"], &["ONNX", "model.onnx"]),
        (&["adapter_config.json", "adapter_model.safetensors"], &["adapter", "merge_and_unload"]),
        (&["pytorch_model.bin"], &["pytorch_model.bin alone", "`clipseg convert", " --out DIR`"]),
        (&["pytorch_model.bin.index.json"], &["pytorch_model.bin.index.json alone", "clipseg convert"]),
        (&["tf_model.h5"], &["TensorFlow"]),
        (&["model-00001-of-00002.safetensors"], &["model-00001-of-00002.safetensors", "index"]),
    ] {
        let workspace = instead(names);
        workspace.refuse_segment(&[], words);
        workspace.refuse_segment(&[], &[&workspace.argument("model")]);
        if names == ["onnx/model.onnx"] {
            let (model, out) = (workspace.argument("model"), workspace.argument("converted"));
            refuse(&["convert", &model, "--out", &out], words);
            // The Hub's names have slashes, which files of the workspace don't.
            fs::remove_dir_all(workspace.path("model/onnx")).unwrap();
            let tiny = Tiny::serving(workspace);
            tiny.server.state().files.insert("onnx/model.onnx".to_owned(), b"{}".to_vec());
            tiny.refuse_segment(&[], &[words, &["tiny/model"]].concat());
            continue;
        }
        let tiny = Tiny::serving(workspace);
        tiny.refuse_segment(&[], &[words, &["tiny/model"]].concat());
        assert!(ranges(&tiny.server.requests()).is_empty());
    }
}

/// As peft saves it, without the model's own files.
#[test]
fn an_adapter_alone_is_called_an_adapter() {
    let workspace = instead(&["adapter_config.json", "adapter_model.safetensors"]);
    for name in ["config.json", "preprocessor_config.json", "vocab.json", "merges.txt"] {
        fs::remove_file(workspace.path("model").join(name)).unwrap();
    }
    workspace.refuse_segment(&[], &["adapter", "merge_and_unload"]);
    let tiny = Tiny::serving(workspace);
    tiny.refuse_segment(&[], &["tiny/model", "adapter", "merge_and_unload"]);
}

#[test]
fn a_variant_of_the_weights_is_read_as_they_are() {
    let workspace = Workspace::tiny();
    let tiny = Tiny::serving(workspace);
    tiny.segment_repository();
    let expected = tensor(&tiny.workspace.path("logits.safetensors"), "logits");

    let bytes = tiny.server.state().files.remove("model.safetensors").unwrap();
    tiny.server.state().files.insert("model.fp16.safetensors".to_owned(), bytes);
    tiny.server.requests();
    let arguments = tiny.segment("tiny/model@other");
    tiny.succeed(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
    assert_eq!(tensor(&tiny.workspace.path("logits.safetensors"), "logits"), expected);

    let model = tiny.workspace.path("model");
    fs::rename(model.join("model.safetensors"), model.join("model.fp16.safetensors")).unwrap();
    let arguments = tiny.segment(model.to_str().unwrap());
    tiny.succeed(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
    assert_eq!(tensor(&tiny.workspace.path("logits.safetensors"), "logits"), expected);
}

#[test]
fn a_folder_of_the_hubs_cache_leads_to_its_commit() {
    let tiny = Tiny::new();
    tiny.segment_repository();
    let commit = tiny.cache("snapshots").join(MAIN);
    for folder in [tiny.workspace.path("home/hub"), tiny.cache(""), tiny.cache("snapshots")] {
        let arguments = tiny.segment(folder.to_str().unwrap());
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        tiny.refuse(&arguments, &[], &["is not a checkpoint itself", commit.to_str().unwrap()]);
    }
    // A message about a file points to its folder.
    let file = commit.join("model.safetensors");
    let words = ["is a file", "give the folder", commit.to_str().unwrap()];
    tiny.refuse(&["tokenize", "--model", file.to_str().unwrap(), "a cat"], &[], &words);
}

/// The command in a message can be copied.
#[test]
fn a_command_in_a_message_is_quoted_where_it_has_to_be() {
    let workspace = instead(&["pytorch_model.bin"]);
    let folder = workspace.path("my model");
    fs::rename(workspace.path("model"), &folder).unwrap();
    let photo = crate::support::fixture("photos/chelsea.png");
    let (folder, photo, out) = (folder.to_str().unwrap(), photo.to_str().unwrap(), workspace.argument("out"));
    let quoted = if cfg!(windows) {
        format!("convert \"{folder}\" --out")
    } else {
        format!("convert '{folder}' --out")
    };
    refuse(&["segment", "--model", folder, photo, "-p", "a cat", "--out", &out], &[&quoted]);
}

/// A repository without PyTorch's files, to be halved.
#[test]
fn safetensors_of_the_hub_are_converted() {
    let tiny = Tiny::new();
    let out = tiny.workspace.argument("converted");
    tiny.succeed(&["convert", "tiny/model", "--out", &out, "--dtype", "f16"], &[]);
    let [half, whole] = ["converted", "model"]
        .map(|folder| fs::metadata(tiny.workspace.path(folder).join("model.safetensors")).unwrap().len());
    assert!(half < whole * 3 / 4, "{half} of {whole}");
}
