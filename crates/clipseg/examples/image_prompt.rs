//! Looking for what another picture shows, alone and mixed with words.
//!
//! `cargo run --example image_prompt -- PHOTO PICTURE PICTURE-MASK "a red circle"`, the mask white where the
//! object is.

use clipseg::{ClipSeg, Condition, Device, DeviceOptions, Orientation, Photo, PromptStyle};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/models/clipseg-shapes");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [photo, picture, mask, words] = &arguments[..] else {
        return Err("usage: image_prompt PHOTO PICTURE PICTURE-MASK WORDS".into());
    };
    let device = Device::open(&DeviceOptions::default())?;
    let model = ClipSeg::from_pretrained(&device, MODEL)?;
    let photo = Photo::open(photo, Orientation::Apply)?;
    let picture = Photo::open(picture, Orientation::Apply)?;
    let mask = Photo::open(mask, Orientation::Ignore)?;
    let mask: Vec<_> = mask.rgb().chunks_exact(3).map(|pixel| pixel[0] >= 128).collect();

    // The object kept, what is around it blurred, darkened and cropped away: the paper's best style.
    let pixels = PromptStyle::default().prompt(model.processor(), &picture, &mask)?;
    let picture = model.encode_image_prompt(&pixels)?;
    let words = model.encode_text(&[words])?;
    let both = words.mix(&picture, 0.7)?;

    let image = model.encode_image(&photo)?;
    let segmentation = model.decode(&image, &Condition::concat(&[picture, words, both])?)?;
    for (place, name) in ["picture", "words", "both"].iter().enumerate() {
        let mask = segmentation.binary_mask(place, 0.5)?;
        println!("{name}: {} of {} pixels", mask.area(), mask.pixels().len());
    }
    Ok(())
}
