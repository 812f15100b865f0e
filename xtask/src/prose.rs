//! Rules for comments and messages that no compiler checks: the width of comments, and words that are not
//! English.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::root;

/// The same as `max_width` in rustfmt.toml, which rustfmt applies to code and not to comments.
const WIDTH: usize = 110;

/// Arguments of `cargo xtask prose`.
#[derive(clap::Args)]
pub struct ProseArguments {
    /// Wrap the comments that are too wide, instead of listing them
    #[arg(long)]
    wrap: bool,
}

/// Lists the places that break the rules; with `--wrap`, wraps the wide comments first.
///
/// # Errors
/// When a rule is broken, with every place.
pub fn run(arguments: &ProseArguments) -> Result<()> {
    if arguments.wrap {
        for path in sources()? {
            let text = read(&path)?;
            let wrapped = wrap(&text);
            if wrapped != text {
                std::fs::write(&path, wrapped).with_context(|| path.display().to_string())?;
            }
        }
    }
    check()
}

/// Fails with every place where a rule is broken.
///
/// # Errors
/// When a rule is broken, or a file cannot be read.
pub fn check() -> Result<()> {
    let mut places = Vec::new();
    for path in sources()? {
        let text = read(&path)?;
        let shown = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
        places.extend(faults(&text).into_iter().map(|(line, fault)| format!("{shown}:{line}: {fault}")));
    }
    ensure!(places.is_empty(), "comments and messages:\n{}", places.join("\n"));
    println!("\n== comments and messages: ok");
    Ok(())
}

/// The Rust and WGSL files that Git tracks.
fn sources() -> Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "*.rs", "*.wgsl"])
        .current_dir(root())
        .output()
        .context("running git")?;
    ensure!(output.status.success(), "`git ls-files` failed: {}", output.status);
    let names = String::from_utf8(output.stdout).context("git ls-files")?;
    let paths = names.split('\0').filter(|name| !name.is_empty()).map(|name| root().join(name));
    Ok(paths.filter(|path| path.exists()).collect())
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}

/// The faults in a file, each with the number of its line.
fn faults(text: &str) -> Vec<(usize, String)> {
    let wrapped = wrap(text);
    // Wrapping keeps blocks of code, and lines that have no space to break them at.
    let kept: HashSet<_> = wrapped.lines().collect();
    let fault = |line: &str| {
        let width = line.chars().count();
        if width > WIDTH && comment(line).is_some() && !kept.contains(line) {
            return Some(format!(
                "a comment of {width} columns; `cargo xtask prose --wrap` wraps it at {WIDTH}"
            ));
        }
        let verb = find_no(line)?;
        Some(format!("\"{verb} no\" of a thing that is not another; write \"{verb} not a\""))
    };
    text.lines().enumerate().filter_map(|(index, line)| Some((index + 1, fault(line)?))).collect()
}

/// Divides a line that is only a comment into the margin with the marker, and the text.
fn comment(line: &str) -> Option<(&str, &str)> {
    let start = line.len() - line.trim_start().len();
    let marker = ["///", "//!", "//"].into_iter().find(|marker| line[start..].starts_with(marker))?;
    Some(line.split_at(start + marker.len()))
}

/// The verb before a "no" that should be "not a". In "there is no", "no more" and the like the "no" is right.
fn find_no(line: &str) -> Option<&'static str> {
    ["is", "are", "was", "were"].into_iter().find(|verb| {
        let words = format!(" {verb} no ");
        line.match_indices(&words).any(|(at, _)| {
            let before = line[..at].rsplit(|letter: char| !letter.is_alphabetic()).next().unwrap_or_default();
            let after = line[at + words.len()..].split(' ').next().unwrap_or_default();
            let is_amount = ["more", "longer", "less", "further", "one"].contains(&after);
            !before.eq_ignore_ascii_case("there") && !is_amount
        })
    })
}

/// Wraps those paragraphs of the comments in `text` that have a line which is too wide.
fn wrap(text: &str) -> String {
    let mut wrapped = String::with_capacity(text.len());
    let mut paragraph = Paragraph::default();
    let mut is_code = false;
    for line in text.lines() {
        let prose = comment(line).filter(|(_, text)| {
            is_code ^= text.trim_start().starts_with("```");
            !is_code && is_prose(text)
        });
        match prose {
            Some((margin, text)) if paragraph.goes_on(margin, text) => paragraph.lines.push(line),
            Some((margin, text)) => {
                paragraph.end(&mut wrapped);
                paragraph = Paragraph::new(margin, text, line);
            }
            None => {
                paragraph.end(&mut wrapped);
                paragraph = Paragraph::default();
                wrapped.push_str(line);
                wrapped.push('\n');
            }
        }
        is_code &= comment(line).is_some();
    }
    paragraph.end(&mut wrapped);
    wrapped
}

/// Whether the text of a comment is prose: it is not empty, a heading, a table's row, a fence, a link's
/// address or code.
fn is_prose(text: &str) -> bool {
    let inner = text.trim();
    let is_link = inner.starts_with('[') && inner.contains("]: ");
    !inner.is_empty() && !inner.starts_with(['#', '|', '`']) && !is_link && !text.starts_with("     ")
        || inner.starts_with('`') && !inner.starts_with("```")
}

/// Lines of a comment that make one paragraph, or one entry of a list.
#[derive(Default)]
struct Paragraph<'a> {
    /// The beginning of each line: the indentation and the comment's marker.
    margin: &'a str,
    /// Spaces before the text of the first line, and of those that follow.
    indents: [usize; 2],
    lines: Vec<&'a str>,
}

impl<'a> Paragraph<'a> {
    fn new(margin: &'a str, text: &str, line: &'a str) -> Self {
        let indent = text.len() - text.trim_start().len();
        // The later lines of an entry are indented to the text behind its mark.
        let mark =
            text.split_whitespace().next().filter(|word| is_mark(word)).map_or(0, |mark| mark.len() + 1);
        Self { margin, indents: [indent, indent + mark], lines: vec![line] }
    }

    /// Whether a line continues the paragraph.
    fn goes_on(&self, margin: &str, text: &str) -> bool {
        let indent = text.len() - text.trim_start().len();
        // A number at the start of a line within a paragraph is a number: "with\n256. Mesa".
        let is_list = self.indents[0] != self.indents[1]
            || !text.trim_start().starts_with(|c: char| c.is_ascii_digit());
        let is_next = is_entry(text) && is_list;
        !self.lines.is_empty() && margin == self.margin && indent == self.indents[1] && !is_next
    }

    /// Writes the paragraph, wrapped if one of its lines is too wide.
    fn end(&self, out: &mut String) {
        if self.lines.iter().all(|line| line.chars().count() <= WIDTH) {
            self.lines.iter().for_each(|line| out.extend([line, "\n"]));
            return;
        }
        let text = self.lines.iter().filter_map(|line| comment(line)).map(|(_, text)| text.trim());
        let text = text.collect::<Vec<_>>().join(" ");
        let words = words(&text);
        let start = |indent: usize| format!("{}{}", self.margin, " ".repeat(indent));
        let mut line = start(self.indents[0]);
        let mut is_first = true;
        for (index, word) in words.iter().enumerate() {
            let length = word.chars().count();
            // A word that Markdown takes for a list's mark stays behind the one before it.
            let next = words.get(index + 1).filter(|next| is_mark(next)).map_or(0, |next| 1 + next.len());
            if !is_first && line.chars().count() + 1 + length + next > WIDTH && !is_mark(word) {
                out.extend([&line, "\n"]);
                line = start(self.indents[1]);
                is_first = true;
            }
            if !is_first {
                line.push(' ');
            }
            line.push_str(word);
            is_first = false;
        }
        out.extend([&line, "\n"]);
    }
}

/// Whether a comment's text is the first line of a list's entry.
fn is_entry(text: &str) -> bool {
    text.split_whitespace().next().is_some_and(is_mark)
}

/// Whether Markdown takes a word for the mark of a list, a heading or a quotation, where it starts a line.
fn is_mark(word: &str) -> bool {
    let number = word.strip_suffix('.').unwrap_or("-");
    ["-", "*", "+", "=", ">", "|"].contains(&word)
        || word.starts_with('#')
        || number.bytes().all(|byte| byte.is_ascii_digit())
}

/// The words of a paragraph; all that stands between two backticks is one word.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut is_open = false;
    for word in text.split_whitespace() {
        match words.last_mut() {
            Some(last) if is_open => last.extend([" ", word]),
            _ => words.push(word.to_owned()),
        }
        is_open ^= word.matches('`').count() % 2 == 1;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_paragraph_is_wrapped_and_a_narrow_one_stays() {
        let word = "word ".repeat(30);
        let text =
            format!("    /// First\n    /// paragraph.\n    ///\n    /// {}\n    fn f() {{}}\n", word.trim());
        let wrapped = wrap(&text);
        assert!(
            wrapped.starts_with("    /// First\n    /// paragraph.\n    ///\n    /// word word"),
            "{wrapped}"
        );
        assert!(wrapped.ends_with("\n    fn f() {}\n") && wrapped.lines().count() == 6, "{wrapped}");
        assert!(wrapped.lines().all(|line| line.chars().count() <= WIDTH), "{wrapped}");
        assert_eq!(wrap(&wrapped), wrapped);
    }

    #[test]
    fn entries_tables_code_and_spans_are_kept() {
        let wide = "x ".repeat(60);
        for kept in [
            format!("//! | {wide}|\n"),
            format!("/// ```\n/// {wide}\n/// ```\n"),
            format!("/// # {wide}\n"),
            format!("let a = \"{wide}\";\n"),
        ] {
            assert_eq!(wrap(&kept), kept);
        }
        let list = format!("//! - one {wide}\n//!   goes on\n//! - two\n");
        let wrapped = wrap(&list);
        assert!(wrapped.contains("\n//!   x ") && wrapped.ends_with("goes on\n//! - two\n"), "{wrapped}");
        let numbers = format!("/// 1. one {wide}\n///    goes on\n/// 2. two\n");
        let wrapped = wrap(&numbers);
        assert!(wrapped.contains("\n///    x ") && wrapped.ends_with("goes on\n/// 2. two\n"), "{wrapped}");
        let number = format!("/// {wide}\n/// 256. So it is.\n");
        assert!(wrap(&number).ends_with(" 256. So it is.\n"), "{}", wrap(&number));
        let span = format!("// {}`{}`\n", "a ".repeat(50), "b ".repeat(10).trim());
        assert!(wrap(&span).contains("\n// `b b b"), "{}", wrap(&span));
    }

    #[test]
    fn what_breaks_a_rule_is_found() {
        let verb = "is";
        assert_eq!(faults(&format!("\n\"this {verb} no picture\"\n"))[0].0, 2);
        assert_eq!(faults(&format!("// {}\n", "a ".repeat(60))).len(), 1);
        for fine in [
            "there is no picture",
            "it is no longer there",
            "it is not a picture",
            &format!("// {}", "a".repeat(150)),
            &format!("/// ```\n/// {}\n/// ```", "a ".repeat(60)),
            &format!("let text = \"{}\";", "a ".repeat(60)),
        ] {
            assert_eq!(faults(fine), [], "{fine}");
        }
    }
}
