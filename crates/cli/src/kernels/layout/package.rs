//! Reading a folder in the layout: files of a stranger.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use clipseg_files::shown;
use serde::Deserialize;

use super::digest::digest;
use super::include::Include;
use super::manifest::{Manifest, SPECIFICATION};
use super::ordered::Ordered;

pub const MANIFEST: &str = "manifest.json";
pub const METADATA: &str = "metadata.json";
/// Where a repository has them.
pub const BUILD: &str = "build/webgpu";
/// No file of the kind is longer: the longest manifest that was seen has 88 kB.
const MOST_BYTES: u64 = 4 << 20;
/// Templates within templates, and all of them together.
const DEEPEST: usize = 16;
const MOST_INCLUDES: usize = 1000;

/// An op's manifest and templates.
pub struct Package {
    pub manifest: Manifest,
    /// By the names that passes give; what they include stands in them.
    templates: BTreeMap<String, String>,
}

/// What `metadata.json` says, of what is looked at here.
#[derive(Deserialize)]
struct Metadata {
    name: String,
    backend: Backend,
    digest: Digests,
    webgpu: WebGpu,
}

#[derive(Deserialize)]
struct Backend {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Digests {
    algorithm: String,
    files: Ordered<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WebGpu {
    manifest_spec: String,
}

impl Package {
    /// Reads a repository, or its `build/webgpu`.
    ///
    /// # Errors
    /// Where a file is missing, too long, of another form or digest; each names the file and what to do.
    pub fn open(folder: &Path) -> Result<Self> {
        let places = [folder.to_owned(), folder.join(BUILD)];
        let Some(found) = places.iter().find(|place| place.join(MANIFEST).exists()) else {
            bail!(
                "there is neither {MANIFEST} nor {BUILD}/{MANIFEST}; name one repository of a WebGPU kernel as the Hugging \
                 Face Hub has them, or its {BUILD}"
            );
        };
        let reader = Reader::open(found)?;
        let text = reader.text(MANIFEST)?;
        let mut manifest: Manifest = serde_json::from_str(&text).with_context(|| {
            format!("{MANIFEST}: is not a manifest of specification {SPECIFICATION}, the one read here")
        })?;
        check(&mut manifest).context(MANIFEST)?;
        let id = id(&manifest);
        if let Some(metadata) = &reader.metadata {
            ensure!(
                metadata.name == id,
                "{METADATA}: is of {}, {MANIFEST} of {}; bring both from the same repository",
                shown(&metadata.name),
                shown(&id)
            );
        }
        let mut templates = BTreeMap::new();
        for variant in &manifest.variants {
            for pass in &variant.passes {
                if !templates.contains_key(&pass.shader) {
                    let text = reader.expanded(&pass.shader, &mut Vec::new()).with_context(|| {
                        format!("a template of the variant {} in {MANIFEST}", shown(&variant.id))
                    })?;
                    templates.insert(pass.shader.clone(), text);
                }
            }
        }
        Ok(Self { manifest, templates })
    }

    /// Of a manifest whose templates are there already.
    pub fn new(manifest: Manifest, templates: BTreeMap<String, String>) -> Self {
        Self { manifest, templates }
    }

    /// The op: its domain and name.
    pub fn id(&self) -> String {
        id(&self.manifest)
    }

    /// The template that a pass names.
    pub fn template(&self, shader: &str) -> Result<&str> {
        self.templates
            .get(shader)
            .map(String::as_str)
            .with_context(|| format!("{} was not read", shown(shader)))
    }
}

fn id(manifest: &Manifest) -> String {
    format!("{}.{}", manifest.domain, manifest.name)
}

/// What the types of a manifest leave open.
fn check(manifest: &mut Manifest) -> Result<()> {
    ensure!(!manifest.variants.is_empty(), "it has no variants");
    let mut known = Vec::new();
    for (place, variant) in manifest.variants.iter_mut().enumerate() {
        let is_family = variant.cases.is_some() || variant.axes.is_some() || variant.variants.is_some();
        ensure!(
            !is_family,
            "variants[{place}] is a family of variants, which this command does not read; write its variants out"
        );
        if variant.id.is_empty() {
            variant.id = format!("variant_{place}");
        }
        let name = shown(&variant.id);
        ensure!(!known.contains(&variant.id), "there are two variants {name}");
        known.push(variant.id.clone());
        ensure!(!variant.passes.is_empty(), "the variant {name} has no passes");
        for pass in &variant.passes {
            let is_group = pass.repeat.is_some() || pass.passes.is_some();
            ensure!(
                !is_group,
                "the variant {name} has a group of passes that repeat, which this command does not read"
            );
            ensure!(!pass.shader.is_empty(), "a pass of the variant {name} names no shader");
            ensure!(!pass.bindings.is_empty(), "a pass of the variant {name} binds nothing");
        }
    }
    for (name, arg) in manifest.args.iter() {
        let is_optional = arg.get("required") == Some(&false.into());
        ensure!(
            is_optional,
            "the op takes {} besides tensors, which this command does not give",
            shown(name)
        );
    }
    Ok(())
}

/// Reads the files of one folder and nothing outside it.
struct Reader<'a> {
    folder: &'a Path,
    metadata: Option<Metadata>,
    /// How many templates were included.
    included: Cell<usize>,
}

impl<'a> Reader<'a> {
    /// Looks at `metadata.json`, where there is one.
    fn open(folder: &'a Path) -> Result<Self> {
        let mut reader = Self { folder, metadata: None, included: Cell::new(0) };
        if folder.join(METADATA).exists() {
            let text = reader.text(METADATA)?;
            let metadata: Metadata = serde_json::from_str(&text).with_context(|| {
                format!(
                    "{METADATA}: is not that of a WebGPU kernel; without the file digests are not checked"
                )
            })?;
            metadata.check().context(METADATA)?;
            reader.metadata = Some(metadata);
        }
        Ok(reader)
    }

    /// A file's text, if it is the file that the metadata is of.
    fn text(&self, name: &str) -> Result<String> {
        expect_within(name)?;
        let bytes = clipseg_files::read(&self.folder.join(name), MOST_BYTES).with_context(|| {
            format!("{}: cannot be read; bring the whole folder from its repository", shown(name))
        })?;
        if let Some(metadata) = &self.metadata {
            let expected = metadata.digest.files.get(name);
            ensure!(
                expected.is_some_and(|expected| *expected == digest(&bytes)),
                "{}: is not the file whose digest is in {METADATA}; bring it anew, or remove {METADATA} to run it as it is",
                shown(name)
            );
        }
        String::from_utf8(bytes).with_context(|| format!("{}: is not text", shown(name)))
    }

    /// A template with what it includes in the place of each `{% include "…" %}`, as the layout's own runtime
    /// does it: before anything is evaluated.
    fn expanded(&self, name: &str, within: &mut Vec<String>) -> Result<String> {
        ensure!(!within.iter().any(|outer| outer == name), "{} includes itself", shown(name));
        ensure!(within.len() < DEEPEST, "{} lies in more than {DEEPEST} others", shown(name));
        within.push(name.to_owned());
        let text = self.text(name)?;
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(include) = Include::find(rest) {
            self.included.set(self.included.get() + 1);
            ensure!(
                self.included.get() <= MOST_INCLUDES,
                "templates include more than {MOST_INCLUDES} others"
            );
            expanded.push_str(include.before);
            expanded.push_str(&self.expanded(&include.path_from(name), within)?);
            ensure!(expanded.len() <= MOST_BYTES as usize, "{}: what it includes is too long", shown(name));
            rest = include.after;
        }
        expanded.push_str(rest);
        within.pop();
        Ok(expanded)
    }
}

impl Metadata {
    fn check(&self) -> Result<()> {
        ensure!(
            self.backend.kind == "webgpu",
            "is of a kernel for {}, not for WebGPU",
            shown(&self.backend.kind)
        );
        let specification = &self.webgpu.manifest_spec;
        ensure!(
            specification == SPECIFICATION,
            "the manifest is of specification {}; this command reads {SPECIFICATION}: bring a revision of the \
             repository that has it",
            shown(specification)
        );
        let algorithm = &self.digest.algorithm;
        ensure!(algorithm == "sha256", "digests are of {}, expected sha256", shown(algorithm));
        Ok(())
    }
}

/// Refuses a name that leads out of the folder.
fn expect_within(name: &str) -> Result<()> {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let is_plain =
        |part: &str| !part.is_empty() && part != "." && part != ".." && part.chars().all(is_letter);
    ensure!(
        name.split('/').all(is_plain),
        "{}: is not a file's name within the folder (letters, digits, '.', '_', '-' and '/')",
        shown(name)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const ADD: &str = r#"{
        "name": "Twice", "inputs": {"x": {"dtype": "float32"}},
        "outputs": {"y": {"dtype": "float32", "shape": "shapes.x"}},
        "variants": [{"passes": [{"shader": "a.wgsl.jinja", "bindings": ["x", "y"], "dispatch": {"x": 1}}]}]
    }"#;

    /// The error of a folder with these files.
    fn error(files: &[(&str, &str)]) -> String {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        match Package::open(folder.path()) {
            Ok(package) => format!("read {}", package.id()),
            Err(error) => format!("{error:#}"),
        }
    }

    fn metadata(name: &str, specification: &str, template: &str) -> String {
        let files = format!(
            r#"{{"manifest.json": "{}", "metadata.json": "-", "a.wgsl.jinja": "{}"}}"#,
            digest(ADD.as_bytes()),
            digest(template.as_bytes())
        );
        format!(
            r#"{{"name": "{name}", "backend": {{"type": "webgpu"}}, "digest": {{"algorithm": "sha256", "files": {files}}},
            "webgpu": {{"manifestSpec": "{specification}"}}}}"#
        )
    }

    #[test]
    fn a_folder_or_its_build_is_read() {
        assert_eq!(error(&[("manifest.json", ADD), ("a.wgsl.jinja", "")]), "read ai.onnx.Twice");
        let build = [("build/webgpu/manifest.json", ADD), ("build/webgpu/a.wgsl.jinja", "")];
        assert_eq!(error(&build), "read ai.onnx.Twice");
        let whole = metadata("ai.onnx.Twice", "2.1", "text");
        let files = [("manifest.json", ADD), ("a.wgsl.jinja", "text"), ("metadata.json", &whole)];
        assert_eq!(error(&files), "read ai.onnx.Twice");
    }

    #[test]
    fn what_is_included_takes_the_place_of_the_line() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("a", "one\n  {% include \"b/c\" %}\nx {% include './d' %} y{% include 'd' %}"),
            ("b/c", "two\n"),
            ("d", "three"),
        ] {
            fs::create_dir_all(folder.path().join("b")).unwrap();
            fs::write(folder.path().join(name), text).unwrap();
        }
        let reader = Reader { folder: folder.path(), metadata: None, included: Cell::new(0) };
        assert_eq!(reader.expanded("a", &mut Vec::new()).unwrap(), "one\ntwo\nx three ythree");
    }

    #[test]
    fn what_is_broken_is_refused_by_name() {
        let template = ("a.wgsl.jinja", "");
        let other = ADD.replace("\"shader\"", "\"source\"");
        let family = ADD.replace("\"passes\"", "\"cases\": [], \"passes\"");
        let outside = ADD.replace("a.wgsl.jinja", "../a");
        let empty = ADD.replace(r#"{"passes""#, r#"{"passes": []}, {"passes""#);
        for (files, words) in [
            (&[template][..], &["neither manifest.json nor build/webgpu/manifest.json"][..]),
            (&[("manifest.json", ADD)], &["a.wgsl.jinja: cannot be read", "variant_0", "whole folder"]),
            (&[("manifest.json", "{"), template], &["manifest.json: is not a manifest of specification"]),
            (&[("manifest.json", &other), template], &["manifest.json", "unknown field `source`"]),
            (&[("manifest.json", &family), template], &["manifest.json: variants[0] is a family"]),
            (&[("manifest.json", &outside), template], &["../a: is not a file's name within"]),
            (&[("manifest.json", &empty), template], &["manifest.json: the variant variant_0 has no passes"]),
            (
                &[("manifest.json", ADD), ("a.wgsl.jinja", "{% include \"a.wgsl.jinja\" %}")],
                &["includes itself"],
            ),
            (
                &[
                    ("manifest.json", ADD),
                    ("a.wgsl.jinja", &"{% include \"b\" %}".repeat(100)),
                    ("b", &"{% include \"c\" %}".repeat(100)),
                    ("c", ""),
                ],
                &["more than 1000 others"],
            ),
            (
                &[("manifest.json", ADD), ("metadata.json", "{}"), template],
                &["metadata.json", "missing field"],
            ),
        ] {
            let error = error(files);
            assert!(words.iter().all(|word| error.contains(word)), "{words:?} are not in: {error}");
        }
        for (name, specification, template, word) in [
            ("ai.onnx.Twice", "1.0", "text", "metadata.json: the manifest is of specification 1.0"),
            ("ai.onnx.Thrice", "2.1", "text", "metadata.json: is of ai.onnx.Thrice"),
            ("ai.onnx.Twice", "2.1", "other", "a.wgsl.jinja: is not the file whose digest"),
        ] {
            let metadata = metadata(name, specification, template);
            let files = [("manifest.json", ADD), ("a.wgsl.jinja", "text"), ("metadata.json", &metadata)];
            let error = error(&files);
            assert!(error.contains(word), "{word:?} is not in: {error}");
        }
    }
}
