//! Settings from environment variables, read as by Python's `huggingface_hub`.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::address::{Address, shown};
use crate::error::{Error, Result};
use crate::expansion::{Variables, expanded};

/// The public Hub.
const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// Where to download from, with which token, and where to.
#[derive(Clone)]
pub struct Settings {
    /// The Hub's address; it may contain the user and password of a mirror.
    pub endpoint: String,
    /// The token for private and gated repositories.
    pub token: Option<Token>,
    /// The cache's folder, which contains `models--owner--name`.
    pub cache: PathBuf,
    /// Whether only the cache may be used.
    pub offline: bool,
    /// Limits on waiting times.
    pub limits: Limits,
}

/// Limits on waiting times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest silence of a server, before it answers and within an answer: 30 s.
    pub read_timeout: Duration,
    /// Longest time for a small answer (the list of files, or a file other than weights), plus one second per
    /// KB: 60 s.
    pub small_file_timeout: Duration,
    /// Longest wait before a retry that a server may ask for: 10 min. If it asks for more, the download
    /// fails.
    pub max_retry_after: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let [read_timeout, small_file_timeout, max_retry_after] = [30, 60, 600].map(Duration::from_secs);
        Self { read_timeout, small_file_timeout, max_retry_after }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, token, cache, offline, limits } = self;
        let mut settings = formatter.debug_struct("Settings");
        settings.field("endpoint", &shown(endpoint)).field("token", token).field("cache", cache);
        settings.field("offline", offline).field("limits", limits).finish()
    }
}

/// A secret: it is sent only to the endpoint, and never printed.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// A token from the Hub; white space around it is removed.
    ///
    /// # Errors
    /// Where the text is not a token; the error names `origin`.
    pub fn new(text: &str, origin: &str) -> Result<Self> {
        let text = text.trim();
        // The token becomes a header, which a line break would end.
        if text.is_empty() || !text.chars().all(|c| c.is_ascii_graphic()) {
            let message =
                "is not a token: tokens consist of letters, digits and _, without spaces".to_owned();
            return Err(Error::Setting { variable: origin.to_owned(), message });
        }
        Ok(Self(text.to_owned()))
    }

    /// The header's value.
    pub(crate) fn bearer(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(…)")
    }
}

impl Settings {
    /// Reads `HF_ENDPOINT`, `HF_TOKEN` (or the file of `hf auth login`, at `HF_TOKEN_PATH`), `HF_HUB_CACHE`,
    /// `HF_HOME`, `XDG_CACHE_HOME`, `HF_HUB_OFFLINE`, `HF_HUB_DISABLE_IMPLICIT_TOKEN` and
    /// `HF_HUB_DOWNLOAD_TIMEOUT`, and older names of these. In paths `~` and variables are expanded.
    ///
    /// # Errors
    /// Names the variable whose value cannot be used.
    pub fn from_env() -> Result<Self> {
        Self::from_variables(&|name| env::var_os(name))
    }

    fn from_variables(variable: Variables<'_>) -> Result<Self> {
        // A shell user unsets a variable for one command by making it empty.
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let path = |name: &str| set(name).map(|value| expanded(&value, variable));
        let is_true = |name: &str| {
            let value = set(name).unwrap_or_default().to_ascii_uppercase();
            ["1", "ON", "YES", "TRUE"].iter().any(|word| value == *word)
        };
        // The older name counts where the newer is not set, whatever it is set to.
        let first = |names: [&'static str; 2]| {
            names.into_iter().find_map(|name| Some((set(name)?.to_string_lossy().into_owned(), name)))
        };

        let home = || match (path("HF_HOME"), path("XDG_CACHE_HOME"), env::home_dir()) {
            (Some(home), _, _) => Ok(home),
            (None, Some(caches), _) => Ok(caches.join("huggingface")),
            (None, None, Some(user)) => Ok(user.join(".cache").join("huggingface")),
            (None, None, None) => Err(Error::Setting {
                variable: "HF_HOME".to_owned(),
                message: "is not set and there is no home folder; set it to the folder for the cache"
                    .to_owned(),
            }),
        };
        let cache = path("HF_HUB_CACHE").or_else(|| path("HUGGINGFACE_HUB_CACHE"));
        let token = if is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN") {
            None
        } else if let Some((token, name)) = first(["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"])
            && !token.trim().is_empty()
        {
            Some(Token::new(&token, name)?)
        } else {
            let file = path("HF_TOKEN_PATH").or_else(|| home().ok().map(|home| home.join("token")));
            file.map(|file| token_in_file(&file)).transpose()?.flatten()
        };
        Ok(Self {
            endpoint: endpoint(set("HF_ENDPOINT"))?,
            token,
            cache: cache.map_or_else(|| Ok(home()?.join("hub")), Ok)?,
            offline: first(["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"]).is_some_and(|(_, name)| is_true(name)),
            limits: limits(set("HF_HUB_DOWNLOAD_TIMEOUT"))?,
        })
    }
}

fn limits(timeout: Option<OsString>) -> Result<Limits> {
    let Some(timeout) = timeout else { return Ok(Limits::default()) };
    let timeout = timeout.to_string_lossy();
    match timeout.trim().parse() {
        Ok(0) => Ok(Limits::default()),
        Ok(seconds) => Ok(Limits { read_timeout: Duration::from_secs(seconds), ..Limits::default() }),
        _ => Err(Error::Setting {
            variable: "HF_HUB_DOWNLOAD_TIMEOUT".to_owned(),
            message: format!("{timeout:?} is not a whole number of seconds"),
        }),
    }
}

fn endpoint(value: Option<OsString>) -> Result<String> {
    let Some(value) = value else { return Ok(DEFAULT_ENDPOINT.to_owned()) };
    let value = value.to_string_lossy();
    parse_endpoint(&value)?;
    Ok(value.into_owned())
}

/// Parses the Hub's address.
pub(crate) fn parse_endpoint(value: &str) -> Result<Address> {
    Address::parse(value.trim_end_matches('/')).ok_or_else(|| {
        // A text without a scheme may still contain a password.
        let given =
            if value.contains("://") { shown(value) } else { shown(&format!("://{value}"))[3..].to_owned() };
        let message = format!("{given:?} is not an address; write it as in {DEFAULT_ENDPOINT}");
        Error::Setting { variable: "HF_ENDPOINT".to_owned(), message }
    })
}

/// The token that `hf auth login` wrote; `None` if there is none.
fn token_in_file(path: &Path) -> Result<Option<Token>> {
    let variable = path.display().to_string();
    match fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => Ok(None),
        Ok(text) => Token::new(&text, &variable).map(Some),
        Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => Ok(None),
        Err(error) => {
            let message = format!("the token's file cannot be read: {error}; set HF_TOKEN instead");
            Err(Error::Setting { variable, message })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<Settings> {
        Settings::from_variables(&|name| {
            variables.iter().find(|(found, _)| *found == name).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_cache_is_where_python_has_it() {
        let cache = |variables: &[(&str, &str)]| settings(variables).unwrap().cache;
        let join = |parts: &[&str]| parts.iter().collect::<PathBuf>();
        let home = env::home_dir().unwrap();
        assert_eq!(cache(&[]), home.join(".cache").join("huggingface").join("hub"));
        assert_eq!(cache(&[("XDG_CACHE_HOME", "caches")]), join(&["caches", "huggingface", "hub"]));
        assert_eq!(cache(&[("XDG_CACHE_HOME", "caches"), ("HF_HOME", "face")]), join(&["face", "hub"]));
        assert_eq!(cache(&[("HF_HOME", "face"), ("HF_HUB_CACHE", "models")]), join(&["models"]));
        assert_eq!(cache(&[("HF_HOME", "face"), ("HUGGINGFACE_HUB_CACHE", "old")]), join(&["old"]));
        assert_eq!(cache(&[("HF_HOME", "~/face")]), home.join("face").join("hub"));
        assert_eq!(cache(&[("HF_HOME", "")]), cache(&[]));
        let disk = ("DISK", "disk");
        assert_eq!(cache(&[disk, ("HF_HOME", "$DISK/face")]), join(&["disk", "face", "hub"]));
        assert_eq!(cache(&[disk, ("HF_HUB_CACHE", "~/${DISK}s/$NONE")]), home.join("disks").join("$NONE"));
        assert_eq!(cache(&[disk, ("XDG_CACHE_HOME", "$DISK")]), join(&["disk", "huggingface", "hub"]));
    }

    #[test]
    fn a_token_is_read_from_the_environment_or_its_file_and_never_printed() {
        let folder = tempfile::tempdir().unwrap();
        let home = ("HF_HOME", folder.path().to_str().unwrap());
        assert!(settings(&[home]).unwrap().token.is_none());
        fs::write(folder.path().join("token"), "hf_file\n").unwrap();
        let bearer = |variables: &[_]| settings(variables).unwrap().token.map(|token| token.bearer());
        assert_eq!(bearer(&[home]).unwrap(), "Bearer hf_file");
        assert_eq!(bearer(&[home, ("HF_TOKEN", " hf_variable ")]).unwrap(), "Bearer hf_variable");
        assert_eq!(bearer(&[home, ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]), None);
        // What is blank is not a token, but it is set: an older name does not count any more.
        let older = ("HUGGING_FACE_HUB_TOKEN", "hf_older");
        assert_eq!(bearer(&[home, ("HF_TOKEN", " "), older]).unwrap(), "Bearer hf_file");
        assert_eq!(bearer(&[home, ("HF_TOKEN", ""), older]).unwrap(), "Bearer hf_older");
        let folder = ("FOLDER", folder.path().to_str().unwrap());
        assert_eq!(bearer(&[folder, ("HF_TOKEN_PATH", "$FOLDER/token")]).unwrap(), "Bearer hf_file");

        let printed = format!("{:?}", settings(&[("HF_TOKEN", "hf_secret")]).unwrap());
        assert!(!printed.contains("secret"), "{printed}");
        let error = settings(&[("HF_TOKEN", "hf_secret\r\nX-Other: 1")]).unwrap_err().to_string();
        assert!(error.contains("HF_TOKEN") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn offline_endpoint_and_timeout() {
        let offline = |name, value| settings(&[(name, value)]).unwrap().offline;
        assert!(offline("HF_HUB_OFFLINE", "1") && offline("TRANSFORMERS_OFFLINE", "yes"));
        assert!(!offline("HF_HUB_OFFLINE", "0") && !offline("HF_HUB_OFFLINE", ""));
        let both =
            |newer| settings(&[("HF_HUB_OFFLINE", newer), ("TRANSFORMERS_OFFLINE", "1")]).unwrap().offline;
        assert!(both("1") && both("") && !both("0") && !both("no"));
        let endpoint = |value| settings(&[("HF_ENDPOINT", value)]).map(|settings| settings.endpoint);
        assert_eq!(endpoint("http://127.0.0.1:8080/hub/").unwrap(), "http://127.0.0.1:8080/hub/");
        assert_eq!(endpoint("").unwrap(), DEFAULT_ENDPOINT);
        for wrong in ["huggingface.co", "https://", "ftp://host", "http://a b", "/"] {
            assert!(endpoint(wrong).unwrap_err().to_string().contains("HF_ENDPOINT"), "{wrong}");
        }
        let read_timeout =
            |value| settings(&[("HF_HUB_DOWNLOAD_TIMEOUT", value)]).map(|found| found.limits.read_timeout);
        assert_eq!(read_timeout("5").unwrap(), Duration::from_secs(5));
        assert_eq!(read_timeout("0").unwrap(), Limits::default().read_timeout);
        assert!(read_timeout("-1").is_err() && read_timeout("soon").is_err());
    }

    #[test]
    fn a_password_in_the_endpoint_is_not_printed() {
        let found = settings(&[("HF_ENDPOINT", "https://user:secret@host/")]).unwrap();
        assert!(!format!("{found:?}").contains("secret"));
        for wrong in [
            "user:secret@host",
            "https://user:secret@host:port",
            "ftp://user:secret@host",
            "user:secret/@host",
        ] {
            let error = settings(&[("HF_ENDPOINT", wrong)]).unwrap_err().to_string();
            assert!(error.contains("host") && !error.contains("secret"), "{error}");
        }
    }
}
