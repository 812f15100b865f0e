//! A program that goes on after its device was lost: the driver was reset, a laptop changed its GPU, or, as
//! here, on purpose.
//!
//! `cargo run --example lost_device -- fixtures/shapes/scene-1.png "the orange ring"`

use clipseg::{
    Checkpoint, ClipSeg, Device, DeviceError, DeviceOptions, Error, Orientation, Photo, Result, Segmentation,
};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/models/clipseg-shapes");

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(photo), Some(prompt)) = (arguments.next(), arguments.next()) else {
        return Err("usage: lost_device PHOTO PROMPT".into());
    };
    println!("the mask has {} pixels, before and after", run(&photo, &prompt)?);
    Ok(())
}

/// Segments a photo, loses the device, and segments it again; the pixels of the mask, which is the same.
pub fn run(photo: &str, prompt: &str) -> Result<usize> {
    let photo = Photo::open(photo, Orientation::Apply)?;
    // Kept in memory, so that the files are not needed again. Without `keep` they would be read a second
    // time.
    let checkpoint = Checkpoint::open(MODEL)?.keep()?;
    let device = Device::open(&DeviceOptions::default())?;
    let mut model = ClipSeg::from_pretrained(&device, MODEL)?;
    let before = segment(&mut model, &checkpoint, &photo, prompt)?;

    device.destroy();
    let after = segment(&mut model, &checkpoint, &photo, prompt)?;
    assert_eq!(before.logits(), after.logits());
    Ok(after.binary_mask(0, 0.5)?.area())
}

/// Segments a photo, on a new device if that of `model` is lost. Encoded images are lost with their device,
/// so all is done again from the photo on.
fn segment(
    model: &mut ClipSeg,
    checkpoint: &Checkpoint,
    photo: &Photo,
    prompt: &str,
) -> Result<Segmentation> {
    match try_to_segment(model, photo, prompt) {
        Err(Error::Device(DeviceError::DeviceLost(reason))) => {
            eprintln!("the device was lost ({reason}); opening it again");
            *model = model.reloaded(&Device::open(&DeviceOptions::default())?, checkpoint)?;
            try_to_segment(model, photo, prompt)
        }
        result => result,
    }
}

fn try_to_segment(model: &ClipSeg, photo: &Photo, prompt: &str) -> Result<Segmentation> {
    let image = model.encode_image(photo)?;
    model.segment(&image, &[prompt])?.resized(photo.width(), photo.height())
}
