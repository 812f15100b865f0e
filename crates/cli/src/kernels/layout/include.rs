//! What templates include.

/// An `{% include "…" %}`, with what stands around it.
pub struct Include<'a> {
    /// Of a line that has nothing else, not the line's begin either.
    pub before: &'a str,
    path: &'a str,
    /// Of a line that has nothing else, what follows that line.
    pub after: &'a str,
}

impl<'a> Include<'a> {
    /// The first one in a text.
    pub fn find(text: &'a str) -> Option<Self> {
        text.match_indices("{%").find_map(|(start, _)| {
            let (before, rest) = text.split_at(start);
            let (inner, after) = rest.strip_prefix("{%")?.split_once("%}")?;
            let path = inner.trim().strip_prefix("include")?.trim();
            let path = path.strip_prefix(['"', '\''])?.strip_suffix(['"', '\''])?;
            let blank = |c: char| c == ' ' || c == '\t';
            let line_start = before.trim_end_matches(blank);
            let line_end = after.trim_start_matches(blank);
            let line_end = line_end.strip_prefix("\r\n").or(line_end.strip_prefix('\n'));
            let starts = line_start.is_empty() || line_start.ends_with('\n');
            Some(match line_end.filter(|_| starts) {
                Some(after) => Self { before: line_start, path, after },
                None => Self { before, path, after },
            })
        })
    }

    /// The path within the folder: one that begins with a dot is from the file that includes it.
    pub fn path_from(&self, file: &str) -> String {
        if !self.path.starts_with('.') {
            return self.path.to_owned();
        }
        let mut parts: Vec<_> = file.rsplit_once('/').map(|(folder, _)| folder).into_iter().collect();
        parts = parts.iter().flat_map(|folder| folder.split('/')).collect();
        for part in self.path.split('/') {
            match part {
                "." | "" => {}
                // One too many leads to a name that is refused.
                ".." if parts.pop().is_none() => return self.path.to_owned(),
                ".." => {}
                part => parts.push(part),
            }
        }
        parts.join("/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_from_the_folder_or_from_the_file() {
        for (line, file, path) in [
            ("{% include \"a/b\" %}\n", "c/d", Some("a/b")),
            ("x {%include './b'%}", "c/d", Some("c/b")),
            ("{% include '../b' %}", "c/d", Some("b")),
            ("{% include '../b' %}", "d", Some("../b")),
            ("{% if x %}", "d", None),
            ("include 'b'", "d", None),
        ] {
            let found = Include::find(line).map(|include| include.path_from(file));
            assert_eq!(found.as_deref(), path, "{line}");
        }
        for (text, before, after) in [
            ("x {% include 'b' %} y", "x ", " y"),
            ("{% if x %}{% include 'b' %}{% endif %}\n", "{% if x %}", "{% endif %}\n"),
            ("x\n  {% include 'b' %} \ny", "x\n", "y"),
            ("  {% include 'b' %}", "  ", ""),
        ] {
            let include = Include::find(text).unwrap();
            assert_eq!((include.before, include.after), (before, after), "{text}");
        }
    }
}
