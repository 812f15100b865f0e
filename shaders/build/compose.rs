//! Kernels say what they share once: a line
//!
//! ```text
//! #include "shared/panels_f32.wgsl" where weight = up, weight_texels = up_texels
//! ```
//!
//! stands for the lines of that file of `wgsl/`, in which each word `weight` is `up`, and so on. A file may
//! include others in turn. The composed text is plain WGSL, the only one that a device or a reader of its
//! captures meets; a comment names the file where its lines begin.

/// A kernel with what it includes.
pub struct Composed {
    lines: Vec<Line>,
}

/// A line of a composed kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    text: String,
    /// The file that it stands in, and its number there, from one on.
    origin: (String, usize),
}

impl Composed {
    /// The kernel in `file`. `read` gives the text of a file of `wgsl/`, by its path from there.
    ///
    /// # Errors
    /// Says which line of which file is at fault.
    pub fn of(file: &str, read: &dyn Fn(&str) -> Result<String, String>) -> Result<Self, String> {
        let mut lines = Vec::new();
        include(file, read, &mut Vec::new(), &mut lines)?;
        Ok(Self { lines })
    }

    /// The whole text.
    pub fn text(&self) -> String {
        self.lines.iter().flat_map(|line| [&line.text, "\n"]).collect()
    }

    /// Where a line of the text comes from, counted from one on, as `file:line`.
    pub fn origin(&self, line: usize) -> Option<String> {
        let Line { origin: (file, line), .. } = self.lines.get(line.checked_sub(1)?)?;
        Some(format!("wgsl/{file}:{line}"))
    }
}

/// Appends the lines of `file` with what it includes. `within` are the files that are being included.
fn include(
    file: &str,
    read: &dyn Fn(&str) -> Result<String, String>,
    within: &mut Vec<String>,
    lines: &mut Vec<Line>,
) -> Result<(), String> {
    if within.iter().any(|outer| outer == file) {
        return Err(format!("wgsl/{file} includes itself, by {}", within.join(", ")));
    }
    within.push(file.to_owned());
    for (place, text) in read(file)?.lines().enumerate() {
        let origin = (file.to_owned(), place + 1);
        let Some(directive) = text.strip_prefix("#include ") else {
            lines.push(Line { text: text.to_owned(), origin });
            continue;
        };
        let at_fault = |reason: &str| format!("wgsl/{file}:{}: {reason}: `{text}`", place + 1);
        let (path, words) = parse(directive).ok_or_else(|| {
            at_fault("expected #include \"FILE\", and where NAME = NAME, … if names are to differ")
        })?;
        lines.push(Line { text: format!("// {path}"), origin });
        let first = lines.len();
        include(path, read, within, lines).map_err(|error| at_fault(&error))?;
        for (old, new) in words {
            let mut is_used = false;
            for line in &mut lines[first..] {
                let replaced = replace_word(&line.text, old, new);
                is_used |= replaced != line.text;
                line.text = replaced;
            }
            if !is_used {
                return Err(at_fault(&format!("wgsl/{path} has no `{old}`")));
            }
        }
    }
    within.pop();
    Ok(())
}

/// A directive's path and the words to replace.
fn parse(directive: &str) -> Option<(&str, Vec<(&str, &str)>)> {
    let (path, rest) = directive.strip_prefix('"')?.split_once('"')?;
    if rest.is_empty() {
        return Some((path, Vec::new()));
    }
    let words = rest.strip_prefix(" where ")?.split(", ");
    let words = words.map(|word| word.split_once(" = ").filter(|(old, new)| is_name(old) && is_name(new)));
    Some((path, words.collect::<Option<_>>()?))
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_of_name)
}

fn is_of_name(letter: char) -> bool {
    letter == '_' || letter.is_ascii_alphanumeric()
}

/// `text` with each whole word `old` as `new`.
fn replace_word(text: &str, old: &str, new: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(old) {
        let (before, found) = rest.split_at(start);
        let after = &found[old.len()..];
        out.push_str(before);
        let is_word = !out.ends_with(is_of_name) && !after.starts_with(is_of_name);
        out.push_str(if is_word { new } else { old });
        rest = after;
    }
    out + rest
}
