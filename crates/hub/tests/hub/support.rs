//! A Hub with a repository of made-up files, and a cache for them.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use clipseg_hub::{Error, Hub, Limits, Progress, Result, Settings, Snapshot, Weights};
use clipseg_hub_server::{HubServer, MAIN, Request};
use tempfile::TempDir;

/// The large file.
pub const WEIGHTS: &str = "model.safetensors";

/// The server, and a folder for the cache.
pub struct Tiny {
    pub server: HubServer,
    home: TempDir,
    pub settings: Settings,
}

impl Tiny {
    pub fn new() -> Self {
        let text = |length: usize| (0..length).map(|index| b'a' + (index * index % 26) as u8).collect();
        let mut files: BTreeMap<String, Vec<u8>> = [
            ("README.md", 3_000),
            ("config.json", 4_730),
            ("preprocessor_config.json", 380),
            ("vocab.json", 106_000),
            ("merges.txt", 52_500),
            (WEIGHTS, 700_000),
        ]
        .map(|(name, length)| (name.to_owned(), text(length)))
        .into();
        // One tensor of bytes.
        let header = |length: usize| {
            format!("{{\"a\":{{\"dtype\":\"U8\",\"shape\":[{length}],\"data_offsets\":[0,{length}]}}}}")
        };
        let length = 700_000 - 8 - header(600_000).len();
        let start = [&(header(length).len() as u64).to_le_bytes()[..], header(length).as_bytes()].concat();
        if let Some(weights) = files.get_mut(WEIGHTS) {
            weights[..start.len()].copy_from_slice(&start);
        }
        let server = HubServer::start(files);
        let home = tempfile::tempdir().unwrap();
        let settings = Settings {
            endpoint: server.endpoint.clone(),
            token: None,
            cache: home.path().join("hub"),
            offline: false,
            limits: Limits::default(),
        };
        Self { server, home, settings }
    }

    /// The folder in which Python keeps its cache, as `hub`.
    pub fn home(&self) -> PathBuf {
        self.home.path().to_owned()
    }

    pub fn snapshot(&self) -> Result<Snapshot> {
        self.snapshot_of("tiny/model", &mut |_| ControlFlow::Continue(()))
    }

    pub fn snapshot_of(
        &self,
        name: &str,
        progress: &mut dyn FnMut(Progress<'_>) -> ControlFlow<()>,
    ) -> Result<Snapshot> {
        Hub::new(self.settings.clone()).snapshot(&name.parse()?, progress)
    }

    /// Downloads everything that a checkpoint needs.
    pub fn download(&self) -> Result<()> {
        self.snapshot()?.download_weights(Weights::Safetensors, &mut |_| ControlFlow::Continue(()))
    }

    /// Downloads, and asserts that this succeeds and gives what the Hub has.
    pub fn succeed(&self) {
        self.download().unwrap();
        self.assert_whole();
    }

    /// Asserts that downloading fails, and returns the error.
    pub fn refuse(&self) -> Error {
        self.download().unwrap_err()
    }

    /// Asserts that the cache has all files of the checkpoint as the Hub has them, and nothing unfinished.
    pub fn assert_whole(&self) {
        for (name, bytes) in &self.server.state().files {
            let found = fs::read(self.cached(name));
            assert!(name == "README.md" || found.unwrap() == *bytes, "{name} is another");
        }
        assert_eq!(self.incomplete(), Vec::<PathBuf>::new());
    }

    /// A path in the cache's folder of the repository.
    pub fn cache(&self, path: &str) -> PathBuf {
        self.settings.cache.join("models--tiny--model").join(path)
    }

    /// The path of a file in the snapshot, from which a checkpoint is read.
    pub fn cached(&self, name: &str) -> PathBuf {
        self.cache("snapshots").join(MAIN).join(name)
    }

    /// The path of a file's content.
    pub fn blob(&self, name: &str) -> PathBuf {
        self.cache("blobs").join(self.server.state().etag(name))
    }

    /// The unfinished downloads.
    pub fn incomplete(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.cache("blobs")) else { return Vec::new() };
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "incomplete")).collect()
    }

    /// Shortens the time that small answers may take.
    pub fn hurry(&mut self, milliseconds: u64) {
        self.settings.limits.small_file_timeout = Duration::from_millis(milliseconds);
    }
}

/// The ranges of the requests for the large file, in order.
pub fn ranges(requests: &[Request]) -> Vec<Option<&str>> {
    let content = requests.iter().filter(|request| request.is_storage && request.method == "GET");
    content.map(|request| request.range.as_deref()).collect()
}
