//! The file of an earlier run, which a run replaces only with one of the same photos or more.

use std::collections::{HashMap, HashSet};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::{ANNOTATIONS, with_slashes};
use crate::segment::dataset::listed;

/// What there is to know of the earlier run: the part of its file before the annotations.
#[derive(Deserialize)]
struct Earlier {
    info: Info,
    categories: Vec<Category>,
    images: Vec<Image>,
}

#[derive(Deserialize)]
struct Category {
    name: String,
}

#[derive(Deserialize)]
struct Info {
    /// The folder that the images' names are relative to.
    photos: String,
}

#[derive(Deserialize)]
struct Image {
    file_name: String,
}

/// Those of `photos`, absolute paths, that a file lists.
///
/// # Errors
/// Where the file cannot be read, is of other classes, which it would lose, or lists other photos too: they
/// would be lost.
pub fn photos(path: &Path, photos: &[PathBuf], classes: &[String]) -> Result<HashSet<PathBuf>> {
    let shown = path.display();
    let earlier = Earlier::read(path).with_context(|| {
        format!("--save coco: {shown} cannot be read; choose another --out, or remove it")
    })?;
    let there = earlier.categories.iter().map(|category| &category.name);
    ensure!(
        there.clone().eq(classes),
        "--save coco: {shown} is of a data set with other classes ({}) than this run has ({}), and would lose them; choose \
         another --out",
        listed(there),
        listed(classes)
    );
    let have: HashMap<_, _> = photos.iter().map(|photo| (with_slashes(photo), photo)).collect();
    let (mut found, mut lost) = (HashSet::new(), Vec::new());
    for photo in earlier.photos() {
        match have.get(&photo) {
            Some(&photo) => found.extend([photo.clone()]),
            None => lost.push(photo),
        }
    }
    if !lost.is_empty() {
        // The same photos by other paths.
        let have: HashMap<_, _> =
            photos.iter().filter_map(|photo| Some((photo.canonicalize().ok()?, photo))).collect();
        lost.retain(|photo| {
            let same = Path::new(photo).canonicalize().ok().and_then(|photo| have.get(&photo));
            found.extend(same.map(|&photo| photo.clone()));
            same.is_none()
        });
    }
    ensure!(
        lost.is_empty(),
        "--save coco: {shown} is of an earlier run and lists photos that this one does not have: {}, such as {}; give \
         all photos in one run, or choose another --out",
        lost.len(),
        clipseg_files::shown(&lost[0])
    );
    Ok(found)
}

impl Earlier {
    /// Reads the file up to the annotations, which may be long.
    fn read(path: &Path) -> Result<Self> {
        let mut bytes = Vec::new();
        for byte in BufReader::new(clipseg_files::open(path)?).bytes() {
            bytes.push(byte?);
            // No string in JSON has such quotation marks.
            if bytes.ends_with(ANNOTATIONS) {
                bytes.extend(b"]}");
                break;
            }
        }
        Ok(serde_json::from_slice(&bytes)?)
    }

    /// The paths of the photos.
    fn photos(&self) -> impl Iterator<Item = String> {
        let root = &self.info.photos;
        let root = if cfg!(windows) { root.replace('\\', "/") } else { root.clone() };
        self.images.iter().map(move |image| format!("{}/{}", root.trim_end_matches('/'), image.file_name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &str = r#"{"info":{"description":"d","photos":"ROOT"},"categories":[],"images":["#;

    #[test]
    fn the_same_photos_or_more_are_fine() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("annotations.json");
        for (root, photos) in [("/p", ["/p/a.png", "/p/b/\"c],.png"]), ("/", ["/a.png", "/b/\"c],.png"])] {
            let images = r#"{"id":1,"file_name":"a.png"},{"id":2,"file_name":"b/\"c],.png"}"#;
            let text = format!("{}{images}],\"annotations\":[{{}}]}}", START.replace("ROOT", root));
            std::fs::write(&file, &text).unwrap();
            let mut of_run = photos.map(PathBuf::from).to_vec();
            let all = of_run.iter().cloned().collect();
            assert_eq!(super::photos(&file, &of_run, &[]).unwrap(), all);
            let message = super::photos(&file, &of_run, &["cat".to_owned()]).unwrap_err().to_string();
            assert!(message.contains("other classes () than this run has (\"cat\")"), "{message}");
            of_run.push("/q/d.png".into());
            assert_eq!(super::photos(&file, &of_run, &[]).unwrap(), all);
            let message = super::photos(&file, &of_run[1..], &[]).unwrap_err().to_string();
            assert!(message.contains("does not have: 1") && message.contains("a.png"), "{message}");
        }
        for damaged in [START, r#"{"info":{}}"#] {
            std::fs::write(&file, damaged).unwrap();
            assert!(photos(&file, &[], &[]).unwrap_err().to_string().contains("cannot be read"));
        }
    }
}
