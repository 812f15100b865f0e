//! What templates include.

/// An `{% include "…" %}`, with what stands around it.
pub struct Include<'a> {
    pub before: &'a str,
    path: &'a str,
    pub after: &'a str,
}

impl<'a> Include<'a> {
    pub fn find(line: &'a str) -> Option<Self> {
        let (before, rest) = line.split_once("{%")?;
        let (inner, after) = rest.split_once("%}")?;
        let path = inner.trim().strip_prefix("include")?.trim();
        let path = path.strip_prefix(['"', '\''])?.strip_suffix(['"', '\''])?;
        Some(Self { before, path, after })
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
        let include = Include::find("x {% include 'b' %} y").unwrap();
        assert_eq!((include.before, include.after), ("x ", " y"));
    }
}
