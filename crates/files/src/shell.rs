//! Prepares commands that users can copy from a message.

/// An argument for a shell, quoted only if necessary.
pub fn quoted(argument: &str) -> String {
    let plain = if cfg!(windows) { "_-./:@%+=,\\" } else { "_-./:@%+=," };
    let is_plain = |c: char| c.is_alphanumeric() || plain.contains(c);
    if !argument.is_empty() && argument.chars().all(is_plain) {
        argument.to_owned()
    } else if cfg!(windows) {
        format!("\"{argument}\"")
    } else {
        format!("'{}'", argument.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
