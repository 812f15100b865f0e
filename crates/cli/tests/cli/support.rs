//! Running the command, and folders for it to work on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub use clipseg_testing::fixture;
use safetensors::SafeTensors;
use serde_json::Value;
use tempfile::TempDir;

/// Runs `clipseg` with these arguments.
pub fn clipseg(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_clipseg")).args(arguments).output().unwrap()
}

/// Runs `clipseg`, which must succeed without a word on stderr, and gives its stdout.
pub fn succeed(arguments: &[&str]) -> String {
    let output = clipseg(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?} failed: {stderr}");
    assert_eq!(stderr, "", "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runs `clipseg`, which must refuse in one line that holds all of `words`, and print nothing else.
pub fn refuse(arguments: &[&str], words: &[&str]) {
    let output = clipseg(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
    assert!(stderr.starts_with("error: ") && stderr.lines().count() == 1, "{arguments:?}: {stderr}");
    assert!(!stderr.contains("panicked"), "{arguments:?}: {stderr}");
    for word in words {
        assert!(stderr.contains(word), "{arguments:?}: {word:?} is not in: {stderr}");
    }
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{arguments:?}");
}

/// Standard output and standard error of a run that must end with exit code 1.
pub fn fail(arguments: &[&str]) -> (String, String) {
    let output = clipseg(arguments);
    let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
    assert!(!stderr.contains("panicked"), "{arguments:?}: {stderr}");
    (stdout, stderr)
}

/// The objects of a report in JSON lines.
pub fn reports(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A checkpoint folder that a test can damage, with room for outputs beside it.
pub struct Workspace(TempDir);

impl Workspace {
    /// An empty model folder.
    pub fn empty() -> Self {
        let workspace = Self(tempfile::tempdir().unwrap());
        fs::create_dir(workspace.path("model")).unwrap();
        workspace
    }

    /// A whole tiny checkpoint. The tests' own tokenizer knows the letters of "a cat" and similar prompts.
    pub fn tiny() -> Self {
        let workspace = Self::empty();
        for name in ["config.json", "model.safetensors"] {
            fs::copy(fixture("models/tiny-complex").join(name), workspace.path("model").join(name)).unwrap();
        }
        workspace.write("model/preprocessor_config.json", br#"{"size": {"height": 48, "width": 48}}"#);
        let letters = ["a", "b", "c", "d", "e", "o", "r", "t", "u"];
        let tokens =
            letters.iter().copied().map(str::to_owned).chain(letters.iter().map(|c| format!("{c}</w>")));
        let mut vocabulary: serde_json::Map<_, _> =
            tokens.zip(0..).map(|(token, id)| (token, id.into())).collect();
        vocabulary
            .extend([("<|startoftext|>".to_owned(), 598.into()), ("<|endoftext|>".to_owned(), 599.into())]);
        workspace.write("model/vocab.json", Value::from(vocabulary).to_string().as_bytes());
        workspace.write("model/merges.txt", b"#version: 0.2\n");
        workspace
    }

    /// A path in the workspace.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The same as an argument.
    pub fn argument(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Writes a file.
    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    /// Replaces a text that the file `name` holds once.
    pub fn edit(&self, name: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(name)).unwrap();
        assert_eq!(text.matches(from).count(), 1, "{from:?} in {name}");
        self.write(name, text.replace(from, to).as_bytes());
    }

    /// Copies the fixtures' cat to `name`; the folder is made where it is missing.
    pub fn photo(&self, name: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(fixture("photos/chelsea.png"), path).unwrap();
    }

    /// The arguments that segment these photos or folders of the workspace by "a cat" into `out`, as masks
    /// alone.
    pub fn masks(&self, photos: &[&str], out: &str) -> Vec<String> {
        let (model, out) = (self.argument("model"), self.argument(out));
        let mut arguments = ["segment", "--model", &model, "-p", "a cat", "--save", "mask", "--out", &out]
            .map(str::to_owned)
            .to_vec();
        arguments.extend(photos.iter().map(|photo| self.argument(photo)));
        arguments
    }

    /// The arguments that segment the fixtures' cat by one prompt into `out`.
    pub fn segment(&self) -> Vec<String> {
        let photo = fixture("photos/chelsea.png").to_str().unwrap().to_owned();
        let (model, out) = (self.argument("model"), self.argument("out"));
        ["segment", "--model", &model, &photo, "-p", "a cat", "--out", &out].map(str::to_owned).to_vec()
    }

    /// Segments with `more` arguments, which must be refused, and nothing written.
    pub fn refuse_segment(&self, more: &[&str], words: &[&str]) {
        let arguments = self.segment();
        let arguments: Vec<_> = arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
        refuse(&arguments, words);
        assert!(!self.path("out").exists(), "{arguments:?} left something behind");
    }

    /// The files in a folder and the folders within it, sorted, without the folder's own name.
    pub fn tree(&self, name: &str) -> Vec<String> {
        let walk = walkdir::WalkDir::new(self.path(name)).sort_by_file_name().into_iter();
        let files = walk.map(|entry| entry.unwrap()).filter(|entry| !entry.file_type().is_dir());
        let within = files.map(|entry| entry.path().strip_prefix(self.path(name)).unwrap().to_owned());
        within.map(|path| path.into_os_string().into_string().unwrap()).collect()
    }

    /// Names of the files in a folder, sorted.
    pub fn files(&self, name: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(name)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// Shape and values of an f32 tensor in a safetensors file, the only one there.
pub fn tensor(path: &Path, name: &str) -> (Vec<usize>, Vec<f32>) {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.names(), [name]);
    let view = file.tensor(name).unwrap();
    assert_eq!(view.dtype(), safetensors::Dtype::F32);
    let (values, _) = view.data().as_chunks::<4>();
    (view.shape().to_vec(), values.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
}
