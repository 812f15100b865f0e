//! One photo, one prompt, one mask.
//!
//! `cargo run --example one_photo -- fixtures/shapes/scene-1.png "the orange ring" mask.png`

use clipseg::{ClipSeg, Device, DeviceOptions, Orientation, Photo};
use image::GrayImage;

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/models/clipseg-shapes");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(photo), Some(prompt), Some(out)) = (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("usage: one_photo PHOTO PROMPT OUT.png".into());
    };
    let device = Device::open(&DeviceOptions::default())?;
    let model = ClipSeg::from_pretrained(&device, MODEL)?;
    let photo = Photo::open(photo, Orientation::Apply)?;

    let image = model.encode_image(&photo)?;
    let segmentation = model.segment(&image, &[prompt])?.resized(photo.width(), photo.height())?;
    let mask = segmentation.mask(0, 0.5);

    let grey: Vec<u8> = mask.iter().map(|&inside| if inside { 255 } else { 0 }).collect();
    let mask = GrayImage::from_raw(photo.width() as u32, photo.height() as u32, grey);
    mask.ok_or("a mask has the photo's size")?.save(out)?;
    Ok(())
}
