//! Describes what a folder or repository has instead of usable weights.

use std::path::{Path, PathBuf};

use crate::names::checkpoints_within;
use crate::{Form, Names, quoted};

/// What was found in place of the weights.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lack {
    /// Weights in the other form.
    OtherForm {
        /// The form that was looked for.
        wanted: Form,
        /// The file of the other form.
        file: String,
    },
    /// Several variants, none of which is known to be the whole model.
    Variants(Vec<String>),
    /// One file of an adapter (LoRA or similar), which modifies a model but is not one.
    Adapter(String),
    /// Weights in the format of another program.
    OtherFormat {
        /// The format's name.
        format: &'static str,
        /// A file in that format.
        file: String,
    },
    /// Weights under an unknown name.
    OtherName(String),
    /// Shards without the index that lists them.
    Index(String),
    /// No weights at all.
    Nothing {
        /// The form that was looked for.
        wanted: Form,
    },
}

/// Name endings of other programs' formats.
const FORMATS: [(&str, &str); 9] = [
    (".onnx", "ONNX"),
    (".onnx_data", "ONNX"),
    (".h5", "TensorFlow"),
    (".tflite", "TensorFlow Lite"),
    (".msgpack", "Flax"),
    (".gguf", "GGUF"),
    (".mlmodel", "Core ML"),
    (".mlpackage", "Core ML"),
    (".engine", "TensorRT"),
];
/// Name endings of PyTorch's files.
const PYTORCH: [&str; 4] = [".bin", ".pth", ".pt", ".ckpt"];
/// Starts of the names of files that PyTorch's trainers save beside the weights.
const NO_WEIGHTS: [&str; 5] = ["training_args", "optimizer", "scheduler", "rng_state", "scaler"];

impl Lack {
    /// What these files have instead of weights in the form `wanted`, which they are known not to have.
    pub(crate) fn of(wanted: Form, names: &Names) -> Self {
        let other = wanted.other();
        if let Some(found) = other.whole(names).or_else(|| other.variant(names)) {
            return Self::OtherForm { wanted, file: found.file };
        }
        let variants = wanted.variants(names);
        if variants.len() > 1 {
            return Self::Variants(variants.into_iter().map(|(_, weights)| weights.file).collect());
        }
        let is_adapters =
            |name: &&str| ["adapter_config.", "adapter_model."].iter().any(|start| name.starts_with(start));
        if let Some(file) = names.top().find(is_adapters) {
            return Self::Adapter(file.to_owned());
        }
        let is_weights = |name: &&str| !NO_WEIGHTS.iter().any(|start| name.starts_with(start));
        if let Some(shard) = names.top().find(|name| name.contains("-of-") && is_weights(name)) {
            return Self::Index(shard.to_owned());
        }
        let has_end =
            |name: &&str| name.ends_with(".safetensors") || PYTORCH.iter().any(|end| name.ends_with(end));
        if let Some(file) = names.top().filter(is_weights).find(has_end) {
            return Self::OtherName(file.to_owned());
        }
        let format = names.iter().find_map(|name| {
            let (_, format) = FORMATS.iter().find(|(end, _)| name.ends_with(end))?;
            Some((*format, name.to_owned()))
        });
        match format {
            Some((format, file)) => Self::OtherFormat { format, file },
            None => Self::Nothing { wanted },
        }
    }

    /// The problem and what to do, as a sentence about `source`, a folder or a repository:
    /// `has no weights, …`.
    pub fn describe(&self, source: &str) -> String {
        let convert = |source: &str| format!("`clipseg convert {} --out DIR`", quoted(source));
        match self {
            Self::OtherForm { wanted: Form::Safetensors, file } => format!(
                "has its weights as {file} alone; {} makes safetensors of them, and runs nothing that is in the file",
                convert(source)
            ),
            Self::OtherForm { wanted: Form::PyTorch, .. } => {
                "holds safetensors already; it needs no conversion".to_owned()
            }
            Self::Variants(files) => format!(
                "has no weights that are known to be the whole model, but {}; copy one of them to a folder as \
                 model.safetensors, with the other files",
                files.join(", ")
            ),
            Self::Adapter(file) => merge_adapter(file),
            Self::OtherName(file) if file.ends_with(".safetensors") => format!(
                "has no weights under a known name, but {file}; if that is the whole model, rename it to \
                 model.safetensors"
            ),
            Self::OtherName(file) => format!(
                "has no weights under a known name, but {file}; if that is the whole model, give that file to \
                 `clipseg convert FILE --out DIR`"
            ),
            Self::Index(shard) => format!(
                "has no weights that can be put together: of shards as {shard} the index (.index.json) is missing; \
                 download it too"
            ),
            Self::OtherFormat { format, file } => format!(
                "has no weights but those for {format} ({file}), which are not read here; use the checkpoint that they \
                 were made from, as CIDAS/clipseg-rd64-refined"
            ),
            Self::Nothing { wanted } => {
                format!("has no weights, neither {0} nor {0}.index.json", wanted.file())
            }
        }
    }
}

/// What to do with the weights of an adapter, as the rest of a sentence that starts with the file's name.
/// `name` is one of its tensors or files.
#[must_use]
pub fn merge_adapter(name: &str) -> String {
    format!(
        "holds an adapter, such as LoRA makes (`{name}`): changes to a model, which are not applied here. Apply them with \
         Python's peft: PeftModel.from_pretrained(CLIPSegForImageSegmentation.from_pretrained(BASE), ADAPTER)\
         .merge_and_unload().save_pretrained(DIR), and use DIR (with `clipseg convert DIR` first where it has \
         pytorch_model.bin)"
    )
}

/// For a folder that is not a checkpoint but contains some (as the Hub's cache does), the rest of a sentence
/// about it: which folder to give instead.
pub fn folder_within(folder: &Path) -> Option<String> {
    let mut found = checkpoints_within(folder);
    found.sort_by_key(|path| !is_main(path));
    let shown = |path: &PathBuf| quoted(&path.display().to_string());
    let first = found.first()?;
    let more = match found.len() {
        1 => String::new(),
        2 => format!(" (or {})", shown(&found[1])),
        count => format!(" (or one of {} more beside it)", count - 1),
    };
    Some(format!("is not a checkpoint itself, but holds one; give {}{more}", shown(first)))
}

/// Whether a commit's folder in the Hub's cache is that of the branch `main`.
fn is_main(commit: &Path) -> bool {
    let name = commit.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let repository = commit.ancestors().nth(2);
    repository
        .and_then(|repository| std::fs::read_to_string(repository.join("refs").join("main")).ok())
        .is_some_and(|main| main.trim() == name)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn describe(form: Form, names: &[&str]) -> String {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        form.find(&names).unwrap_err().describe("my models/x")
    }

    #[test]
    fn what_there_is_instead_is_named_with_what_helps() {
        for (names, words) in [
            (
                &["config.json", "pytorch_model.bin"][..],
                &["pytorch_model.bin alone", "`clipseg convert 'my models/x' --out DIR`"][..],
            ),
            (&["pytorch_model.bin.index.json"], &["clipseg convert"]),
            (
                &["onnx/model.onnx", "onnx/decoder.onnx", "config.json"],
                &["ONNX", "onnx/decoder.onnx", "CIDAS/clipseg-rd64-refined"],
            ),
            (&["adapter_config.json", "adapter_model.safetensors"], &["adapter", "merge_and_unload"]),
            (&["tf_model.h5"], &["TensorFlow", "tf_model.h5"]),
            (&["flax_model.msgpack"], &["Flax"]),
            (&["model.a.safetensors", "model.b.safetensors"], &["model.a.safetensors, model.b.safetensors"]),
            (&["model-00001-of-00002.safetensors"], &["index", "missing"]),
            (&["rd64-uni.pth"], &["rd64-uni.pth", "`clipseg convert FILE --out DIR`"]),
            (&["weights.safetensors"], &["rename it to model.safetensors"]),
            (&["training_args.bin", "config.json"], &["has no weights, neither model.safetensors nor"]),
        ] {
            let text = describe(Form::Safetensors, names);
            assert!(text.starts_with("has ") || text.starts_with("holds "), "{text}");
            for word in words {
                assert!(text.contains(word), "{names:?}: {word} is not in: {text}");
            }
        }
        assert!(describe(Form::PyTorch, &["model.fp16.safetensors"]).contains("needs no conversion"));
        assert!(describe(Form::PyTorch, &["onnx/model.onnx"]).contains("ONNX"));
        assert!(describe(Form::PyTorch, &[]).contains("neither pytorch_model.bin nor"));
    }

    #[test]
    fn the_folder_of_a_commit_is_found_in_the_hubs_cache() {
        let hub = tempfile::tempdir().unwrap();
        let repository = hub.path().join("models--a--b");
        for commit in ["111", "222"] {
            let folder = repository.join("snapshots").join(commit);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("config.json"), "{}").unwrap();
            fs::write(folder.join("vocab.json"), "{}").unwrap();
        }
        fs::create_dir(repository.join("refs")).unwrap();
        fs::write(repository.join("refs/main"), "222").unwrap();
        for folder in [hub.path(), &repository, &repository.join("snapshots")] {
            let text = folder_within(folder).unwrap();
            let (first, second) = (text.find("222"), text.find("111"));
            assert!(first.is_some() && second.is_some(), "{text}");
            assert!(first < second, "{text}");
        }
        assert_eq!(folder_within(&repository.join("snapshots/111")), None);
    }
}
