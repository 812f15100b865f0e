use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;
use std::vec::IntoIter;

use clipseg_hub::{Hub, Limits, Settings, Weights};

use crate::check_refusal;

/// Separates the answers in an input.
const BETWEEN: &[u8] = b"\n====\n";
/// Placeholders in an input for the address of the Hub and that of its storage, which is another origin.
const PLACES: [&[u8]; 2] = [b"{HUB}/", b"{STORAGE}/"];

/// How long either side waits for the other; both run here and answer at once.
const SILENCE: Duration = Duration::from_secs(10);

/// Downloads a repository twice, the second time on top of what the first left. The server answers each
/// connection with the bytes of the input's next answer, and hangs up without an answer after the last.
pub fn run(input: &[u8]) -> bool {
    // No input may lead to another host: without these two slashes no address is absolute.
    if contains(input, b"//") {
        return false;
    }
    let server = locked(&SERVER);
    server.answer_with(split(input));

    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let cache = folder.path().join("cache");
    // Failed requests are not retried, which would only take time.
    let limits =
        Limits { read_timeout: SILENCE, small_file_timeout: SILENCE, max_retry_after: Duration::ZERO };
    let settings =
        Settings { endpoint: server.origins[0].clone(), token: None, cache, offline: false, limits };
    let hub = Hub::new(settings.clone());
    let mut accepted = false;
    for _ in 0..2 {
        let repository = "tiny/model".parse().unwrap();
        let snapshot = hub.snapshot(&repository, &mut |_| ControlFlow::Continue(())).and_then(|snapshot| {
            snapshot.download_weights(Weights::Safetensors, &mut |_| ControlFlow::Continue(()))?;
            Ok(snapshot)
        });
        match snapshot {
            Ok(snapshot) => {
                let folder = fs::canonicalize(snapshot.folder()).expect("a snapshot's folder is there");
                assert!(folder.starts_with(fs::canonicalize(&settings.cache).unwrap()), "{folder:?}");
                accepted = true;
            }
            Err(error) => accepted |= check_refusal(&error, input),
        }
    }
    // Whatever the server says, no file may appear outside the cache, nor outside the repository's own
    // folders in it.
    assert!(names(folder.path()).iter().all(|name| name == "cache"));
    if settings.cache.exists() {
        let own = |name: &String| {
            ["models--tiny--model", ".locks", "version.txt", "CACHEDIR.TAG"].contains(&name.as_str())
        };
        assert!(names(&settings.cache).iter().all(own), "{:?}", names(&settings.cache));
    }
    accepted
}

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// The remaining answers, each as its bytes.
type Answers = Arc<Mutex<IntoIter<Vec<u8>>>>;

/// One server for all inputs, which take turns.
static SERVER: LazyLock<Mutex<Server>> = LazyLock::new(|| Mutex::new(Server::start()));

struct Server {
    /// The origins of the Hub and of its storage.
    origins: [String; 2],
    /// The answers to the next connections, to whichever origin.
    answers: Answers,
}

impl Server {
    fn start() -> Self {
        let answers = Answers::default();
        let origins = [(); 2].map(|()| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("loopback can be listened on");
            let origin = format!("http://{}", listener.local_addr().unwrap());
            let answers = Arc::clone(&answers);
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let reply = locked(&answers).next().unwrap_or_default();
                    // A client may hang up early.
                    let _ = answer(&stream, &reply);
                }
            });
            origin
        });
        Self { origins, answers }
    }

    fn answer_with<'a>(&self, answers: impl Iterator<Item = &'a [u8]>) {
        let [hub, storage] = &self.origins;
        let answers = answers.map(|answer| {
            let answer = replaced(answer, PLACES[0], format!("{hub}/").as_bytes());
            replaced(&answer, PLACES[1], format!("{storage}/").as_bytes())
        });
        *locked(&self.answers) = answers.collect::<Vec<_>>().into_iter();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads a request to its empty line and writes the answer.
fn answer(mut stream: &TcpStream, reply: &[u8]) -> std::io::Result<()> {
    stream.set_read_timeout(Some(SILENCE))?;
    for line in BufReader::new(stream).lines() {
        if line?.is_empty() {
            break;
        }
    }
    stream.write_all(reply)
}

fn split(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(input);
    std::iter::from_fn(move || {
        let all = rest?;
        let Some(end) = all.windows(BETWEEN.len()).position(|window| window == BETWEEN) else {
            rest = None;
            return Some(all);
        };
        rest = Some(&all[end + BETWEEN.len()..]);
        Some(&all[..end])
    })
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// The bytes with `new` in place of each `old`.
fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut all = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, more)) = rest.split_first() {
        match rest.strip_prefix(old) {
            Some(more) => {
                all.extend(new);
                rest = more;
            }
            None => {
                all.push(*first);
                rest = more;
            }
        }
    }
    all
}
