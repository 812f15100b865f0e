//! All pictures of a folder by the same prompts: the words are encoded once, and each picture once.
//!
//! `cargo run --example folder -- fixtures/shapes "a yellow cross" "something striped"`

use std::path::PathBuf;

use clipseg::masks::Connectivity;
use clipseg::{ClipSeg, Device, DeviceOptions, Orientation, Photo};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/models/clipseg-shapes");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: folder DIR PROMPT...")?;
    let prompts: Vec<_> = arguments.collect();
    let device = Device::open(&DeviceOptions::default())?;
    let model = ClipSeg::from_pretrained(&device, MODEL)?;
    let condition = model.encode_text(&prompts)?;

    let entries = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut paths = entries.collect::<std::io::Result<Vec<PathBuf>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "png" || extension == "jpg"));
    paths.sort();
    for path in paths {
        let photo = Photo::open(&path, Orientation::Apply)?;
        let segmentation = model.decode(&model.encode_image(&photo)?, &condition)?;
        let segmentation = segmentation.resized(photo.width(), photo.height())?;
        for (place, prompt) in prompts.iter().enumerate() {
            let parts = segmentation.binary_mask(place, 0.5)?.components(Connectivity::Eight);
            for part in parts.list().iter().filter(|part| part.area >= 100) {
                println!("{}: {prompt}: {:?}, {} pixels", path.display(), part.bounding_box, part.area);
            }
        }
    }
    Ok(())
}
