//! Names of output files.

use std::collections::HashSet;
use std::path::PathBuf;

/// Most characters that a prompt lends to a file's name.
const SLUG_LENGTH: usize = 48;
/// Most characters that the photo's name lends.
const STEM_LENGTH: usize = 64;

/// One name a photo, all different: the file's without its extension.
pub fn for_photos(photos: &[PathBuf]) -> Vec<String> {
    different(photos.iter().map(|photo| {
        let stem = photo.file_stem().map(|stem| stem.to_string_lossy()).unwrap_or_default();
        stem.chars().take(STEM_LENGTH).collect()
    }))
}

/// One name a prompt, all different: the photo's, and the prompt with everything but letters and digits folded into
/// dashes.
pub fn for_prompts(photo: &str, prompts: &[String]) -> Vec<String> {
    let slugs = different(prompts.iter().map(|prompt| slug(prompt)));
    slugs.into_iter().map(|slug| format!("{photo}-{slug}")).collect()
}

/// The names, those that were there before with numbers.
fn different(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut taken = HashSet::new();
    let mut free = |name: String| {
        let numbered = (2..).map(|number| format!("{name}-{number}"));
        let free = std::iter::once(name.clone()).chain(numbered).find(|name| taken.insert(name.clone()));
        free.unwrap_or(name)
    };
    names.map(&mut free).collect()
}

fn slug(prompt: &str) -> String {
    let words: Vec<_> =
        prompt.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let slug: String = words.join("-").to_lowercase().chars().take(SLUG_LENGTH).collect();
    match slug.trim_end_matches('-') {
        "" => "prompt".to_owned(),
        slug => slug.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(photo: &str, prompts: &[&str]) -> Vec<String> {
        let prompts: Vec<_> = prompts.iter().map(|&prompt| prompt.to_owned()).collect();
        let [photo] = for_photos(&[photo.into()]).try_into().unwrap();
        for_prompts(&photo, &prompts)
    }

    #[test]
    fn names_are_readable_and_never_collide() {
        assert_eq!(names("pets/tom.cat.jpg", &["A cat, asleep!"]), ["tom.cat-a-cat-asleep"]);
        assert_eq!(
            names("x.png", &["a cat", "A CAT", "a cat 2", "a-cat", "?!", "../.."]),
            ["x-a-cat", "x-a-cat-2", "x-a-cat-2-2", "x-a-cat-3", "x-prompt", "x-prompt-2"]
        );
    }

    #[test]
    fn photos_of_one_name_are_numbered() {
        let photos = ["a/cat.jpg", "b/cat.png", "dog.jpg", "b/cat-2.png"].map(PathBuf::from);
        assert_eq!(for_photos(&photos), ["cat", "cat-2", "dog", "cat-2-2"]);
    }

    #[test]
    fn names_fit_file_systems() {
        let long = "ü".repeat(300);
        let names = names(&format!("{long}.png"), &[&long, &long]);
        assert!(names.iter().all(|name| name.len() < 235), "{names:?}");
        assert_ne!(names[0], names[1]);
    }
}
