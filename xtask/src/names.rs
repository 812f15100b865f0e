//! Checks that every type in the library's documentation can be named from the library.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use walkdir::WalkDir;

use crate::root;

/// Crates behind the library that programs should not depend on. The crates that the library has as modules,
/// tensor, masks and hub, are not among them.
const BEHIND: [&str; 4] = ["clipseg_clip", "clipseg_decoder", "clipseg_files", "clipseg_shaders"];

/// Checks the pages that `cargo doc --workspace` has made: a re-exported type has a page of the library's
/// own, to which links go. A link to the page of one of these crates is to a type that cannot be named from
/// the library.
pub fn check() -> Result<()> {
    let pages = root().join("target/doc/clipseg");
    ensure!(pages.join("index.html").exists(), "there is no page of the library in {}", pages.display());
    let mut found = BTreeSet::new();
    for entry in WalkDir::new(&pages) {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == "html") {
            found.extend(foreign_links(
                &std::fs::read_to_string(entry.path()).context("a page of rustdoc's")?,
            ));
        }
    }
    let found: Vec<_> = found.into_iter().collect();
    ensure!(found.is_empty(), "types that cannot be named from the library: {}", found.join(", "));
    println!("== names: every type of the library's pages can be named from it ({})", pages.display());
    Ok(())
}

/// The pages of other crates that a page links to.
fn foreign_links(page: &str) -> impl Iterator<Item = String> {
    page.split("href=\"").skip(1).filter_map(|rest| {
        let link = rest.split('"').next()?;
        let target = Path::new(link.trim_start_matches("../"));
        let of = target.components().next()?.as_os_str().to_str()?;
        (link.starts_with("../") && BEHIND.contains(&of)).then(|| target.display().to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_crates_behind_are_found_and_others_are_not() {
        let page = r##"<a href="struct.Tensor.html"> <a href="../clipseg_decoder/struct.Decoder.html#method.new">
            <a href="../../clipseg_clip/enum.Error.html"> <a href="../src/clipseg_clip/error.rs.html">
            <a href="../clipseg_tensor/struct.Plan.html"> <a href="https://docs.rs/clipseg_clip">"##;
        let found: Vec<_> = foreign_links(page).collect();
        assert_eq!(found, ["clipseg_decoder/struct.Decoder.html#method.new", "clipseg_clip/enum.Error.html"]);
    }
}
