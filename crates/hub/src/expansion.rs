//! Expands a home folder and variables in paths, as Python's `expanduser` and `expandvars` do. Files that set
//! variables may contain either, and nothing else expands them there.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

/// Reads a variable of the environment.
pub(crate) type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The path with a `~` at its beginning and its variables expanded: `$NAME` and `${NAME}`, and on Windows
/// `%NAME%`. What names no variable that is set stays.
pub(crate) fn expanded(path: &OsStr, variables: Variables<'_>) -> PathBuf {
    let path = with_home(Path::new(path));
    match path.to_str() {
        Some(text) => with_variables(text, cfg!(windows), variables).into(),
        None => path,
    }
}

fn with_home(path: &Path) -> PathBuf {
    match (path.strip_prefix("~"), env::home_dir()) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

fn with_variables(text: &str, has_percents: bool, variables: Variables<'_>) -> OsString {
    let mut expanded = OsString::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c == '$' || has_percents && c == '%') {
        let (before, from) = rest.split_at(start);
        expanded.push(before);
        let (name, length) = reference(from).unwrap_or(("", 1));
        match variables(name).filter(|_| !name.is_empty()) {
            Some(value) => expanded.push(value),
            None => expanded.push(&from[..length]),
        }
        rest = &from[length..];
    }
    expanded.push(rest);
    expanded
}

/// The variable that a text begins with, which begins with a dollar or percent sign, and the length of all
/// that stands for it.
fn reference(text: &str) -> Option<(&str, usize)> {
    let ended = |start: &str, end: char| {
        let name = text.strip_prefix(start)?.split_once(end)?.0;
        Some((name, start.len() + name.len() + end.len_utf8()))
    };
    if text.starts_with("${") {
        return ended("${", '}');
    }
    let Some(rest) = text.strip_prefix('$') else { return ended("%", '%') };
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let name = &rest[..rest.find(|c: char| !is_part(c)).unwrap_or(rest.len())];
    Some((name, 1 + name.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(name: &str) -> Option<OsString> {
        match name {
            "DISK" => Some("/disk".into()),
            "a_1" => Some("$DISK".into()),
            "EMPTY" => Some(OsString::new()),
            _ => None,
        }
    }

    /// What `posixpath.expandvars` of Python 3.11 makes of them.
    #[test]
    fn variables_are_expanded_as_in_python() {
        for (text, expected) in [
            ("", ""),
            ("a/b", "a/b"),
            ("$DISK/a", "/disk/a"),
            ("${DISK}a$DISK", "/diska/disk"),
            ("$a_1-${a_1}", "$DISK-$DISK"),
            ("x${EMPTY}y", "xy"),
            ("$NONE/${NONE}/$", "$NONE/${NONE}/$"),
            ("$$DISK", "$/disk"),
            ("${DISK", "${DISK"),
            ("${x$DISK}$DISK", "${x$DISK}/disk"),
            ("${}$é", "${}$é"),
            ("%DISK%", "%DISK%"),
        ] {
            assert_eq!(with_variables(text, false, &variables), expected, "{text}");
        }
        for (text, expected) in
            [("%DISK%/$DISK", "/disk//disk"), ("%NONE%DISK%", "%NONE%DISK%"), ("50%/é", "50%/é")]
        {
            assert_eq!(with_variables(text, true, &variables), expected, "{text}");
        }
    }
}
