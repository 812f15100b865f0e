//! The file of an earlier run, which a run replaces only with one of the same photos or more.

use std::collections::HashSet;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::{ANNOTATIONS, with_slashes};

/// What there is to know of the earlier run: the part of its file before the annotations.
#[derive(Deserialize)]
struct Earlier {
    info: Info,
    images: Vec<Image>,
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

/// Refuses a file that lists photos which are not among `photos`, absolute paths: they would be lost.
pub fn check(path: &Path, photos: &[PathBuf]) -> Result<()> {
    let shown = path.display();
    let earlier = Earlier::read(path).with_context(|| {
        format!("--save coco: {shown} cannot be read; choose another --out, or remove it")
    })?;
    let have: HashSet<_> = photos.iter().map(|photo| with_slashes(photo)).collect();
    let mut lost: Vec<_> = earlier.photos().filter(|photo| !have.contains(photo)).collect();
    if !lost.is_empty() {
        // The same photos by other paths.
        let have: HashSet<_> = photos.iter().filter_map(|photo| photo.canonicalize().ok()).collect();
        lost.retain(|photo| Path::new(photo).canonicalize().map_or(true, |photo| !have.contains(&photo)));
    }
    ensure!(
        lost.is_empty(),
        "--save coco: {shown} is of an earlier run and lists photos that this one does not have: {}, such as {}; give \
         all photos in one run, or choose another --out",
        lost.len(),
        clipseg_files::shown(&lost[0])
    );
    Ok(())
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
            let mut photos = photos.map(PathBuf::from).to_vec();
            check(&file, &photos).unwrap();
            photos.push("/q/d.png".into());
            check(&file, &photos).unwrap();
            let message = check(&file, &photos[1..]).unwrap_err().to_string();
            assert!(message.contains("does not have: 1") && message.contains("a.png"), "{message}");
        }
        for damaged in [START, r#"{"info":{}}"#] {
            std::fs::write(&file, damaged).unwrap();
            assert!(check(&file, &[]).unwrap_err().to_string().contains("cannot be read"));
        }
    }
}
