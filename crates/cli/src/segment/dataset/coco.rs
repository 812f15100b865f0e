//! COCO's format: one JSON file of images, categories and annotations.

mod earlier;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf, absolute};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::super::photos::Source;
use super::{Annotated, Instance};
use crate::paths::PathText;
use crate::{output, report};

/// The file's name in the output folder.
const FILE: &str = "annotations.json";
/// What the file is called while it lacks photos that an earlier run's file has, which it must not replace.
const PARTIAL: &str = "annotations.partial.json";
/// The beginning of the file, by which a file of an earlier run is recognised.
const START: &str = "{\"info\":{\"description\":\"masks found by clipseg\",";
/// What stands between the list of images and that of annotations.
const ANNOTATIONS: &[u8] = b"],\"annotations\":[";
/// The shortest time from one write of the file to the next. The first write comes with the first photo, so
/// that an early end loses only the photos since the last write.
const INTERVAL: Duration = Duration::from_secs(10);
/// At most one part in this many of the time goes into writing the file.
const SHARE: u32 = 20;

/// The file in the making. Annotations are kept in an unnamed temporary file until they are put together with
/// the rest.
pub struct Coco {
    folder: output::Folder,
    /// The file's beginning, up to the list of images.
    head: Vec<u8>,
    /// The folder that the images' names are relative to.
    root: PathBuf,
    /// The photos of an earlier run's file that are not added yet, by their absolute paths.
    missing: HashSet<PathBuf>,
    /// Whether there is a partial file of ours.
    has_partial: bool,
    images: Vec<u8>,
    annotations: Option<File>,
    /// The bytes of that file that belong to the photos; what follows is of one that could not be added.
    length: u64,
    image_count: usize,
    annotation_count: usize,
    written: Option<Instant>,
    /// How long it took to write the file the last time.
    cost: Duration,
}

#[derive(Serialize)]
struct Image {
    id: usize,
    file_name: String,
    width: usize,
    height: usize,
}

#[derive(Serialize)]
struct Category<'a> {
    id: usize,
    name: &'a str,
    supercategory: &'a str,
}

#[derive(Serialize)]
struct Annotation<'a> {
    id: usize,
    image_id: usize,
    category_id: usize,
    bbox: [u32; 4],
    /// Pixels.
    area: usize,
    iscrowd: u8,
    /// The mean probability.
    score: f32,
    segmentation: Segmentation<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Segmentation<'a> {
    /// For a part without holes.
    Polygons([&'a [u32]; 1]),
    /// For a part with holes, which polygons cannot have. `size` is height and width.
    RunLengths { size: [usize; 2], counts: &'a [u32] },
}

impl Coco {
    /// Checks that the folder holds no file of another program or person, and none of ours with other photos,
    /// which would be lost. One with the same photos, or fewer, is replaced once all of them are added.
    pub fn new(folder: &output::Folder, classes: &[String], photos: &[Source]) -> Result<Self> {
        let paths = photos.iter().map(|photo| absolute(&photo.path));
        let paths = paths.collect::<io::Result<Vec<_>>>().context("--save coco")?;
        let root = common_folder(&paths);
        let path = folder.path().join(FILE);
        check_ours(&path)?;
        let (mut missing, mut has_partial) = (HashSet::new(), false);
        if path.exists() {
            missing = earlier::photos(&path, &paths, classes)?;
            let partial = folder.path().join(PARTIAL);
            check_ours(&partial)?;
            has_partial = partial.exists();
        }
        // COCO's own category ids begin at 1.
        let categories = (1..).zip(classes).map(|(id, name)| Category { id, name, supercategory: "" });
        let categories: Vec<_> = categories.collect();
        let mut head = Vec::new();
        let photos = serde_json::to_string(&PathText(&root))?;
        let version = env!("CARGO_PKG_VERSION");
        write!(
            head,
            "{START}\"version\":\"{version}\",\"photos\":{photos}}},\"licenses\":[],\"categories\":"
        )?;
        serde_json::to_writer(&mut head, &categories)?;
        head.extend(b",\"images\":[");
        Ok(Self {
            folder: folder.clone(),
            head,
            root,
            missing,
            has_partial,
            images: Vec::new(),
            annotations: None,
            length: 0,
            image_count: 0,
            annotation_count: 0,
            written: None,
            cost: Duration::ZERO,
        })
    }

    /// Adds a photo, all of it or nothing.
    pub fn add(&mut self, annotated: &Annotated<'_>) -> Result<()> {
        let image_id = self.image_count + 1;
        let path = absolute(&annotated.source.path)
            .with_context(|| format!("--save coco: {}", annotated.source.path.display()))?;
        let file_name = with_slashes(path.strip_prefix(&self.root).unwrap_or(&path));
        let (width, height) = (annotated.photo.width(), annotated.photo.height());
        let image = serde_json::to_vec(&Image { id: image_id, file_name, width, height })?;
        let mut text = Vec::new();
        for (id, instance) in (self.annotation_count + 1..).zip(&annotated.instances) {
            if id > 1 {
                text.extend(b",\n");
            }
            serde_json::to_writer(&mut text, &Annotation::of(id, image_id, instance))?;
        }
        self.spool(&text).with_context(|| format!("cannot write {}", self.folder.path().display()))?;
        // Nothing fails from here on.
        if image_id > 1 {
            self.images.extend(b",\n");
        }
        self.images.extend(image);
        self.missing.remove(&path);
        self.image_count = image_id;
        self.annotation_count += annotated.instances.len();
        let pause = INTERVAL.max(SHARE * self.cost);
        if self.written.is_none_or(|written| written.elapsed() > pause) {
            // The photo is in the data set, whose file is written again later: at the end at the latest.
            if let Err(error) = self.finish() {
                report::warning(format_args!("--save coco: {error:#}; it is tried again"));
                self.written = Some(Instant::now());
            }
        }
        Ok(())
    }

    /// The number of photos.
    pub fn image_count(&self) -> usize {
        self.image_count
    }

    /// The file of an earlier run, if it stays as photos of it are not added, and the number of these.
    pub fn kept(&self) -> Option<(PathBuf, usize)> {
        (!self.missing.is_empty()).then(|| (self.folder.path().join(FILE), self.missing.len()))
    }

    /// Writes the file of all photos so far, if there are any; while photos of an earlier run's file are
    /// missing, beside that.
    pub fn finish(&mut self) -> Result<Option<PathBuf>> {
        let Self { folder, head, missing, images, annotations, length, .. } = self;
        let Some(annotations) = annotations else { return Ok(None) };
        let start = Instant::now();
        let is_partial = !missing.is_empty();
        let path = folder.write_with(if is_partial { PARTIAL } else { FILE }, |file| {
            file.write_all(head)?;
            file.write_all(images)?;
            file.write_all(ANNOTATIONS)?;
            annotations.seek(SeekFrom::Start(0))?;
            io::copy(&mut annotations.take(*length), file)?;
            file.write_all(b"]}\n")
        })?;
        self.written = Some(Instant::now());
        self.cost = start.elapsed();
        if self.has_partial && !is_partial {
            // Of no more use. Where it cannot be removed it does no harm.
            let _ = fs::remove_file(self.folder.path().join(PARTIAL));
        }
        self.has_partial = is_partial;
        Ok(Some(path))
    }

    fn spool(&mut self, text: &[u8]) -> io::Result<()> {
        if self.annotations.is_none() {
            fs::create_dir_all(self.folder.path())?;
            self.annotations = Some(tempfile::tempfile_in(self.folder.path())?);
        }
        if let Some(file) = &mut self.annotations {
            file.seek(SeekFrom::Start(self.length))?;
            file.write_all(text)?;
            self.length += text.len() as u64;
        }
        Ok(())
    }
}

impl<'a> Annotation<'a> {
    fn of(id: usize, image_id: usize, instance: &'a Instance) -> Self {
        let segmentation = match &instance.run_lengths {
            None => Segmentation::Polygons([instance.contour.outer.flat()]),
            Some(lengths) => Segmentation::RunLengths {
                size: [lengths.height(), lengths.width()],
                counts: lengths.counts(),
            },
        };
        Self {
            id,
            image_id,
            category_id: instance.class + 1,
            bbox: instance.component.bounding_box.to_array(),
            area: instance.component.area,
            iscrowd: 0,
            score: instance.score,
            segmentation,
        }
    }
}

fn is_ours(path: &Path) -> bool {
    clipseg_files::starts_with(path, START.as_bytes())
}

fn check_ours(path: &Path) -> Result<()> {
    ensure!(
        !path.exists() || is_ours(path),
        "--save coco: {} is a file that clipseg did not write; choose another --out",
        path.display()
    );
    Ok(())
}

/// A path as file names are written in this format, on every system.
fn with_slashes(path: &Path) -> String {
    let path = PathText(path).to_string();
    if cfg!(windows) { path.replace('\\', "/") } else { path }
}

/// The innermost folder that all files lie in.
fn common_folder(files: &[PathBuf]) -> PathBuf {
    let mut folders = files.iter().filter_map(|file| file.parent());
    let mut common = folders.next().unwrap_or(Path::new("")).to_owned();
    for folder in folders {
        while !folder.starts_with(&common) {
            common.pop();
        }
    }
    common
}

#[cfg(test)]
mod tests {
    use clipseg::Photo;
    use clipseg::masks::{Mask, ProbabilityMap};
    use serde_json::Value;

    use super::super::{DataSet, Kind};
    use super::*;

    #[test]
    fn a_photo_is_added_whole_or_not_at_all() {
        let parent = tempfile::tempdir().unwrap();
        let out = parent.path().join("out");
        let folder = output::Folder::prepare(&out, "--out").unwrap();
        let photo = Photo::from_rgb(2, 1, vec![0; 6]).unwrap();
        let source = |name: &str| Source { path: PathBuf::from(name), folder: PathBuf::new() };
        let sources = ["/photos/a.png", "", "/photos/b.png"].map(source);
        let mut coco = Coco::new(&folder, &["cat".to_owned()], &sources[..1]).unwrap();
        let all = DataSet::prepare(&folder, &[Kind::Coco], &[], &sources[..1], 0.0, false).unwrap();
        let mask = Mask::new(2, 1, vec![true, false]).unwrap();
        let map = ProbabilityMap::new(2, 1, vec![0.75, 0.25]).unwrap();
        // The file cannot replace a folder, and an empty path leads nowhere.
        fs::create_dir_all(out.join(FILE)).unwrap();
        let added = sources.each_ref().map(|source| {
            let instances = all.instances(0, &mask, &map, |score| score).unwrap();
            let name = Path::new("a");
            coco.add(&Annotated { source, name, photo: &photo, is_upright: true, instances }).is_ok()
        });
        assert_eq!(added, [true, false, true]);
        assert!(coco.finish().is_err());
        fs::remove_dir(out.join(FILE)).unwrap();
        coco.finish().unwrap();
        let file: Value = serde_json::from_slice(&fs::read(out.join(FILE)).unwrap()).unwrap();
        let ids = |list: &str, id: &str| -> Vec<u64> {
            file[list].as_array().unwrap().iter().map(|entry| entry[id].as_u64().unwrap()).collect()
        };
        assert_eq!(ids("images", "id"), [1, 2]);
        assert_eq!((ids("annotations", "id"), ids("annotations", "image_id")), (vec![1, 2], vec![1, 2]));
        assert_eq!(file["images"][1]["file_name"], "b.png");
    }

    /// A run that ends early, or in which a photo fails, does not replace the file of a run that had all.
    #[test]
    fn a_file_is_replaced_once_all_its_photos_are_added() {
        let parent = tempfile::tempdir().unwrap();
        let folder = output::Folder::prepare(&parent.path().join("out"), "--out").unwrap();
        let photo = Photo::from_rgb(2, 1, vec![0; 6]).unwrap();
        let sources = ["/photos/a.png", "/photos/b.png", "/photos/c.png"]
            .map(|path| Source { path: path.into(), folder: PathBuf::new() });
        let coco = |sources: &[Source]| Coco::new(&folder, &["cat".to_owned()], sources);
        let add = |coco: &mut Coco, source: &Source| {
            let (name, instances) = (Path::new("a"), Vec::new());
            coco.add(&Annotated { source, name, photo: &photo, is_upright: true, instances }).unwrap();
        };
        let names = |file: &str| -> Vec<String> {
            let file: Value = serde_json::from_slice(&fs::read(folder.path().join(file)).unwrap()).unwrap();
            let images = file["images"].as_array().unwrap().iter();
            images.map(|image| image["file_name"].as_str().unwrap().to_owned()).collect()
        };
        let mut first = coco(&sources[..2]).unwrap();
        sources[..2].iter().for_each(|source| add(&mut first, source));
        assert_eq!((first.finish().unwrap(), first.kept()), (Some(folder.path().join(FILE)), None));

        let mut again = coco(&sources).unwrap();
        assert_eq!(again.kept(), Some((folder.path().join(FILE), 2)));
        for source in [&sources[2], &sources[1]] {
            add(&mut again, source);
            assert_eq!(again.finish().unwrap(), Some(folder.path().join(PARTIAL)));
            assert_eq!(names(FILE), ["a.png", "b.png"]);
        }
        assert_eq!(names(PARTIAL), ["c.png", "b.png"]);
        assert_eq!(again.kept(), Some((folder.path().join(FILE), 1)));
        // This run ends here, and the next one goes to the end.
        let mut last = coco(&sources).unwrap();
        sources.iter().for_each(|source| add(&mut last, source));
        assert_eq!((last.finish().unwrap(), last.kept()), (Some(folder.path().join(FILE)), None));
        assert_eq!(names(FILE), ["a.png", "b.png", "c.png"]);
        assert!(!folder.path().join(PARTIAL).exists());

        fs::write(folder.path().join(PARTIAL), "{}").unwrap();
        let message = coco(&sources).err().unwrap().to_string();
        assert!(message.contains(PARTIAL) && message.contains("did not write"), "{message}");
    }

    #[test]
    fn the_common_folder_is_the_innermost() {
        let common = |files: &[&str]| common_folder(&files.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(common(&["/a/b/x.png"]), Path::new("/a/b"));
        assert_eq!(common(&["/a/b/x.png", "/a/b/y.png", "/a/bc/x.png"]), Path::new("/a"));
        assert_eq!(common(&["/a/x.png", "/b/x.png"]), Path::new("/"));
    }
}
