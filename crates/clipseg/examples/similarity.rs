//! Similarity search: which pictures of a folder fit the words best, by the cosine of CLIP's embeddings.
//!
//! `cargo run --example similarity -- fixtures/shapes "a yellow cross"`

use std::path::PathBuf;

use clipseg::{ClipSeg, Device, DeviceOptions, Orientation, Photo};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/models/clipseg-shapes");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(words)) = (arguments.next(), arguments.next()) else {
        return Err("usage: similarity DIR WORDS".into());
    };
    let device = Device::open(&DeviceOptions::default())?;
    let model = ClipSeg::from_pretrained(&device, MODEL)?;
    let words = model.encode_text(&[words])?;

    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path: PathBuf = entry?.path();
        // What is not a picture is passed over.
        let Ok(photo) = Photo::open(&path, Orientation::Apply) else { continue };
        // The embeddings of pictures do not depend on the words: keep them, and a search costs next to
        // nothing.
        let picture = model.encode_image_prompt(&model.processor().preprocess(&photo))?;
        found.push((cosine(&words.embeddings.values, &picture.embeddings.values), path));
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (cosine, path) in found {
        println!("{cosine:.3}  {}", path.display());
    }
    Ok(())
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    product(a, b) / (product(a, a) * product(b, b)).sqrt()
}
