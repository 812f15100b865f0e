//! The main job at full size: a photo and prompts through the whole engine, compared with what transformers
//! made of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clipseg::{Array, Checkpoint, ClipSeg, Device, Orientation, Photo};
use image::ImageReader;
use serde::Deserialize;

use crate::compare::{Comparison, Outcome, print_table};
use crate::root;
use crate::synth::{self, Preset};

/// The folder of the reference, from the repository's root.
const FOLDER: &str = "fixtures/full";
/// The task asks for this correlation between the logits, besides the tolerance.
const LEAST_COSINE: f64 = 0.99999;

/// `fixtures/full/reference.json`
#[derive(Deserialize)]
struct FullReference {
    preset: Preset,
    seed: u64,
    photo: PathBuf,
    shape: [usize; 2],
    prompts: Vec<PromptReference>,
    /// The checksums of a few tensors of the checkpoint that the reference was made with.
    checksums: BTreeMap<String, String>,
}

/// Logits as 16-bit grey levels: `minimum + level · step`.
#[derive(Deserialize)]
struct PromptReference {
    prompt: String,
    input_ids: Vec<u32>,
    logits: PathBuf,
    minimum: f64,
    step: f64,
}

pub fn verify(device: &Device, tolerance: f64) -> Result<()> {
    let reference = FullReference::read()?;
    let checkpoint = ready(&reference)?;

    let model = ClipSeg::from_pretrained(device, &checkpoint)?;
    let prompts: Vec<_> = reference.prompts.iter().map(|prompt| prompt.prompt.as_str()).collect();
    for prompt in &reference.prompts {
        let ids = model.tokenizer().encode(&prompt.prompt)?.ids;
        ensure!(
            ids == prompt.input_ids,
            "{:?} became ids {ids:?}, expected {:?}",
            prompt.prompt,
            prompt.input_ids
        );
    }
    let photo = Photo::open(root().join(&reference.photo), Orientation::Apply)?;
    let scene = model.encode_image(&photo)?;
    let segmentation = model.segment(&scene, &prompts)?;

    let mut rows = Vec::new();
    for (place, prompt) in reference.prompts.iter().enumerate() {
        let expected = read_logits(prompt, reference.shape)?;
        let found = Array {
            shape: vec![segmentation.height(), segmentation.width()],
            values: segmentation.logits().slice(place).to_vec(),
        };
        rows.push(Comparison::new(&format!("logits {:?}", prompt.prompt), &expected, Some(&found)));
    }
    println!("\n{} on {}", checkpoint.display(), reference.photo.display());
    let failed = print_table(&rows, tolerance);
    ensure!(failed == 0, "{failed} of {} prompts exceed the tolerance of {tolerance:e}", rows.len());
    for row in &rows {
        let close = matches!(row.outcome, Outcome::Measured(measure) if measure.cosine >= LEAST_COSINE);
        ensure!(close, "{} correlates less than {LEAST_COSINE}", row.name);
    }
    println!(
        "\n{} prompts at full size agree (tolerance {tolerance:e}, cosine ≥ {LEAST_COSINE})",
        rows.len()
    );
    Ok(())
}

impl FullReference {
    fn read() -> Result<Self> {
        let path = root().join(FOLDER).join("reference.json");
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))
    }
}

/// The full-size checkpoint in `target/full`, made unless it is there with the right numbers.
fn ready(reference: &FullReference) -> Result<PathBuf> {
    let folder = root().join("target/full");
    if has_numbers(&folder, reference).is_err() {
        println!("making the full-size checkpoint in {}", folder.display());
        synth::write_checkpoint(reference.preset, reference.seed, &folder)?;
        has_numbers(&folder, reference)
            .context("the generator's numbers are not those of the reference; make it anew with `cargo xtask reference --full`")?;
    }
    Ok(folder)
}

fn has_numbers(folder: &Path, reference: &FullReference) -> Result<()> {
    let checkpoint = Checkpoint::open(folder)?;
    for (name, expected) in &reference.checksums {
        let tensor = checkpoint.get(name).with_context(|| format!("{name} is missing"))?;
        let found = format!("{:016x}", synth::checksum(&synth::bits_of(&tensor.bytes()?)));
        ensure!(found == *expected, "{name} has the checksum {found}, expected {expected}");
    }
    Ok(())
}

fn read_logits(prompt: &PromptReference, [height, width]: [usize; 2]) -> Result<Array> {
    let path = root().join(FOLDER).join(&prompt.logits);
    let picture = ImageReader::open(&path)
        .with_context(|| format!("reading {}", path.display()))?
        .decode()
        .with_context(|| format!("reading {}", path.display()))?
        .into_luma16();
    let size = (picture.height() as usize, picture.width() as usize);
    ensure!(size == (height, width), "{} is {size:?}, expected {height} by {width}", path.display());
    let level = |level: &u16| (prompt.minimum + f64::from(*level) * prompt.step) as f32;
    Ok(Array { shape: vec![height, width], values: picture.as_raw().iter().map(level).collect() })
}
