//! Parses the names of repositories.

use std::fmt;
use std::str::FromStr;

use crate::address::{Address, shown};
use crate::error::Error;

mod web;

/// The revision if none is given.
const DEFAULT_REVISION: &str = "main";
/// Longest name that the Hub allows.
const MAX_NAME: usize = 96;

/// A model's repository on the Hub, at a revision: `owner/name` or `owner/name@revision`, a branch, tag or
/// commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    name: String,
    revision: String,
}

impl Repository {
    /// `owner/name`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The branch, tag or commit.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// Name of its folder in the cache.
    pub(crate) fn folder(&self) -> String {
        format!("models--{}", self.name.replace('/', "--"))
    }
}

impl Repository {
    /// As [`FromStr`], but also accepts addresses of `endpoint`'s pages.
    pub(crate) fn parse_at(given: &str, endpoint: Option<&Address>) -> Result<Self, Error> {
        let parsed = match web::repository(given, endpoint) {
            Some(parsed) => parsed,
            None => {
                let (name, revision) = given.split_once('@').unwrap_or((given, DEFAULT_REVISION));
                // A shell's completion of a folder's name adds a slash.
                let name = if revision == DEFAULT_REVISION { name.trim_end_matches('/') } else { name };
                Ok((name.to_owned(), revision.to_owned()))
            }
        };
        parsed
            .and_then(|(name, revision)| {
                check_name(&name)?;
                check_revision(&revision)?;
                Ok(Self { name, revision })
            })
            .map_err(|reason| Error::Name { given: shown(given), reason })
    }
}

/// `owner/name`, `owner/name@revision`, or the address of a page of the repository on the Hub:
/// `https://huggingface.co/owner/name`, with or without `/tree/REVISION`.
impl FromStr for Repository {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self, Error> {
        Self::parse_at(given, None)
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.name)?;
        if self.revision == DEFAULT_REVISION { Ok(()) } else { write!(formatter, "@{}", self.revision) }
    }
}

/// The Hub's own rules. In the cache's folder names `--` stands for the slash, so no name may contain it.
fn check_name(name: &str) -> Result<(), &'static str> {
    let parts: Vec<_> = name.split('/').collect();
    if parts.len() != 2 || parts.iter().any(|part| part.is_empty()) {
        return Err("a name consists of an owner and a name with one slash between them");
    }
    let is_legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if parts.iter().any(|part| !part.chars().all(is_legal) || part.starts_with(['.', '-'])) {
        return Err("owner and name consist of letters, digits, - _ and ., and do not start with - or .");
    }
    if name.contains("--") || name.contains("..") || name.ends_with(".git") || name.len() > MAX_NAME {
        return Err("a name does not contain -- or .., does not end in .git, and is at most 96 letters long");
    }
    Ok(())
}

/// A revision becomes part of a path in the cache and of the Hub's addresses; one that would lead out of
/// either is refused.
fn check_revision(revision: &str) -> Result<(), &'static str> {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || "-_.+/".contains(c);
    if !revision.chars().all(is_legal) {
        return Err("a revision consists of letters, digits, - _ . + and /");
    }
    if revision.split('/').any(|part| part.is_empty() || part.starts_with('.')) {
        return Err("the parts of a revision between slashes are not empty and do not start with .");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_and_without_a_revision() {
        let plain: Repository = "CIDAS/clipseg-rd64-refined".parse().unwrap();
        assert_eq!((plain.name(), plain.revision()), ("CIDAS/clipseg-rd64-refined", "main"));
        assert_eq!(plain.folder(), "models--CIDAS--clipseg-rd64-refined");
        let revised: Repository = "CIDAS/clipseg_2.0@refs/pr/5".parse().unwrap();
        assert_eq!((revised.name(), revised.revision()), ("CIDAS/clipseg_2.0", "refs/pr/5"));
        for text in ["CIDAS/clipseg-rd64-refined", "a/b@v1.0"] {
            assert_eq!(text.parse::<Repository>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_may_leave_the_cache_or_is_a_path_is_refused() {
        for text in [
            "",
            "clipseg",
            "/models/clipseg",
            "./clipseg",
            "../clipseg",
            "a/b/c",
            "a/",
            "/b",
            "C:/clipseg",
            "C:\\models\\clipseg",
            "a/b c",
            "a--b/c",
            "a/b..c",
            "a/.b",
            "a/b.git",
            "~/clipseg",
            "a/b@",
            "a/b@..",
            "a/b@../../x",
            "a/b@/x",
            "a/b@x/",
            "a/b@/",
            "a/b@x?y",
            "a/b@x%2e",
            "a/b@x\\y",
        ] {
            assert!(text.parse::<Repository>().is_err(), "{text}");
        }
    }
}
