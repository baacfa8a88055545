//! Weights brought to this machine.

use std::path::{Path, PathBuf};

use super::{Loader, Resolved, Weights};
use crate::checkpoint::{Checkpoint, shard_files};
use crate::error::{Error, Result};

impl Loader {
    /// The weights file, when it is on this machine already. No network.
    pub fn locate(&self, resolved: &Resolved) -> Option<PathBuf> {
        match &resolved.weights {
            Weights::File(path) => path.exists().then(|| path.clone()),
            Weights::Memory { .. } | Weights::Url(_) => None,
            Weights::Hub {
                repo,
                revision,
                files,
                ..
            } => {
                let cached = |file: &str| self.hub.cached(repo, revision.as_deref(), file);
                files.iter().filter_map(|file| cached(file)).find(|path| {
                    let complete = |shard: &String| cached(shard).is_some();
                    !is_index(path)
                        || shard_files(path).is_ok_and(|shards| shards.iter().all(complete))
                })
            }
        }
    }

    /// The weights file, downloaded if need be; for a sharded checkpoint its index, with all shards beside
    /// it. [`HubOptions::warnings`] gets a warning when weights come that are not for commercial use.
    ///
    /// [`HubOptions::warnings`]: crate::hub::HubOptions::warnings
    ///
    /// # Errors
    /// [`Error::Hub`], [`Error::NoWeights`] when the repository has none of the files, [`Error::Checksum`] when
    /// the file is not the manifest's.
    pub fn download(&self, resolved: &Resolved) -> Result<PathBuf> {
        match &resolved.weights {
            Weights::File(path) => Ok(path.clone()),
            Weights::Url(url) => {
                let file = url.rsplit('/').next().unwrap_or(url);
                Err(Error::Source {
                    name: resolved.name.clone(),
                    problem: format!(
                        "its weights are on no hub; download {url} and give the file with the name (--checkpoint {file})"
                    ),
                })
            }
            Weights::Memory { origin, .. } => Err(Error::Source {
                name: origin.clone(),
                problem: "built in; there is nothing to download".into(),
            }),
            Weights::Hub {
                repo,
                revision,
                files,
                sha256,
            } => {
                let (path, came) = self.first_of(repo, revision.as_deref(), files)?;
                if came {
                    self.warn_of_licence(resolved);
                }
                if is_index(&path) {
                    let shards = shard_files(&path).map_err(|error| in_cache(error, &path))?;
                    for shard in shards {
                        self.hub.file(repo, revision.as_deref(), &shard)?;
                    }
                }
                if let Some(wanted) = sha256 {
                    verify(&path, wanted).map_err(|error| in_cache(error, &path))?;
                }
                Ok(path)
            }
        }
    }

    /// Warns when weights may not be used commercially.
    fn warn_of_licence(&self, resolved: &Resolved) {
        let Resolved {
            name, pretrained, ..
        } = resolved;
        if pretrained.is_non_commercial() {
            let licence = pretrained.license.as_deref().unwrap_or_default();
            self.hub.options().warn(&format!(
                "the weights of {name} are licensed under {licence}: not for commercial use"
            ));
        }
    }

    /// The first of `files` the repository has, and whether it came just now.
    fn first_of(
        &self,
        repo: &str,
        revision: Option<&str>,
        files: &[String],
    ) -> Result<(PathBuf, bool)> {
        for file in files {
            match self.hub.try_locate(repo, revision, file) {
                Ok(Some(located)) => return Ok((located.path, located.downloaded)),
                Ok(None) => {}
                // offline, what is not known to be absent is an error; another of the files may be here
                Err(error) => {
                    let mut rest = files.iter().filter(|other| *other != file);
                    let cached = rest.find_map(|other| self.hub.cached(repo, revision, other));
                    return Ok((cached.ok_or(error)?, false));
                }
            }
        }
        Err(Error::NoWeights {
            place: format!("{repo}@{}", revision.unwrap_or("main")),
            looked_for: files.to_vec(),
        })
    }

    /// Opens the weights, downloading them if need be.
    ///
    /// # Errors
    /// As [`Loader::download`] and [`Checkpoint::open`].
    pub fn open(&self, resolved: &Resolved) -> Result<Checkpoint> {
        match &resolved.weights {
            Weights::Memory { bytes, origin } => Checkpoint::from_bytes(bytes.clone(), origin),
            Weights::Hub { .. } => {
                let path = self.download(resolved)?;
                Checkpoint::open(&path).map_err(|error| in_cache(error, &path))
            }
            _ => Checkpoint::open(self.download(resolved)?),
        }
    }
}

/// Adds to what is wrong with the content of a file of the cache which file to delete: the link in the
/// snapshot alone would only be made anew.
pub(super) fn in_cache(error: Error, path: &Path) -> Error {
    let of_content = matches!(
        error,
        Error::Format { .. }
            | Error::Header { .. }
            | Error::Index { .. }
            | Error::Zip { .. }
            | Error::Pickle { .. }
            | Error::Tensor { .. }
            | Error::Config { .. }
            | Error::Checksum { .. }
    );
    if !of_content {
        return error;
    }
    let file = broken_shard(&error, path).unwrap_or_else(|| path.to_path_buf());
    Error::Cached {
        file: std::fs::canonicalize(&file).unwrap_or(file),
        source: Box::new(error),
    }
}

/// The shard that an error is about, where `path` is the index beside it.
fn broken_shard(error: &Error, path: &Path) -> Option<PathBuf> {
    let (Error::Format { origin, .. }
    | Error::Header { origin, .. }
    | Error::Zip { origin, .. }
    | Error::Pickle { origin, .. }
    | Error::Tensor { origin, .. }) = error
    else {
        return None;
    };
    let shard = PathBuf::from(origin);
    (is_index(path) && shard.parent() == path.parent()).then_some(shard)
}

fn is_index(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "json")
}

fn verify(path: &Path, wanted: &str) -> Result<()> {
    use sha2::{Digest, Sha256};
    let io = |source| Error::Io {
        path: path.to_path_buf(),
        source,
    };
    let mut hasher = Sha256::new();
    std::io::copy(
        &mut std::fs::File::open(path).map_err(io)?,
        &mut HashWriter(&mut hasher),
    )
    .map_err(io)?;
    let found: String = hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    if found == wanted {
        return Ok(());
    }
    Err(Error::Checksum {
        path: path.to_path_buf(),
        wanted: wanted.to_string(),
        found,
    })
}

/// `io::Write` over a hasher, whichever features the hash crate was built with.
struct HashWriter<'a>(&'a mut sha2::Sha256);

impl std::io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        sha2::Digest::update(self.0, bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
