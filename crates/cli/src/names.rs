//! Names of output files.

use std::collections::HashSet;
use std::path::Path;

/// Most characters that a prompt lends to a file's name.
const SLUG_LENGTH: usize = 48;
/// Most characters that the photo's name lends.
const STEM_LENGTH: usize = 64;

/// The photo's name without its extension.
pub fn for_photo(photo: &Path) -> String {
    let stem = photo.file_stem().map(|stem| stem.to_string_lossy()).unwrap_or_default();
    stem.chars().take(STEM_LENGTH).collect()
}

/// One name a prompt, all different: the photo's without its extension, and the prompt with everything but
/// letters and digits folded into dashes.
pub fn for_prompts(photo: &Path, prompts: &[String]) -> Vec<String> {
    let stem = for_photo(photo);
    let mut taken = HashSet::new();
    let mut name = |prompt: &String| {
        let slug = slug(prompt);
        let numbered = (2..).map(|number| format!("{slug}-{number}"));
        let free = std::iter::once(slug.clone()).chain(numbered).find(|name| taken.insert(name.clone()));
        format!("{stem}-{}", free.unwrap_or(slug))
    };
    prompts.iter().map(&mut name).collect()
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
        for_prompts(Path::new(photo), &prompts)
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
    fn names_fit_file_systems() {
        let long = "ü".repeat(300);
        let names = names(&format!("{long}.png"), &[&long, &long]);
        assert!(names.iter().all(|name| name.len() < 235), "{names:?}");
        assert_ne!(names[0], names[1]);
    }
}
