//! `cargo xtask scenes`: generated scenes as a folder of pictures, masks and prompts, as
//! `clipseg eval --data` reads it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use clipseg_shapes::{Prompt, SIZE, Scene};
use image::{ExtendedColorType, save_buffer};
use serde::Serialize;

/// What `cargo xtask scenes` takes.
#[derive(Args, Debug)]
pub struct ScenesArguments {
    /// The data set
    #[arg(long, default_value_t = 3)]
    pub seed: u64,
    /// How many of its scenes
    #[arg(long, default_value_t = 100)]
    pub count: u64,
    /// The folder to write images/, masks/ and prompts.jsonl to; it is made if needed
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// A line of prompts.jsonl.
#[derive(Serialize)]
struct Row {
    image: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_image: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_mask: Option<String>,
    mask: Option<String>,
    class: String,
}

/// Writes the scenes that the arguments ask for; the prompts last.
pub fn run(arguments: &ScenesArguments) -> Result<()> {
    let ScenesArguments { seed, count, out } = arguments;
    for folder in ["images", "masks"] {
        let folder = out.join(folder);
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    let mut lines = String::new();
    for index in 0..*count {
        for row in write_scene(*seed, index, out)? {
            lines += &(serde_json::to_string(&row)? + "\n");
        }
    }
    let path = out.join("prompts.jsonl");
    fs::write(&path, lines).with_context(|| format!("cannot write {}", path.display()))?;
    println!("wrote {count} scenes to {}", out.display());
    Ok(())
}

fn write_scene(seed: u64, index: u64, out: &Path) -> Result<Vec<Row>> {
    let scene = Scene::new(seed, index);
    let image = format!("{index}.png");
    save(&out.join("images").join(&image), &scene.pixels, ExtendedColorType::Rgb8)?;
    let mask = |name: &str, scene: &Scene, members: &[usize]| -> Result<Option<String>> {
        if members.is_empty() {
            return Ok(None);
        }
        let white: Vec<_> = scene.mask(members).iter().map(|pixel| pixel * 255).collect();
        save(&out.join("masks").join(name), &white, ExtendedColorType::L8)?;
        Ok(Some(name.to_owned()))
    };
    let mut rows = Vec::new();
    for (place, query) in scene.queries(seed, index).into_iter().enumerate() {
        let mut row = Row {
            image: image.clone(),
            text: None,
            prompt_image: None,
            prompt_mask: None,
            mask: mask(&format!("{index}-{place}.png"), &scene, &query.members)?,
            class: query.attributes.words(),
        };
        match query.prompt {
            Prompt::Text(text) => row.text = Some(text),
            Prompt::Image(support) => {
                let name = format!("{index}-prompt.png");
                save(&out.join("images").join(&name), &support.pixels, ExtendedColorType::Rgb8)?;
                row.prompt_mask = mask(&name, &support, &[0])?;
                row.prompt_image = Some(name);
            }
        }
        rows.push(row);
    }
    Ok(rows)
}

fn save(path: &Path, pixels: &[u8], colour: ExtendedColorType) -> Result<()> {
    let side = SIZE as u32;
    save_buffer(path, pixels, side, side, colour).with_context(|| format!("cannot write {}", path.display()))
}
