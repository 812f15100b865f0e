//! URLs of http and https: parsing, redirects, and showing them without secrets.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::percent_decode_str;
use ureq::http::Uri;

/// An address of http or https. When displayed, it leaves out what may be secret: user, password, and the
/// query, where signatures are.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    scheme: String,
    /// `user:password@`, or nothing.
    user: String,
    /// Host and port, without the scheme's default port.
    host: String,
    /// Path and query, from the first slash on.
    path: String,
}

impl Address {
    /// Parses an absolute address.
    pub fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.trim().parse().ok()?;
        let scheme = uri.scheme_str()?.to_ascii_lowercase();
        let default_port = match scheme.as_str() {
            "http" => ":80",
            "https" => ":443",
            _ => return None,
        };
        let authority = uri.authority()?.as_str();
        let (user, host) = authority.rsplit_once('@').map_or(("", authority), |(user, host)| (user, host));
        let host = host.to_ascii_lowercase();
        let host = host.strip_suffix(default_port).unwrap_or(&host).trim_end_matches(':');
        // The part after the brackets of an IPv6 address; else the whole host.
        let behind = &host[host.find(']').unwrap_or(0)..];
        let has_port = behind.split_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_ok());
        if host.is_empty() || host.starts_with(':') || !has_port {
            return None;
        }
        let user = if user.is_empty() { String::new() } else { format!("{user}@") };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let slash = if path.starts_with('/') { "" } else { "/" };
        Some(Self { scheme, user, host: host.to_owned(), path: format!("{slash}{path}") })
    }

    /// The address as a request needs it, secrets included.
    pub fn full(&self) -> String {
        format!("{}://{}{}{}", self.scheme, self.user, self.host, self.path)
    }

    /// Host and port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The host, and the port, also where it is the scheme's default.
    pub fn host_and_port(&self) -> (&str, u16) {
        let port = self.host.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        port.unwrap_or((&self.host, if self.scheme == "https" { 443 } else { 80 }))
    }

    /// Path and query.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether the address contains a user, and so perhaps a password.
    pub fn has_user(&self) -> bool {
        !self.user.is_empty()
    }

    /// The value of the header that presents the user and password, decoded, if there are any.
    pub fn authorization(&self) -> Option<String> {
        let user = self.user.strip_suffix('@')?;
        let (user, password) = user.split_once(':').unwrap_or((user, ""));
        let [user, password] = [user, password].map(|text| percent_decode_str(text).collect::<Vec<_>>());
        Some(format!("Basic {}", BASE64_STANDARD.encode([user, password].join(&b':'))))
    }

    /// Whether scheme, host and port are the same.
    pub fn has_origin_of(&self, other: &Self) -> bool {
        self.scheme == other.scheme && self.host == other.host
    }

    /// Whether secrets meant for `other` may be sent to this address: both have the same origin, or this is
    /// the same host over TLS.
    pub fn is_trusted_by(&self, other: &Self) -> bool {
        self.has_origin_of(other)
            || self.host == other.host && !self.host.contains(':') && self.scheme == "https"
    }

    /// This address with `more`, which starts with a slash, appended to its path.
    pub fn join(&self, more: &str) -> Self {
        let path = format!("{}{more}", self.path.trim_end_matches('/'));
        Self { path, ..self.clone() }
    }

    /// The target of a redirect from this address, by the rules of relative references (RFC 3986).
    pub fn follow(&self, location: &str) -> Option<Self> {
        // Some servers do not escape spaces.
        let location = location.trim().split('#').next().unwrap_or_default().replace(' ', "%20");
        let location = location.as_str();
        let absolute = if location.starts_with("//") {
            format!("{}:{location}", self.scheme)
        } else if scheme_of(location).is_some() {
            location.to_owned()
        } else {
            let path = self.path.split('?').next().unwrap_or_default();
            let path = match location.as_bytes().first() {
                None => self.path.clone(),
                Some(b'/') => location.to_owned(),
                Some(b'?') => format!("{path}{location}"),
                Some(_) => format!("{}/{location}", path.rsplit_once('/').map_or("", |(folder, _)| folder)),
            };
            format!("{}://{}{}", self.scheme, self.host, without_dots(&path))
        };
        let mut next = Self::parse(&absolute)?;
        // The password of a gateway is for everything behind it.
        if !next.has_user() && next.is_trusted_by(self) {
            next.user.clone_from(&self.user);
        }
        Some(next)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&shown(&self.full()))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}", self.to_string())
    }
}

/// The scheme of an absolute address.
fn scheme_of(location: &str) -> Option<&str> {
    let (scheme, _) = location.split_once(':')?;
    let is_legal = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    (scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(is_legal)).then_some(scheme)
}

/// A path with its `.` and `..` resolved; the query is left unchanged.
fn without_dots(path: &str) -> String {
    let (path, query) = path.split_at(path.find('?').unwrap_or(path.len()));
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/').skip(1) {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let slash = if path.ends_with("/.") || path.ends_with("/..") { "/" } else { "" };
    format!("/{}{slash}{query}", parts.join("/"))
}

/// A text with all addresses in it shown without user, password and query, where signatures and tokens are.
/// Every address in a message goes through this.
pub fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + 3);
        shown.push_str(before);
        let is_end = |c: char| c.is_whitespace() || "\"'<>`".contains(c);
        let (address, behind) = after.split_at(after.find(is_end).unwrap_or(after.len()));
        let authority = address.split(['/', '?', '#']).next().unwrap_or_default();
        // An unescaped slash or question mark in a password makes the authority end too early, after
        // something that is not a port.
        let has_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
        let is_cut = !authority.contains('@')
            && !authority.ends_with(']')
            && authority.rsplit_once(':').is_some_and(|(_, port)| !has_port(port));
        let user = if is_cut { address } else { authority };
        let address = user.rfind('@').map_or(address, |at| &address[at + 1..]);
        shown.push_str(address.split(['?', '#']).next().unwrap_or_default());
        rest = behind;
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn redirects_are_followed_as_relative_references_are() {
        let base = address("https://hub.example:8443/a/b/resolve/main/c?d=e");
        for (location, expected) in [
            ("/api/x?y=1", "https://hub.example:8443/api/x?y=1"),
            ("/api/x?y=1#part", "https://hub.example:8443/api/x?y=1"),
            (" /api/x ", "https://hub.example:8443/api/x"),
            ("/a b/é", "https://hub.example:8443/a%20b/é"),
            ("d", "https://hub.example:8443/a/b/resolve/main/d"),
            ("./d", "https://hub.example:8443/a/b/resolve/main/d"),
            ("../other/d?e=../f", "https://hub.example:8443/a/b/resolve/other/d?e=../f"),
            ("../../../../../../d", "https://hub.example:8443/d"),
            ("?d=f", "https://hub.example:8443/a/b/resolve/main/c?d=f"),
            ("#part", "https://hub.example:8443/a/b/resolve/main/c?d=e"),
            ("//cdn.example/x", "https://cdn.example/x"),
            ("HTTP://CDN.example:80/x", "http://cdn.example/x"),
            ("https://cdn.example", "https://cdn.example/"),
            ("https://cdn.example?x=y", "https://cdn.example/?x=y"),
        ] {
            assert_eq!(base.follow(location).unwrap().full(), expected, "{location}");
        }
        for none in [
            "file:///etc/passwd",
            "ftp://host/x",
            "https://",
            "https:///x",
            "http://a b/",
            "http://a:b/",
            "x:y",
        ] {
            assert!(base.follow(none).is_none(), "{none}");
        }
    }

    #[test]
    fn origins_are_told_apart_and_passwords_stay_at_their_own() {
        let base = address("https://hub.example");
        for same in ["https://HUB.example:443/x", "https://user:word@hub.example"] {
            assert!(address(same).has_origin_of(&base), "{same}");
        }
        for other in ["https://hub.example:8443", "http://hub.example", "https://hub.example.org"] {
            assert!(!address(other).is_trusted_by(&base), "{other}");
        }
        assert!(base.is_trusted_by(&address("http://hub.example")));
        assert!(!address("https://h:81").is_trusted_by(&address("http://h:81")));

        let base = address("https://user:word@hub.example/hub");
        assert_eq!(base.join("/a").full(), "https://user:word@hub.example/hub/a");
        assert_eq!(base.follow("/x").unwrap().full(), "https://user:word@hub.example/x");
        assert_eq!(base.follow("https://hub.example/x").unwrap().full(), "https://user:word@hub.example/x");
        assert_eq!(base.follow("https://cdn.example/x").unwrap().full(), "https://cdn.example/x");
    }

    #[test]
    fn hosts_have_ports() {
        for (text, expected) in [
            ("https://hub.example", ("hub.example", 443)),
            ("http://hub.example:80/a:1", ("hub.example", 80)),
            ("http://user:1@hub.example:8080", ("hub.example", 8080)),
            ("http://[::1]", ("[::1]", 80)),
            ("https://[::1]:8443", ("[::1]", 8443)),
        ] {
            assert_eq!(address(text).host_and_port(), expected, "{text}");
        }
    }

    /// As `curl --verbose` sends them.
    #[test]
    fn users_and_passwords_are_decoded() {
        for (text, expected) in [
            ("https://user:word@host", Some("Basic dXNlcjp3b3Jk")),
            ("https://us%40er:w%3Ar%2fd%25@host", Some("Basic dXNAZXI6dzpyL2Ql")),
            ("https://us%C3%A9r:+@host", Some("Basic dXPDqXI6Kw==")),
            ("https://user@host", Some("Basic dXNlcjo=")),
            ("https://host", None),
        ] {
            assert_eq!(address(text).authorization().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        for (text, expected) in [
            ("https://huggingface.co/a/b@main", "https://huggingface.co/a/b@main"),
            ("https://user:word@host/a?b", "https://host/a"),
            ("https://user:w@rd@host:80/a#b", "https://host:80/a"),
            ("https://user:wo/rd@host/a", "https://host/a"),
            ("https://user:wo?rd@host/a", "https://host/a"),
            ("http://[::1]:80/a", "http://[::1]:80/a"),
            ("http://[::1]/a@b", "http://[::1]/a@b"),
            (
                "proxy http://u:p@host failed for \"https://x/y?X-Amz-Signature=z\".",
                "proxy http://host failed for \"https://x/y\".",
            ),
            ("no address", "no address"),
        ] {
            assert_eq!(shown(text), expected);
        }
        let address = address("https://user:word@host/a?X-Amz-Signature=z");
        assert_eq!(address.to_string(), "https://host/a");
        assert_eq!(format!("{address:?}"), "\"https://host/a\"");
    }
}
