//! The photos to segment.

use std::collections::{BTreeSet, HashSet};
use std::io::stdin;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use clipseg::{PhotoFile, Processor, WindowPixels};
use walkdir::{DirEntry, WalkDir};

use super::Arguments;
use super::{dataset, frames};
use crate::{pictures, report};

/// The endings of the files that are taken for photos when a folder is searched.
pub const EXTENSIONS: [&str; 12] =
    ["jpg", "jpeg", "jpe", "jif", "jfif", "png", "webp", "gif", "bmp", "dib", "tif", "tiff"];
/// The endings of pictures that this program does not read.
const OTHER_ENDINGS: [&str; 16] = [
    "heic", "heif", "hif", "avif", "jxl", "jp2", "j2k", "psd", "dng", "cr2", "cr3", "nef", "arw", "orf",
    "rw2", "raf",
];

/// Given in place of a photo, stands for the photos whose paths are on stdin.
const STREAM: &str = "-";

/// A photo to be read.
pub struct Source {
    pub path: PathBuf,
    /// The photo's folder, relative to the folder that was named; empty for that folder itself.
    pub folder: PathBuf,
}

/// The photos that were found in the files and folders that the user named.
#[derive(Default)]
pub struct Listing {
    pub photos: Vec<Source>,
    /// Folders that could not be read, or in which there is no photo.
    pub failures: Vec<(PathBuf, anyhow::Error)>,
}

/// A photo that is read, and the model's view of it.
pub struct Opened {
    pub photo: PhotoFile,
    pub pixels: WindowPixels,
}

/// Reads a photo.
pub fn open(path: &Path, arguments: &Arguments, processor: &Processor) -> Result<Opened> {
    let photo = arguments.reading.open(path)?;
    let pixels =
        arguments.resolution.cut(&photo.photo, processor).with_context(|| path.display().to_string())?;
    Ok(Opened { photo, pixels })
}

impl Listing {
    /// Lists the photos that were named, or whose paths are on the lines of stdin. A folder stands for the
    /// photos in it, in the order of their names, where numbers are ordered by their value. Hidden files are
    /// left out, and so are pictures that this program has written.
    ///
    /// # Errors
    /// Where a single folder is named and has no photo.
    pub fn of(named: &[PathBuf], recursive: bool) -> Result<Self> {
        let mut listing = Self::default();
        let mut ours = Vec::new();
        let mut from_stream = Vec::new();
        if named.iter().any(|path| path == Path::new(STREAM)) {
            from_stream = frames::read_paths(stdin().lock()).context("-: cannot read paths from stdin")?;
            ensure!(!from_stream.is_empty(), "-: stdin names no photo; write a path to each line");
        }
        let named = named.iter().flat_map(|path| {
            if path == Path::new(STREAM) { std::mem::take(&mut from_stream) } else { vec![path.clone()] }
        });
        let named: Vec<_> = named.collect();
        for path in &named {
            if path.is_dir() {
                let added = listing.add_folder(path, recursive);
                match added.with_context(|| path.display().to_string()) {
                    Err(error) if named.len() > 1 => listing.failures.push((path.clone(), error)),
                    added => added?,
                }
            } else if pictures::is_ours(path) {
                ours.push(path);
            } else {
                listing.photos.push(Source { path: path.clone(), folder: PathBuf::new() });
            }
        }
        if let Some(first) = ours.first() {
            let first = first.display();
            ensure!(
                !listing.photos.is_empty(),
                "{first}: is a picture that clipseg wrote; name the photo that it was made of"
            );
            report::warning(format_args!(
                "{first}: is left out, as {} of the files named: clipseg wrote it, it is not a photo",
                ours.len()
            ));
        }
        Ok(listing)
    }

    /// Leaves out photos that are listed already, also by another path: for data sets, in which a photo
    /// stands once.
    pub fn leave_out_repeated(&mut self) {
        let mut seen = HashSet::new();
        let (count, mut first) = (self.photos.len(), None);
        self.photos.retain(|Source { path, .. }| {
            // What cannot be found is reported when it is opened.
            let is_new = path.canonicalize().map_or(true, |file| seen.insert(file));
            if !is_new {
                first.get_or_insert_with(|| path.clone());
            }
            is_new
        });
        if let Some(first) = first {
            report::warning(format_args!(
                "{}: is left out, as {} of the photos: it is the same file as an earlier one, and a data set has each \
                 photo once",
                first.display(),
                count - self.photos.len()
            ));
        }
    }

    fn add_folder(&mut self, folder: &Path, recursive: bool) -> Result<()> {
        let (photos, failures) = (self.photos.len(), self.failures.len());
        let (mut others, mut ours) = (Others::default(), 0_usize);
        let depth = if recursive { usize::MAX } else { 1 };
        let walk = WalkDir::new(folder)
            .min_depth(1)
            .max_depth(depth)
            .sort_by(|one, other| frames::by_number(one.file_name(), other.file_name()));
        for entry in walk.into_iter().filter_entry(|entry| entry.depth() == 0 || !is_left_out(entry)) {
            match entry {
                Err(error) if error.depth() == 0 => return Err(error.into()),
                Err(error) => {
                    let path = error.path().unwrap_or(folder).to_owned();
                    self.failures.push((path, error.into()));
                }
                // The path is asked, not the entry, as links to files are taken too. Links that lead nowhere
                // and whatever else is not a file are taken as well, and reported when they cannot be opened.
                Ok(entry) if !entry.path().is_dir() => {
                    let path = entry.into_path();
                    let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
                    if OTHER_ENDINGS.contains(&ending.as_str()) {
                        others.add(ending);
                        continue;
                    }
                    if !EXTENSIONS.contains(&ending.as_str()) {
                        continue;
                    }
                    if pictures::is_ours(&path) {
                        ours += 1;
                    } else {
                        let parent = path.parent().unwrap_or(folder);
                        let within = parent.strip_prefix(folder).unwrap_or(Path::new("")).to_owned();
                        self.photos.push(Source { path, folder: within });
                    }
                }
                Ok(_) => {}
            }
        }
        if (self.photos.len(), self.failures.len()) == (photos, failures) {
            let advice = if recursive { "" } else { "; --recursive looks in the folders within it too" };
            return Err(anyhow!(
                "there is no photo in this folder (a file that ends in .{}){advice}{ours}{others}",
                EXTENSIONS.join(", ."),
                ours = match ours {
                    0 => String::new(),
                    ours => format!("; pictures in it that clipseg wrote, which are not photos: {ours}"),
                },
                others = others.note().map(|note| format!("; {note}")).unwrap_or_default()
            ));
        }
        if let Some(note) = others.note() {
            report::warning(format_args!("{}: {note}", folder.display()));
        }
        Ok(())
    }
}

/// Pictures of kinds that are not read.
#[derive(Default)]
struct Others {
    count: usize,
    endings: BTreeSet<String>,
}

impl Others {
    fn add(&mut self, ending: String) {
        self.count += 1;
        self.endings.insert(ending);
    }

    fn note(&self) -> Option<String> {
        let endings: Vec<_> = self.endings.iter().map(|ending| format!(".{ending}")).collect();
        let endings = endings.join(", ");
        (self.count > 0).then(|| {
            format!(
                "pictures of other kinds ({endings}) are left out: {}; convert them to JPEG or PNG",
                self.count
            )
        })
    }
}

/// Whether an entry is skipped when a folder is searched.
fn is_left_out(entry: &DirEntry) -> bool {
    let is_copies = entry.file_type().is_dir() && dataset::holds_copies(entry.path());
    if is_copies {
        report::warning(format_args!(
            "{}: is left out, as it holds the copies of photos in a data set that clipseg wrote; to take them, name it",
            entry.path().display()
        ));
    }
    is_copies || is_hidden(entry)
}

/// Hidden files, among them what macOS puts beside files on other systems' volumes: `._cat.png`.
fn is_hidden(entry: &DirEntry) -> bool {
    entry.file_name().as_encoded_bytes().starts_with(b".")
}
