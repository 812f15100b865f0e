//! Prepares commands that users can copy from a message.

/// An argument for a shell, quoted only if necessary.
pub fn quoted(argument: &str) -> String {
    let plain = if cfg!(windows) { "_-./:@%+=,\\" } else { "_-./:@%+=," };
    let is_plain = |c: char| c.is_alphanumeric() || plain.contains(c);
    if !argument.is_empty() && argument.chars().all(is_plain) {
        argument.to_owned()
    } else if cfg!(windows) {
        in_double_quotes(argument)
    } else {
        format!("'{}'", argument.replace('\'', r"'\''"))
    }
}

/// An argument as programs on Windows take their command line apart: a backslash is one of its own only
/// before a quote, where each stands for half of one.
fn in_double_quotes(argument: &str) -> String {
    let mut quoted = String::from("\"");
    let mut backslashes = 0;
    for c in argument.chars() {
        if c == '"' {
            quoted.extend(std::iter::repeat_n('\\', backslashes + 1));
        }
        backslashes = if c == '\\' { backslashes + 1 } else { 0 };
        quoted.push(c);
    }
    quoted.extend(std::iter::repeat_n('\\', backslashes));
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_the_backslashes_before_them_are_escaped_on_windows() {
        for (argument, expected) in [
            (r"C:\my model", r#""C:\my model""#),
            ("C:\\my models\\", r#""C:\my models\\""#),
            (r#"a "small" cat"#, r#""a \"small\" cat""#),
            (r#"C:\a\"b"#, r#""C:\a\\\"b""#),
            ("", r#""""#),
        ] {
            assert_eq!(in_double_quotes(argument), expected);
        }
    }

    #[test]
    #[cfg(not(windows))]
    fn arguments_are_quoted_where_a_shell_would_not_take_them_as_they_are() {
        for (argument, expected) in [
            ("CIDAS/clipseg-rd64@refs/pr/5", "CIDAS/clipseg-rd64@refs/pr/5"),
            ("./my model", "'./my model'"),
            ("it's", r"'it'\''s'"),
            ("$(rm -r x)", "'$(rm -r x)'"),
            ("", "''"),
            ("~/modèle", "'~/modèle'"),
        ] {
            assert_eq!(quoted(argument), expected);
        }
    }
}
