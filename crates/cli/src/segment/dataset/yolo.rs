//! YOLO's format, as ultralytics documents it for segmentation: `images/`, `labels/` with a text file for
//! each image, and `data.yaml`.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use clipseg::Photo;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use serde::Serialize;
use walkdir::WalkDir;

use super::{Annotated, Instance, has_content_of, listed};
use crate::names::key;
use crate::paths::PathText;
use crate::segment::photos::Source;
use crate::{output, pictures};

/// The file that describes the data set.
const FILE: &str = "data.yaml";
const IMAGES: &str = "images";
const LABELS: &str = "labels";
/// What a folder of photos is called that has the name of the pictures' folder.
const RENAMED: &str = "images-2";
/// The first line of the file, by which a folder of an earlier run is recognised.
const MARK: &str = "# A data set that clipseg wrote.";
/// The endings by which ultralytics knows the pictures that it reads.
const EXTENSIONS: [&str; 7] = ["bmp", "jpeg", "jpg", "png", "tif", "tiff", "webp"];
/// Other endings of the same formats, which ultralytics does not know, with those that it does.
const ALIASES: [(&str, &str); 4] = [("dib", "bmp"), ("jfif", "jpg"), ("jif", "jpg"), ("jpe", "jpg")];
/// The most bytes of the file that describes a data set of an earlier run.
const MOST_BYTES: u64 = 64 << 20;

/// The data set in the making; each photo's files are written when it is added.
pub struct Yolo<'a> {
    folder: &'a output::Folder,
    ignore_exif: bool,
    description: String,
    file: Option<PathBuf>,
    /// The pictures that the folders of `images` held before they got one of this run, by the keys of their
    /// names without endings.
    pictures: HashMap<PathBuf, HashMap<String, Vec<PathBuf>>>,
}

/// One photo's files.
#[derive(Serialize)]
pub struct YoloFiles {
    pub image: PathText<PathBuf>,
    pub labels: PathText<PathBuf>,
}

/// How a photo comes into the data set; names are within its folder.
enum Picture {
    /// It is there already.
    There(PathBuf),
    /// Its file is copied.
    Copy(PathBuf),
    /// These bytes are written.
    Png(PathBuf, Vec<u8>),
}

/// Whether a folder holds copies of photos: it is the `images` of a data set that this program wrote.
pub fn holds_copies(folder: &Path) -> bool {
    folder.file_name().is_some_and(|name| name == IMAGES) && folder.parent().is_some_and(is_ours)
}

/// What to call a photo's folder within the data set's. Ultralytics finds the labels of a picture by putting
/// `labels` in place of the last `images` in its path, which has to be the data set's own; and what lies in
/// that folder is a picture to train with.
pub fn renamed(folder: &Path) -> Cow<'_, Path> {
    // Some file systems take other spellings of the name for the same.
    let is_images = |part: &Component<'_>| key(&part.as_os_str().to_string_lossy()) == IMAGES;
    if !folder.components().any(|part| is_images(&part)) {
        return folder.into();
    }
    let parts =
        folder.components().map(|part| if is_images(&part) { OsStr::new(RENAMED) } else { part.as_os_str() });
    parts.collect::<PathBuf>().into()
}

/// Whether a folder holds a data set in this form that this program wrote.
pub fn is_ours(folder: &Path) -> bool {
    clipseg_files::starts_with(&folder.join(FILE), MARK.as_bytes())
}

impl<'a> Yolo<'a> {
    /// Checks that the folder holds no data set that another program or person made, none of other classes,
    /// whose labels would get another meaning, and no pictures that would be trained with but that this run
    /// gives no labels.
    pub fn prepare(
        folder: &'a output::Folder,
        classes: &[String],
        photos: &[Source],
        ignore_exif: bool,
    ) -> Result<Self> {
        let labels = folder.path().join(LABELS);
        let is_empty = fs::read_dir(&labels).map_or(true, |mut entries| entries.next().is_none());
        ensure!(
            is_ours(folder.path()) || (is_empty && !folder.path().join(FILE).exists()),
            "--save yolo: {} holds a data set that clipseg did not write; choose another --out",
            folder.path().display()
        );
        if is_ours(folder.path()) {
            check_classes(&folder.path().join(FILE), classes)?;
        } else {
            check_pictures(&folder.path().join(IMAGES), photos)?;
        }
        let mut description = format!(
            "{MARK}\n# Each line of a label file: class x y x y ..., of 0..1 across and down the image.\n"
        );
        description += "train: images\nval: images\nnames:\n";
        for (number, class) in classes.iter().enumerate() {
            writeln!(description, "  {number}: {}", quoted(class)?)?;
        }
        Ok(Self { folder, ignore_exif, description, file: None, pictures: HashMap::new() })
    }

    /// Adds a photo. Its picture comes last: labels without one are not read, but a picture without labels
    /// would be taken for one that shows nothing.
    pub fn add(&mut self, annotated: &Annotated<'_>) -> Result<YoloFiles> {
        let Annotated { source, name, photo, instances, .. } = annotated;
        let image = self.picture(annotated)?;
        self.check_name(&image.path(self.folder.path()), name)?;
        // Write this file before the first labels, as it shows that they are ours.
        if self.file.is_none() {
            self.file = Some(self.folder.write(FILE, self.description.as_bytes())?);
        }
        let labels = labels(instances, photo);
        let name = with_extension(&Path::new(LABELS).join(name), "txt");
        let labels = self.folder.write(name, labels.as_bytes())?;
        let image = self.write(&source.path, image)?;
        Ok(YoloFiles { image: PathText(image), labels: PathText(labels) })
    }

    /// Refuses a picture beside which there is one of the same name with another ending: both would have the
    /// same file of labels.
    fn check_name(&mut self, picture: &Path, name: &Path) -> Result<()> {
        let folder = picture.parent().unwrap_or(Path::new(""));
        if !self.pictures.contains_key(folder) {
            self.pictures.insert(folder.to_owned(), pictures_in(folder));
        }
        let key = key(&name.file_name().unwrap_or_default().to_string_lossy());
        let there = self.pictures.get(folder).and_then(|pictures| pictures.get(&key)).into_iter().flatten();
        match there.into_iter().find(|there| *there != picture) {
            None => Ok(()),
            Some(there) => Err(anyhow!(
                "{}: is in the data set already, and {} would have the same file of labels; choose another --out, \
                 or give the photo another name",
                there.display(),
                picture.display()
            )),
        }
    }

    /// The file that describes the data set, once it is written.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// How the photo comes into the data set: as a copy of its file if ultralytics reads such files and sees
    /// the picture that was segmented, and as a PNG otherwise. Another picture of that name is an error.
    fn picture(&self, annotated: &Annotated<'_>) -> Result<Picture> {
        let Annotated { source, name, photo, is_upright, .. } = annotated;
        let source = &source.path;
        let ending = source.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        let alias = ALIASES.iter().find(|(alias, _)| *alias == ending).map(|(_, ending)| *ending);
        let known = alias.or_else(|| EXTENSIONS.into_iter().find(|known| *known == ending));
        let known = known.filter(|ending| has_content_of(source, ending));
        // Of the orientation that a camera wrote, ultralytics heeds a JPEG's.
        let is_jpeg = matches!(known, Some("jpg" | "jpeg"));
        let copied = known.filter(|_| *is_upright || (is_jpeg && !self.ignore_exif));
        let name = with_extension(&Path::new(IMAGES).join(name), copied.unwrap_or("png"));
        let path = self.folder.path().join(&name);
        let is_there = match fs::symlink_metadata(&path) {
            Ok(_) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let unread = || format!("cannot compare {} with {}", source.display(), path.display());
        if copied.is_some() {
            return match is_there {
                false => Ok(Picture::Copy(name)),
                true if is_same(source, &path).with_context(unread)? => Ok(Picture::There(path)),
                true => Err(taken(&path)),
            };
        }
        let mut png = Vec::new();
        let (width, height) = (u32::try_from(photo.width())?, u32::try_from(photo.height())?);
        PngEncoder::new(&mut png).write_image(photo.rgb(), width, height, ExtendedColorType::Rgb8)?;
        match is_there {
            false => Ok(Picture::Png(name, png)),
            true if clipseg_files::read(&path, u64::MAX - 1).with_context(unread)? == png => {
                Ok(Picture::There(path))
            }
            true => Err(taken(&path)),
        }
    }

    /// Writes the picture, and gives its path.
    fn write(&self, source: &Path, picture: Picture) -> Result<PathBuf> {
        match picture {
            Picture::There(path) => Ok(path),
            Picture::Png(name, bytes) => self.folder.write(name, &bytes),
            Picture::Copy(name) => {
                let unread = || format!("cannot read {}", source.display());
                let mut from = clipseg_files::open(source).with_context(unread)?;
                self.folder.write_with(name, |file| io::copy(&mut from, file).map(|_| ()))
            }
        }
    }
}

impl Picture {
    /// Its path in the data set's folder.
    fn path(&self, folder: &Path) -> PathBuf {
        match self {
            Self::There(path) => path.clone(),
            Self::Copy(name) | Self::Png(name, _) => folder.join(name),
        }
    }
}

/// The pictures in a folder by the keys of their names without endings; none where it is not there.
fn pictures_in(folder: &Path) -> HashMap<String, Vec<PathBuf>> {
    let mut pictures = HashMap::<_, Vec<_>>::new();
    for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        if EXTENSIONS.contains(&ending.as_str()) {
            let name = key(&path.file_stem().unwrap_or_default().to_string_lossy());
            pictures.entry(name).or_default().push(path);
        }
    }
    pictures
}

/// Checks that the folder of pictures, all of which are trained with, has no earlier run's results, and no
/// pictures where none of this run's photos has its place.
fn check_pictures(folder: &Path, photos: &[Source]) -> Result<()> {
    let same = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let place =
        |photo: &Source| Some(same(&folder.join(renamed(&photo.folder)).join(photo.path.file_name()?)));
    let places: HashSet<_> = photos.iter().filter_map(place).collect();
    for entry in WalkDir::new(folder).into_iter().flatten().filter(|entry| entry.file_type().is_file()) {
        let path = entry.path();
        ensure!(
            !pictures::is_ours(path),
            "--save yolo: {} is a result of an earlier run, and would be a picture to train with; choose another --out, \
             or move it away",
            path.display()
        );
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        ensure!(
            !EXTENSIONS.contains(&ending.as_str()) || places.contains(&same(path)),
            "--save yolo: {} would be a picture to train with that this run gives no labels; choose another --out, or \
             move it away",
            path.display()
        );
    }
    Ok(())
}

/// Checks that a data set of an earlier run has these classes, as its labels are numbers of its own.
fn check_classes(path: &Path, classes: &[String]) -> Result<()> {
    let text =
        clipseg_files::read(path, MOST_BYTES).with_context(|| format!("cannot read {}", path.display()))?;
    let there = names(&String::from_utf8_lossy(&text));
    ensure!(
        there.as_deref() == Some(classes),
        "--save yolo: {} is of a data set with other classes ({}) than this run has ({}), whose labels would be \
         taken for these; choose another --out",
        path.display(),
        there.as_ref().map_or("unreadable ones".to_owned(), listed),
        listed(classes)
    );
    Ok(())
}

/// The names of the classes in a file that this program wrote, if they are as it writes them.
fn names(text: &str) -> Option<Vec<String>> {
    let mut lines = text.lines().skip_while(|line| *line != "names:").skip(1);
    let name = |(number, line): (usize, &str)| {
        let name = line.strip_prefix(&format!("  {number}: "))?;
        serde_json::from_str(name).ok()
    };
    lines.by_ref().take_while(|line| line.starts_with(' ')).enumerate().map(name).collect()
}

/// A name as a string of YAML in double quotes: a JSON string, in which what YAML does not take as it is, or
/// takes for an end of line, is escaped too.
fn quoted(name: &str) -> Result<String> {
    let mut quoted = String::new();
    for c in serde_json::to_string(name)?.chars() {
        match c {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                write!(quoted, "\\u{:04x}", u32::from(c))?;
            }
            c => quoted.push(c),
        }
    }
    Ok(quoted)
}

/// The error for another picture that is already there: it is not overwritten.
fn taken(path: &Path) -> anyhow::Error {
    anyhow!("{}: is another picture than the photo; choose another --out, or remove it", path.display())
}

/// Whether two paths lead to the same file, or to files with the same bytes.
fn is_same(one: &Path, other: &Path) -> io::Result<bool> {
    let is_one = one.canonicalize()? == other.canonicalize()?;
    Ok(is_one
        || (fs::metadata(one)?.len() == fs::metadata(other)?.len() && fs::read(one)? == fs::read(other)?))
}

/// A line for each instance: its class and its outer border. Holes are filled.
fn labels(instances: &[Instance], photo: &Photo) -> String {
    let (width, height) = (photo.width() as f64, photo.height() as f64);
    let mut text = String::new();
    for Instance { class, contour, .. } in instances {
        text += &class.to_string();
        for [x, y] in &contour.outer.points {
            text += &format!(" {:.6} {:.6}", f64::from(*x) / width, f64::from(*y) / height);
        }
        text.push('\n');
    }
    text
}

/// The name with `ending` appended, whatever dots the name has.
fn with_extension(name: &Path, ending: &str) -> PathBuf {
    let mut name = name.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_folder_within_has_the_name_of_the_pictures() {
        for (folder, expected) in [
            ("", ""),
            ("train", "train"),
            ("images", "images-2"),
            ("train/images", "train/images-2"),
            ("a/Images/images/b", "a/images-2/images-2/b"),
            ("images of cats/images-2", "images of cats/images-2"),
        ] {
            assert_eq!(renamed(Path::new(folder)), Path::new(expected), "{folder}");
        }
    }

    /// What PyYAML refuses in a file, and what ends a line of YAML.
    #[test]
    fn names_are_strings_of_yaml_and_are_read_again() {
        assert_eq!(
            quoted("a\u{7f}\"b\"\u{85}\u{2028}é猫🐈\t").unwrap(),
            r#""a\u007f\"b\"\u0085\u2028é猫🐈\t""#
        );
        let classes = ["a\u{7f}b", "c: \"d\"", "é\u{ffff}"].map(str::to_owned);
        let lines: String = (0..)
            .zip(&classes)
            .map(|(number, class)| format!("  {number}: {}\n", quoted(class).unwrap()))
            .collect();
        assert_eq!(names(&format!("{MARK}\ntrain: images\nnames:\n{lines}nc: 3\n")).unwrap(), classes);
        for other in ["names: [cat]\n", "names:\n  0: cat\n", "names:\n  1: \"cat\"\n"] {
            assert_ne!(names(other), Some(vec!["cat".to_owned()]), "{other}");
        }
    }
}
