//! Names of results, chosen so that all files of a run have different names on any file system.

mod portable;

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

pub use self::portable::key;
use self::portable::{is_device, slug, stem};

/// A photo whose results are to be named.
pub struct Photo<'a> {
    /// The photo's own file.
    pub file: &'a Path,
    /// Where its results go within the output folder; empty for the folder itself.
    pub folder: &'a Path,
}

/// The endings of the names of a run's files, which follow a dash: `mask.png`.
pub struct Endings {
    /// The endings of the files that each prompt has.
    pub prompt: Vec<&'static str>,
    /// The endings of the files that each photo has once.
    pub photo: Vec<&'static str>,
    /// Whether there are files, too, that have the photo's name alone and then a dot.
    pub has_bare: bool,
}

/// The beginnings of the names of all results: `cat` for a photo, `cat-a-dog` for a prompt.
pub struct Names {
    photos: Vec<PathBuf>,
    prompts: Vec<String>,
}

impl Names {
    /// Chooses the names. A photo is called by its file's name without the ending, and a prompt by its words.
    /// A photo gets a number if one of its files would have the name of an earlier photo's file, or a name
    /// that is taken, or if it would be a device on Windows. `is_taken` is called with the folder and the
    /// [`key`] of the name.
    pub fn choose<'a>(
        photos: impl Iterator<Item = Photo<'a>>,
        prompts: &[String],
        endings: &Endings,
        is_taken: impl FnMut(&Path, &str) -> bool,
    ) -> Self {
        let mut of_prompts = Claims::new(|_: &Path, _: &str| false);
        let per_prompt = keys(&endings.prompt);
        let prompts: Vec<_> = prompts
            .iter()
            .map(|prompt| of_prompts.first_free(Path::new(""), slug(prompt), &per_prompt))
            .collect();
        let mut all = endings.photo.iter().map(|&ending| ending.to_owned()).collect::<Vec<_>>();
        for prompt in &prompts {
            all.extend(endings.prompt.iter().map(|ending| format!("{prompt}-{ending}")));
        }
        let all = keys(&all);
        let mut claims = Claims::new(is_taken);
        let photos = photos.map(|Photo { file, folder }| {
            let stem = stem(file);
            let is_device = endings.has_bare && is_device(&stem);
            let name = if is_device { format!("{stem}-2") } else { stem };
            folder.join(claims.first_free(folder, name, &all))
        });
        Self { photos: photos.collect(), prompts }
    }

    /// The beginning of the names of the files of photo number `photo`.
    pub fn photo(&self, photo: usize) -> &Path {
        &self.photos[photo]
    }

    /// The beginning of the names of this photo's files for prompt number `prompt`.
    pub fn prompt(&self, photo: usize, prompt: usize) -> PathBuf {
        self.with_ending(photo, &self.prompts[prompt])
    }

    fn with_ending(&self, photo: usize, ending: &str) -> PathBuf {
        with_ending(&self.photos[photo], ending)
    }
}

/// `name-ending`
pub fn with_ending(name: &Path, ending: &str) -> PathBuf {
    let mut name = name.as_os_str().to_owned();
    name.push("-");
    name.push(ending);
    name.into()
}

fn keys(names: &[impl AsRef<str>]) -> Vec<String> {
    names.iter().map(|name| key(name.as_ref())).collect()
}

/// The names of files that belong to a photo or prompt.
struct Claims<F> {
    /// Hashes of folders and keys: should two be equal by chance, a photo gets a number that it does not
    /// need.
    files: HashSet<u64>,
    /// The number that was last added to each name, so that the next photo of that name need not try all
    /// numbers again.
    numbers: HashMap<(PathBuf, String), usize>,
    is_taken: F,
}

impl<F: FnMut(&Path, &str) -> bool> Claims<F> {
    fn new(is_taken: F) -> Self {
        Self { files: HashSet::new(), numbers: HashMap::new(), is_taken }
    }

    /// The name, with a number if need be, such that none of its files in `folder` is claimed yet. Claims
    /// them.
    fn first_free(&mut self, folder: &Path, name: String, endings: &[String]) -> String {
        let place = (folder.to_owned(), key(&name));
        let first = self.numbers.get(&place).map_or(1, |last| last + 1);
        for number in first.. {
            let candidate = if number == 1 { name.clone() } else { format!("{name}-{number}") };
            if self.claim(folder, &key(&candidate), endings) {
                self.numbers.insert(place, number);
                return candidate;
            }
        }
        name
    }

    fn claim(&mut self, folder: &Path, candidate: &str, endings: &[String]) -> bool {
        let folder_key = key(&folder.to_string_lossy());
        let mut hashes = Vec::with_capacity(endings.len());
        for ending in endings {
            // No character merges with a dash, so the key of the whole name consists of the keys of its
            // parts.
            let file = format!("{candidate}-{ending}");
            let mut hasher = DefaultHasher::new();
            (&folder_key, &file).hash(&mut hasher);
            hashes.push(hasher.finish());
            if self.files.contains(&hasher.finish()) || (self.is_taken)(folder, &file) {
                return false;
            }
        }
        self.files.extend(hashes);
        true
    }
}

#[cfg(test)]
mod tests {
    use clipseg_testing::Random;

    use super::*;

    const ENDINGS: [&str; 3] = ["mask.png", "probability.npy", "probability16.png"];

    /// The names of the photos, and of the first one's prompts.
    fn names(photos: &[&str], prompts: &[&str]) -> Names {
        let prompts: Vec<_> = prompts.iter().map(|&prompt| prompt.to_owned()).collect();
        let photos = photos.iter().map(|file| Photo { file: Path::new(file), folder: Path::new("") });
        let photo = vec!["labels.png", "labels.json"];
        let endings = Endings { prompt: ENDINGS.to_vec(), photo, has_bare: false };
        Names::choose(photos, &prompts, &endings, |_, _| false)
    }

    /// Every file of a run.
    fn files(names: &Names) -> Vec<String> {
        let file = |name: PathBuf| name.into_os_string().into_string().unwrap();
        let mut files = Vec::new();
        for photo in 0..names.photos.len() {
            files.push(file(names.with_ending(photo, "labels.png")));
            files.push(file(names.with_ending(photo, "labels.json")));
            for prompt in 0..names.prompts.len() {
                let prompt = names.prompt(photo, prompt);
                files.extend(ENDINGS.iter().map(|ending| file(with_ending(&prompt, ending))));
            }
        }
        files
    }

    fn of_prompts(photo: &str, prompts: &[&str]) -> Vec<PathBuf> {
        let names = names(&[photo], prompts);
        (0..prompts.len()).map(|prompt| names.prompt(0, prompt)).collect()
    }

    fn of_photos(photos: &[&str], prompts: &[&str]) -> Vec<PathBuf> {
        names(photos, prompts).photos
    }

    fn paths<const N: usize>(names: [&str; N]) -> [PathBuf; N] {
        names.map(PathBuf::from)
    }

    #[test]
    fn names_are_readable() {
        assert_eq!(of_prompts("pets/tom.cat.jpg", &["A cat, asleep!"]), paths(["tom.cat-a-cat-asleep"]));
        assert_eq!(
            of_prompts("x.png", &["a cat", "A CAT", "a cat 2", "a-cat", "?!", "../.."]),
            paths(["x-a-cat", "x-a-cat-2", "x-a-cat-2-2", "x-a-cat-3", "x-prompt", "x-prompt-2"])
        );
    }

    #[test]
    fn photos_of_one_name_are_numbered() {
        let photos = ["a/cat.jpg", "b/cat.png", "dog.jpg", "b/cat-2.png"];
        assert_eq!(of_photos(&photos, &["a cow"]), paths(["cat", "cat-2", "dog", "cat-2-2"]));
        assert_eq!(of_photos(&["Cat.jpg", "cat.png"], &["a cow"]), paths(["Cat", "cat-2"]));
        let (composed, decomposed) = ("caf\u{e9}.jpg", "cafe\u{301}.jpg");
        assert_eq!(of_photos(&[composed, decomposed], &["x"])[1], Path::new("cafe\u{301}-2"));
    }

    #[test]
    fn no_file_has_two_owners() {
        for (photos, prompts) in [
            (&["cat.png", "cat-a.png"][..], &["a dog", "dog"][..]),
            (&["cat-a.png", "cat.png"], &["dog", "a dog"]),
            (&["cat.png", "cat-black.png"], &["black dog", "dog"]),
            (&["x.png", "x-probability.png", "x-2.png", "X.png"], &["probability", "2", "mask", "labels"]),
            (&["a.png", "a-b.png", "a-b-c.png", "a-b-c-d.png"], &["b c d", "c d", "d", "b", "b c"]),
            (&["ß.png", "SS.png", "ss.jpg", "ſs.png"], &["ﬀ", "ff"]),
        ] {
            let names = names(photos, prompts);
            let files = files(&names);
            let different: HashSet<_> = files.iter().map(|file| key(file)).collect();
            assert_eq!(different.len(), files.len(), "{files:?}");
        }
        assert_eq!(of_photos(&["cat.png", "cat-a.png"], &["a dog", "dog"]), paths(["cat", "cat-a-2"]));
        // Without such prompts the second photo keeps its name.
        assert_eq!(of_photos(&["cat.png", "cat-a.png"], &["a dog"]), paths(["cat", "cat-a"]));
    }

    /// Photos and prompts made of the same few words, so that their names collide in every way.
    #[test]
    fn no_file_of_any_run_has_two_owners() {
        let words = ["a", "b", "A", "2", "mask", "labels", "probability", "é", "e\u{301}", "É"];
        let mut random = Random(7);
        let mut next = |bound: usize| random.below(bound);
        for _ in 0..300 {
            let mut some = |separator: &str, ending: &str| -> Vec<String> {
                let count = 1 + next(6);
                let mut name = || (0..=next(3)).map(|_| words[next(words.len())]).collect::<Vec<_>>();
                (0..count).map(|_| name().join(separator) + ending).collect()
            };
            let (photos, prompts) = (some("-", ".png"), some(" ", ""));
            let names = names(
                &photos.iter().map(String::as_str).collect::<Vec<_>>(),
                &prompts.iter().map(String::as_str).collect::<Vec<_>>(),
            );
            let files = files(&names);
            let different: HashSet<_> = files.iter().map(|file| key(file)).collect();
            assert_eq!(different.len(), files.len(), "{photos:?} {prompts:?} {files:?}");
        }
    }

    #[test]
    fn folders_have_names_of_their_own() {
        let photos = ["a", "b", "a", "A"].map(Path::new);
        let photos = photos.iter().map(|&folder| Photo { file: Path::new("cat.png"), folder });
        let endings = Endings { prompt: vec!["mask.png"], photo: Vec::new(), has_bare: false };
        let names = Names::choose(photos, &["a dog".to_owned()], &endings, |_, _| false);
        assert_eq!(names.photos, paths(["a/cat", "b/cat", "a/cat-2", "A/cat-3"]));
        assert_eq!(names.prompt(2, 0), Path::new("a/cat-2-a-dog"));
    }

    #[test]
    fn names_that_are_taken_are_left_alone() {
        let photos = [Photo { file: Path::new("Cat.png"), folder: Path::new("pets") }].into_iter();
        let endings = Endings { prompt: vec!["mask.png"], photo: Vec::new(), has_bare: false };
        let is_taken = |folder: &Path, key: &str| folder == Path::new("pets") && key == "cat-a-dog-mask.png";
        let names = Names::choose(photos, &["a dog".to_owned()], &endings, is_taken);
        assert_eq!(names.photos, paths(["pets/Cat-2"]));
    }

    #[test]
    fn no_bare_name_is_a_device() {
        let files = ["con.jpg", "con-2.png", "Con.png", "company.png", "nul.a.png"];
        for (has_bare, expected) in [
            (true, ["con-2", "con-2-2", "Con-2-3", "company", "nul-a"]),
            (false, ["con", "con-2", "Con-3", "company", "nul-a"]),
        ] {
            let photos = files.iter().map(|file| Photo { file: Path::new(file), folder: Path::new("") });
            let endings = Endings { prompt: Vec::new(), photo: vec!["labels.txt"], has_bare };
            assert_eq!(Names::choose(photos, &[], &endings, |_, _| false).photos, paths(expected));
        }
    }

    #[test]
    fn names_fit_file_systems() {
        for letter in ["u", "ü", "猫", "🐈", "e\u{301}"] {
            let long = letter.repeat(300);
            let photos = vec![long.as_str(); 12];
            let names = names(&photos, &[&long, &long]);
            let files = files(&names);
            assert!(files.iter().all(|file| file.len() <= 255), "{files:?}");
            assert_eq!(files.iter().collect::<HashSet<_>>().len(), 12 * (2 + 2 * 3));
        }
    }

    /// Thousands of photos of one name take no longer than those of different names.
    #[test]
    fn many_photos_of_one_name() {
        let names = of_photos(&vec!["cat.png"; 5000], &["a dog"]);
        assert_eq!(names[4999], Path::new("cat-5000"));
    }
}
