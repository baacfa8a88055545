//! What every test of the hub starts from.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use resnest_loader::hub::{Hub, HubOptions};
use tempfile::TempDir;

use crate::server::{COMMIT, Server};

pub const REPO: &str = "timm/resnest";
pub const WEIGHTS: &str = "model.safetensors";

/// A server with one repository (a small git file, one in a folder, an LFS file) and a cache.
pub struct World {
    pub server: Server,
    pub cache: TempDir,
    pub weights: Vec<u8>,
    pub warnings: Arc<Mutex<Vec<String>>>,
}

impl World {
    pub fn new() -> Self {
        let server = Server::start();
        let weights = noise(300_000);
        server.put(REPO, COMMIT, "config.json", b"{\"a\": 1}\n", false);
        server.put(REPO, COMMIT, "sub dir/labels.txt", b"cat\ndog\n", false);
        server.put(REPO, COMMIT, WEIGHTS, &weights, true);
        Self {
            server,
            cache: tempfile::tempdir().unwrap(),
            weights,
            warnings: Arc::default(),
        }
    }

    /// Options with short waits but timeouts that a busy machine does not reach, and no variable
    /// of the environment.
    pub fn options(&self) -> HubOptions {
        options(&self.server.endpoint(), self.cache.path(), &self.warnings)
    }

    pub fn hub(&self) -> Hub {
        Hub::new(self.options()).unwrap()
    }

    pub fn hub_with(&self, change: impl FnOnce(&mut HubOptions)) -> Hub {
        let mut options = self.options();
        change(&mut options);
        Hub::new(options).unwrap()
    }

    pub fn warnings(&self) -> String {
        self.warnings.lock().unwrap().join("\n")
    }

    /// Every file and link below the repository's folder, sorted, with `/`.
    pub fn tree(&self) -> Vec<String> {
        let root = self.cache.path().join("models--timm--resnest");
        let mut found = Vec::new();
        walk(&root, &root, &mut found);
        found.sort();
        found
    }
}

pub fn options(endpoint: &str, cache: &Path, warnings: &Arc<Mutex<Vec<String>>>) -> HubOptions {
    let millis = Duration::from_millis;
    let sink = warnings.clone();
    let mut options = HubOptions::default();
    options.endpoint = endpoint.to_owned();
    options.cache_dir = cache.to_owned();
    options.connect_timeout = millis(5000);
    options.metadata_timeout = millis(5000);
    options.read_timeout = millis(5000);
    options.retries = 3;
    options.backoff = millis(5);
    options.max_backoff = millis(400);
    options.lock_timeout = millis(10_000);
    options.warnings = Some(Arc::new(move |message: &str| {
        sink.lock().unwrap().push(message.to_owned());
    }));
    options
}

fn walk(root: &Path, dir: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.is_symlink() {
            walk(root, &path, found);
        } else {
            found.push(
                path.strip_prefix(root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned(),
            );
        }
    }
}

/// Bytes without a pattern that a shifted resume could hide in (xorshift64).
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}
