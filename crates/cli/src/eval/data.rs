//! What a model is scored on: generated scenes, or a folder of pictures, masks and prompts.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, ensure};
use clipseg::{Photo, Tokenizer};
use clipseg_shapes::{SIZE, Scene};

use super::example::{Example, Prompt, Query};
use super::folder::DataFolder;

/// Where examples come from.
#[derive(Clone)]
pub enum DataArgument {
    /// `shapes:SEED:COUNT`
    Shapes { seed: u64, count: u64 },
    /// A folder of `images/`, `masks/` and `prompts.jsonl`.
    Folder(PathBuf),
}

impl FromStr for DataArgument {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some(shapes) = text.strip_prefix("shapes:") else { return Ok(Self::Folder(text.into())) };
        let parts =
            shapes.split_once(':').and_then(|(seed, count)| Some((seed.parse().ok()?, count.parse().ok()?)));
        let (seed, count) =
            parts.ok_or_else(|| anyhow!("scenes are named shapes:SEED:COUNT, as in shapes:3:1000"))?;
        ensure!(count > 0, "at least one scene is needed");
        Ok(Self::Shapes { seed, count })
    }
}

impl std::fmt::Display for DataArgument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Shapes { seed, count } => write!(f, "shapes:{seed}:{count}"),
            Self::Folder(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A data set whose files are known to be there.
pub enum Data {
    /// Generated scenes.
    Shapes { seed: u64, count: u64 },
    /// Files.
    Folder(DataFolder),
}

impl Data {
    /// Opens the data, and checks that every file that will be read is there.
    pub fn open(argument: &DataArgument) -> Result<Self> {
        Ok(match argument {
            DataArgument::Shapes { seed, count } => Self::Shapes { seed: *seed, count: *count },
            DataArgument::Folder(path) => Self::Folder(DataFolder::open(path)?),
        })
    }

    /// The files that are read.
    pub fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::Shapes { .. } => Vec::new(),
            Self::Folder(folder) => folder.files(),
        }
    }

    /// Checks that the model can read all words, and warns of those that it cuts.
    pub fn check_words(&self, tokenizer: &Tokenizer) -> Result<()> {
        match self {
            // Phrases of a few words.
            Self::Shapes { .. } => Ok(()),
            Self::Folder(folder) => folder.check_words(tokenizer),
        }
    }

    /// The number of examples.
    pub fn len(&self) -> usize {
        match self {
            Self::Shapes { count, .. } => *count as usize,
            Self::Folder(folder) => folder.len(),
        }
    }

    /// Reads or draws one example.
    pub fn example(&self, index: usize) -> Result<Example> {
        match self {
            Self::Shapes { seed, .. } => shapes_example(*seed, index as u64),
            Self::Folder(folder) => folder.example(index),
        }
    }
}

fn shapes_example(seed: u64, index: u64) -> Result<Example> {
    let marked =
        |scene: &Scene, members: &[usize]| scene.mask(members).into_iter().map(|pixel| pixel != 0).collect();
    let photo =
        |scene: &Scene| Photo::from_rgb(SIZE, SIZE, scene.pixels.clone()).context("a scene is a photo");
    let scene = Scene::new(seed, index);
    let name = format!("shapes:{seed}:{index}");
    let queries = scene.queries(seed, index).into_iter().map(|query| {
        let is_held_out = query.is_held_out();
        let (kind, prompt, class) = match query.prompt {
            clipseg_shapes::Prompt::Text(text) => ("text", Prompt::Text(text), query.attributes.words()),
            clipseg_shapes::Prompt::Image(support) => {
                let shown = query.attributes.words();
                let prompt = Prompt::Image(
                    photo(&support)?,
                    marked(&support, &[0]),
                    format!("[picture of a {shown}]"),
                );
                ("image", prompt, shown)
            }
        };
        let group = match (query.members.is_empty(), is_held_out) {
            (true, _) => "absent",
            (false, false) => "seen pairs",
            (false, true) => "unseen pairs",
        };
        let (mask, group) = (marked(&scene, &query.members), format!("{kind}, {group}"));
        Ok(Query { place: name.clone(), prompt, mask, group, class })
    });
    let queries = queries.collect::<Result<_>>()?;
    Ok(Example { name, photo: photo(&scene)?, queries })
}
