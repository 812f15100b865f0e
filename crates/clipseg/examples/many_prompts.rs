//! Many prompts on one photo: it is encoded once, and each further prompt costs the decoder alone.
//!
//! `cargo run --release --example many_prompts -- fixtures/shapes/scene-2.png "a yellow thing" "a crescent" "a ring"`

use std::time::Instant;

use clipseg::{ClipSeg, Device, DeviceOptions, Orientation, Photo};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/models/clipseg-shapes");

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let photo = arguments.next().ok_or("usage: many_prompts PHOTO PROMPT...")?;
    let prompts: Vec<_> = arguments.collect();
    let device = Device::open(&DeviceOptions::default())?;
    let model = ClipSeg::from_pretrained(&device, MODEL)?;
    let photo = Photo::open(photo, Orientation::Apply)?;

    let image = model.encode_image(&photo)?;
    // The same image may be asked again at any time, and from several threads.
    let start = Instant::now();
    let segmentation = model.segment(&image, &prompts)?;
    println!("{} prompts in {:.3} s", prompts.len(), start.elapsed().as_secs_f64());

    for (place, prompt) in prompts.iter().enumerate() {
        let probabilities = segmentation.probabilities(place);
        let peak = probabilities.iter().copied().fold(0.0, f32::max);
        let marked = probabilities.iter().filter(|&&probability| probability >= 0.5).count();
        println!(
            "{prompt}: peak {peak:.3}, area {:.1} %",
            100.0 * marked as f64 / probabilities.len() as f64
        );
    }
    Ok(())
}
