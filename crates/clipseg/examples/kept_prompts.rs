//! Prompts encoded once and kept as a file; what is found, less what is not meant, and whether it is there at
//! all.
//!
//! `cargo run --example kept_prompts -- fixtures/shapes/scene-1.png "something striped" "a triangle"`

use std::path::Path;

use clipseg::masks::MaskOptions;
use clipseg::{ClipSeg, Device, DeviceOptions, Orientation, Photo, SavedConditions};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/models/clipseg-shapes");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let photo = arguments.next().ok_or("usage: kept_prompts PHOTO PROMPT NEGATIVE...")?;
    let prompts: Vec<_> = arguments.collect();
    let device = Device::open(&DeviceOptions::default())?;
    let model = ClipSeg::from_pretrained(&device, MODEL)?;

    let file = std::env::temp_dir().join("kept-prompts.safetensors");
    let condition = model.encode_text(&prompts)?;
    let classes = vec![None; prompts.len()];
    SavedConditions::new(model.model(), condition, prompts, classes)?.save(&file)?;
    find(&model, Path::new(&photo), &SavedConditions::from_file(&file)?)?;
    Ok(std::fs::remove_file(file)?)
}

fn find(model: &ClipSeg, photo: &Path, kept: &SavedConditions) -> Result<(), Box<dyn std::error::Error>> {
    let photo = Photo::open(photo, Orientation::Apply)?;
    let found = model.decode(&model.encode_image(&photo)?, kept.for_model(model.model())?)?;
    println!("{}: presence {:.4}", kept.prompts()[0], found.presence(0)?);
    let found = found.resized(photo.width(), photo.height())?;
    let mut map = found.probability_map(0)?;
    for negative in 1..found.len() {
        map.subtract(&found.probability_map(negative)?, 1.0)?;
    }
    let options = MaskOptions { grow: 2.0, min_area: 50, ..MaskOptions::default() };
    println!("{} pixels are left", options.mask(&map)?.area());
    Ok(())
}
