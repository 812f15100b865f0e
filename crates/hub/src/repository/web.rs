//! Finds repositories by the addresses of their pages, as copied from a browser.

use percent_encoding::percent_decode_str;

use super::DEFAULT_REVISION;
use crate::address::Address;

/// Hosts of the public Hub.
const HOSTS: [&str; 3] = ["huggingface.co", "www.huggingface.co", "hf.co"];
/// The parts of an address that separate a repository's name from a revision.
const PAGES: [&str; 7] = ["tree", "blob", "resolve", "raw", "commit", "commits", "blame"];

const NOT_ITS_PAGE: &str = "the address is not that of a model's page (https://huggingface.co/owner/name, or with \
                            /tree/REVISION behind it)";

/// Name and revision from an address of the public Hub or of `endpoint`; `None` if the text is not an
/// address.
pub(super) fn repository(
    given: &str,
    endpoint: Option<&Address>,
) -> Option<Result<(String, String), &'static str>> {
    let given = given.trim();
    let lower = given.to_ascii_lowercase();
    if let Some(path) = lower.strip_prefix("hf://") {
        return Some(of_path(&given[given.len() - path.len()..]));
    }
    // Browsers show addresses without the scheme.
    let is_bare = HOSTS.iter().any(|host| lower.strip_prefix(host).is_some_and(|rest| rest.starts_with('/')));
    if !is_bare && !given.contains("://") {
        return None;
    }
    let address = if is_bare { format!("https://{given}") } else { given.to_owned() };
    let Some(address) = Address::parse(&address) else { return Some(Err(NOT_ITS_PAGE)) };
    let path = address.path();
    let at_endpoint = endpoint.filter(|endpoint| endpoint.host() == address.host());
    let within = at_endpoint.and_then(|endpoint| path.strip_prefix(endpoint.path().trim_end_matches('/')));
    Some(match within {
        Some(path) => of_path(path),
        None if HOSTS.contains(&address.host()) => of_path(path),
        None => Err("the address is of another host than the Hub's; HF_ENDPOINT names a mirror"),
    })
}

/// Name and revision from the path of an address.
fn of_path(path: &str) -> Result<(String, String), &'static str> {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let parts: Vec<_> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (owner, name, rest) = match parts.as_slice() {
        ["datasets" | "spaces" | "collections" | "papers" | "buckets", ..] => {
            return Err("the address is that of a data set, a Space or something else that is not a model");
        }
        ["models", owner, name, rest @ ..] if !rest.is_empty() || name.contains('@') => (owner, name, rest),
        [owner, name, rest @ ..] => (owner, name, rest),
        _ => return Err(NOT_ITS_PAGE),
    };
    let (name, given) = name.split_once('@').map_or((*name, None), |(name, revision)| (name, Some(revision)));
    let (revision, file) = match rest {
        [] => (DEFAULT_REVISION.to_owned(), rest),
        // A revision such as `refs/pr/5`; addresses from a browser have it as one part, escaped.
        [page, "refs", kind, number, file @ ..] if PAGES.contains(page) => {
            (format!("refs/{kind}/{number}"), file)
        }
        [page, revision, file @ ..] if PAGES.contains(page) => {
            (percent_decode_str(revision).decode_utf8_lossy().into_owned(), file)
        }
        ["tree", ..] => (DEFAULT_REVISION.to_owned(), &rest[1..]),
        _ => return Err(NOT_ITS_PAGE),
    };
    let is_folder = rest.first() == Some(&"tree") && !file.is_empty() || file.len() > 1;
    if is_folder {
        return Err("the address is that of a folder in a repository, where no checkpoint is looked for");
    }
    let name = format!("{owner}/{}", name.strip_suffix(".git").unwrap_or(name));
    Ok((name, given.map_or(revision, str::to_owned)))
}

#[cfg(test)]
mod tests {
    use crate::address::Address;
    use crate::repository::Repository;

    #[test]
    fn pages_of_the_hub_name_their_repository() {
        for (given, expected) in [
            ("https://huggingface.co/CIDAS/clipseg-rd64-refined", "CIDAS/clipseg-rd64-refined"),
            ("https://huggingface.co/a/b/", "a/b"),
            ("HTTPS://HuggingFace.co/a/b?library=transformers#usage", "a/b"),
            ("http://www.huggingface.co/a/b", "a/b"),
            ("https://hf.co/a/b", "a/b"),
            ("hf.co/a/b", "a/b"),
            ("huggingface.co/a/b/tree/main/", "a/b"),
            ("hf://a/b@v1", "a/b@v1"),
            ("https://huggingface.co/a/b.git", "a/b"),
            ("https://huggingface.co/a/b@v1", "a/b@v1"),
            ("https://huggingface.co/a/b/tree/v1.0", "a/b@v1.0"),
            ("https://huggingface.co/a/b/tree", "a/b"),
            ("https://huggingface.co/a/b/tree/refs%2Fpr%2F5", "a/b@refs/pr/5"),
            ("https://huggingface.co/a/b/tree/refs/pr/5", "a/b@refs/pr/5"),
            ("https://huggingface.co/a/b/commit/217ba22", "a/b@217ba22"),
            ("https://huggingface.co/a/b/blob/main/config.json", "a/b"),
            ("https://huggingface.co/a/b/resolve/v1/model.safetensors?download=true", "a/b@v1"),
            (" https://huggingface.co/a/b ", "a/b"),
            ("a/b/", "a/b"),
        ] {
            assert_eq!(given.parse::<Repository>().unwrap().to_string(), expected, "{given}");
        }
    }

    #[test]
    fn other_addresses_are_refused_with_a_reason() {
        for (given, reason) in [
            ("https://huggingface.co", "model's page"),
            ("https://huggingface.co/CIDAS", "model's page"),
            ("https://huggingface.co/datasets/a/b", "data set"),
            ("https://huggingface.co/spaces/a/b", "Space"),
            ("https://huggingface.co/a/b/tree/main/onnx", "folder"),
            ("https://huggingface.co/a/b/blob/main/onnx/model.onnx", "folder"),
            ("https://huggingface.co/a/b/discussions/5", "model's page"),
            ("https://example.com/a/b", "another host"),
            ("ftp://huggingface.co/a/b", "model's page"),
            ("https://huggingface.co/a/b/tree/%2e%2e", "revision"),
            ("https://huggingface.co/a/b/tree/%FF%", "revision"),
            ("https://huggingface.co/../b", "letters"),
            ("https://", "model's page"),
        ] {
            let error = given.parse::<Repository>().unwrap_err().to_string();
            assert!(error.contains(reason), "{given}: {error}");
        }
        let error = "https://user:secret@example.com/a?token=secret".parse::<Repository>().unwrap_err();
        assert!(!format!("{error} {error:?}").contains("secret"));
    }

    #[test]
    fn pages_of_a_mirror_are_known_by_its_endpoint() {
        let endpoint = Address::parse("https://user:word@mirror.example/hub").unwrap();
        let parse = |given: &str| Repository::parse_at(given, Some(&endpoint));
        for given in [
            "https://mirror.example/hub/a/b/tree/v1",
            "http://MIRROR.example/hub/a/b/tree/v1/",
            "https://huggingface.co/a/b/tree/v1",
        ] {
            assert_eq!(parse(given).unwrap().to_string(), "a/b@v1", "{given}");
        }
        assert!(parse("https://mirror.example/a/b").is_err());
    }
}
