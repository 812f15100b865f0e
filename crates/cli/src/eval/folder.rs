//! A data set on disk.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clipseg::{Orientation, Photo, PhotoFile, Tokenizer};
use clipseg_files::shown;
use serde::Deserialize;

use super::example::{Example, Prompt, Query};
use crate::progress::Bar;
use crate::{inputs, mask_file, report};

const PROMPTS: &str = "prompts.jsonl";
/// The most bytes of that file, far more than a hundred thousand prompts take.
const MOST_BYTES: u64 = 256 << 20;

/// `images/`, `masks/` and `prompts.jsonl`.
pub struct DataFolder {
    path: PathBuf,
    /// The rows of each photo, each row with the number of its line in the file.
    photos: Vec<Vec<(usize, Row)>>,
}

/// A line of `prompts.jsonl`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    /// A file in `images/`.
    image: PathBuf,
    /// A phrase, in place of the two fields below.
    text: Option<String>,
    /// A file in `images/` that shows the object looked for …
    prompt_image: Option<PathBuf>,
    /// … where this file in `masks/` is white.
    prompt_mask: Option<PathBuf>,
    /// A file in `masks/`, white where the object is; null where it is not there. Without the next line, the
    /// key could be missing.
    #[serde(deserialize_with = "Option::deserialize")]
    mask: Option<PathBuf>,
    /// Prompts that are scored together.
    group: Option<String>,
    /// For the mean IoU: prompts that mean the same; by default those of the same phrase.
    class: Option<String>,
}

impl DataFolder {
    /// Reads the prompts and checks that every file they name is there, and that masks can be used and are as
    /// large as their photos: a run that ends at the last of them would have scored the others for nothing.
    pub fn open(path: &Path) -> Result<Self> {
        let prompts = path.join(PROMPTS);
        let unread =
            || format!("cannot read {}; a data folder has images/, masks/ and {PROMPTS}", prompts.display());
        let text = clipseg_files::read(&prompts, MOST_BYTES).with_context(unread)?;
        let text = String::from_utf8(text).with_context(unread)?;
        let mut folder = Self { path: path.to_owned(), photos: Vec::new() };
        let mut places = HashMap::new();
        let text = inputs::without_mark(&text);
        let bar = Bar::start(text.lines().count() as u64, "checking masks");
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let place = folder.place(index + 1);
            let row: Row = serde_json::from_str(line)
                .with_context(|| format!("{place}: is not a prompt, as `clipseg eval --help` shows them"))?;
            folder.check(&row).with_context(|| place.clone())?;
            let next = folder.photos.len();
            let place = *places.entry(row.image.clone()).or_insert(next);
            if place == next {
                folder.photos.push(Vec::new());
            }
            folder.photos[place].push((index + 1, row));
            bar.advance();
        }
        ensure!(!folder.photos.is_empty(), "{}: holds no prompts", prompts.display());
        Ok(folder)
    }

    /// Checks that the model can read all words, and warns of those that it cuts.
    pub fn check_words(&self, tokenizer: &Tokenizer) -> Result<()> {
        let mut rows: Vec<_> = self.photos.iter().flatten().collect();
        rows.sort_by_key(|(line, _)| *line);
        let mut seen = HashSet::new();
        for (line, text) in rows.into_iter().filter_map(|(line, row)| Some((*line, row.text.as_ref()?))) {
            if !seen.insert(text) {
                continue;
            }
            if tokenizer.encode(text).with_context(|| self.place(line))?.truncated {
                report::warning(format_args!(
                    "{}: is longer than {} tokens and was cut: {:?}",
                    self.place(line),
                    tokenizer.max_length(),
                    shown(text)
                ));
            }
        }
        Ok(())
    }

    /// The files that are read.
    pub fn files(&self) -> Vec<PathBuf> {
        let of_row = |row: &Row| {
            let images = [Some(&row.image), row.prompt_image.as_ref()].into_iter().flatten();
            let masks = [&row.mask, &row.prompt_mask].into_iter().flatten();
            let masks = masks.map(|mask| self.mask(mask));
            images.map(|image| self.image(image)).chain(masks).collect::<Vec<_>>()
        };
        let rows = self.photos.iter().flatten().flat_map(|(_, row)| of_row(row));
        [self.path.join(PROMPTS)].into_iter().chain(rows).collect()
    }

    /// The number of photos.
    pub fn len(&self) -> usize {
        self.photos.len()
    }

    /// Reads one photo and its masks.
    pub fn example(&self, index: usize) -> Result<Example> {
        let rows = &self.photos[index];
        let image = &rows[0].1.image;
        let photo =
            Photo::open(self.image(image), Orientation::Apply).with_context(|| self.place(rows[0].0))?;
        let query = |(line, row): &(usize, Row)| {
            let place = self.place(*line);
            self.query(row, &photo, place.clone()).context(place)
        };
        let queries = rows.iter().map(query).collect::<Result<_>>()?;
        Ok(Example { name: image.display().to_string(), photo, queries })
    }

    fn query(&self, row: &Row, photo: &Photo, place: String) -> Result<Query> {
        let mask = match &row.mask {
            Some(mask) => mask_file::read(&self.mask(mask), photo, Orientation::Apply)?,
            None => vec![false; photo.width() * photo.height()],
        };
        let prompt = match (&row.text, &row.prompt_image, &row.prompt_mask) {
            (Some(text), None, None) => Prompt::Text(text.clone()),
            (None, Some(image), Some(mask)) => {
                let shown = Photo::open(self.image(image), Orientation::Apply)?;
                let marked = mask_file::read(&self.mask(mask), &shown, Orientation::Apply)?;
                Prompt::Image(shown, marked, format!("[{}]", image.display()))
            }
            _ => bail!("a prompt has either \"text\", or \"prompt_image\" and \"prompt_mask\""),
        };
        let kind = if prompt.is_text() { "text" } else { "image" };
        let present = if mask.contains(&true) { kind.to_owned() } else { format!("{kind}, absent") };
        Ok(Query {
            place,
            class: row.class.clone().unwrap_or_else(|| prompt.name().to_owned()),
            group: row.group.clone().unwrap_or(present),
            prompt,
            mask,
        })
    }

    fn check(&self, row: &Row) -> Result<()> {
        match (&row.text, &row.prompt_image, &row.prompt_mask) {
            (Some(_), None, None) => {}
            (None, Some(image), Some(mask)) => self.check_sizes(image, Some(mask))?,
            _ => bail!("a prompt has either \"text\", or \"prompt_image\" and \"prompt_mask\""),
        }
        self.check_sizes(&row.image, row.mask.as_deref())
    }

    /// Compares the mask's size with that in the photo's header. A photo may be stored on its side and turned
    /// when it is read, so width and height may be swapped.
    fn check_sizes(&self, image: &Path, mask: Option<&Path>) -> Result<()> {
        let (width, height) = PhotoFile::stored_size(self.image(image))?;
        let Some(mask) = mask.map(|mask| self.mask(mask)) else { return Ok(()) };
        let found = mask_file::checked_size(&mask)?;
        ensure!(
            found == (width, height) || found == (height, width),
            "{}: is {} × {} pixels, but {} is {width} × {height}",
            mask.display(),
            found.0,
            found.1,
            image.display()
        );
        Ok(())
    }

    fn image(&self, name: &Path) -> PathBuf {
        self.path.join("images").join(name)
    }

    fn mask(&self, name: &Path) -> PathBuf {
        self.path.join("masks").join(name)
    }

    fn place(&self, line: usize) -> String {
        format!("{}, line {line}", self.path.join(PROMPTS).display())
    }
}
