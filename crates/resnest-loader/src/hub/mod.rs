//! Files of the Hugging Face Hub, downloaded once, verified, and shared with Python.
//!
//! [`Hub::file`] gives a path in the standard cache; what is there is not fetched again. The cache
//! is the one of Python's huggingface_hub in both directions: names, links, references, markers
//! for missing files and locks.
//!
//! # Why only the names of the hf-hub crate
//!
//! hf-hub 0.5 has no timeouts, turns every status into one opaque error, resumes without looking at what
//! the server answered, verifies neither size nor hash, and its locks lie where Python does not look.
//! hf-hub 1.0 has Python's locks and links, but it cannot resume over plain HTTP, retries requests only and
//! not bodies, can name an error page as a blob, does not know `HF_HUB_OFFLINE`, and brings tokio, reqwest,
//! hyper and the Xet client for what stays a blocking call. The transfer is therefore written here on ureq,
//! with rustls and without OpenSSL.
//!
//! # Without the feature `hub`
//!
//! ureq and rustls are not built, and nothing is asked of a hub: every call answers from the cache, as in
//! offline mode, and what is not there is a [`HubError::NotBuiltIn`].
//!
//! # The way of a file
//!
//! 1. Names are checked ([`FileRef`]). A full commit hash found in the cache, and everything in
//!    offline mode, needs no network.
//! 2. `HEAD /{repo}/resolve/{revision}/{file}` gives commit, ETag, size and location. When the hub
//!    cannot be reached and the cache has the file at that revision, the cached one is used, with a warning.
//! 3. Under the blob's lock the bytes go to `<etag>.incomplete`, from where it ends; cuts, stalls,
//!    429 and 5xx are retried with back-off.
//! 4. Size and hash are read back from disk; only then the file gets its name, by a rename. Where a mirror
//!    sends no hash, its answer must show where it ends (a length, or chunks), and the bytes must look like
//!    the kind of file that the name ends in.
//! 5. The snapshot gets its link and the revision its commit.

#[cfg(not(feature = "hub"))]
mod cache_only;
mod environment;
mod error;
mod layout;
mod names;
mod options;
mod proxy;
#[cfg(feature = "hub")]
mod transfer;

use std::fmt;
use std::path::PathBuf;

#[cfg(not(feature = "hub"))]
use cache_only::Client;
use layout::Layout;
#[cfg(feature = "hub")]
use transfer::Client;

pub use error::HubError;
pub use names::{DEFAULT_REVISION, FileRef, is_commit_hash};
pub use options::{HubOptions, WarningSink};
pub use proxy::Proxies;

/// Follows a download. The library prints nothing; a binary draws its bar from this.
///
/// Calls come from the thread that downloads. A transfer that is cut and goes on is several
/// `start` … `finish` rounds, each `start` saying how much is there already.
pub trait Progress: Send + Sync {
    /// The hub is about to be asked about a file, at this address.
    fn asking(&self, _url: &str) {}
    /// It has answered, or will not.
    fn answered(&self) {}
    /// Bytes of `file` are about to arrive: `total` in all (if known), `already` here.
    fn start(&self, file: &str, total: Option<u64>, already: u64);
    /// `bytes` more have arrived.
    fn advance(&self, bytes: u64);
    /// The round is over, by success or failure.
    fn finish(&self);
}

/// A file, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Located {
    /// The file in the cache's snapshot.
    pub path: PathBuf,
    /// The commit it belongs to.
    pub commit: String,
    /// Whether bytes were fetched for it by this call.
    pub downloaded: bool,
    /// Why a cached copy that may be out of date stands in, if it does.
    pub warning: Option<String>,
}

impl Located {
    fn cached((path, commit): (PathBuf, String)) -> Self {
        Self {
            path,
            commit,
            downloaded: false,
            warning: None,
        }
    }
}

/// A client of one hub with one cache. Cheap calls when the cache has the file; can be shared
/// among threads.
pub struct Hub {
    options: HubOptions,
    client: Client,
}

impl Hub {
    /// Checks the options; does not touch network or cache.
    ///
    /// # Errors
    /// [`HubError::BadOption`] for an unusable endpoint, proxy or certificate file,
    /// [`HubError::NoCacheDir`] when there is no place for a cache.
    pub fn new(mut options: HubOptions) -> Result<Self, HubError> {
        if options.cache_dir.as_os_str().is_empty() {
            return Err(HubError::NoCacheDir);
        }
        options.cache_dir = std::path::absolute(&options.cache_dir)
            .map_err(|error| error::io_error(&options.cache_dir, "finding the cache", error))?;
        while options.endpoint.ends_with('/') {
            options.endpoint.pop();
        }
        let client = Client::new(&options)?;
        Ok(Self { options, client })
    }

    /// The options in use.
    pub fn options(&self) -> &HubOptions {
        &self.options
    }

    /// The path of a file, downloaded if need be. `revision` defaults to `main`.
    ///
    /// # Errors
    /// Any [`HubError`]; see there.
    pub fn file(
        &self,
        repo: &str,
        revision: Option<&str>,
        filename: &str,
    ) -> Result<PathBuf, HubError> {
        self.locate(repo, revision, filename)
            .map(|located| located.path)
    }

    /// As [`Hub::file`], but `None` when repository and revision exist without such a file.
    ///
    /// Offline, `None` is only given for a file that is known not to exist (Python's `.no_exist`
    /// markers, which this module writes and reads).
    ///
    /// # Errors
    /// Any [`HubError`] but [`HubError::EntryNotFound`].
    pub fn try_file(
        &self,
        repo: &str,
        revision: Option<&str>,
        filename: &str,
    ) -> Result<Option<PathBuf>, HubError> {
        self.try_locate(repo, revision, filename)
            .map(|located| located.map(|located| located.path))
    }

    /// As [`Hub::try_file`], with the commit and any warning.
    pub(crate) fn try_locate(
        &self,
        repo: &str,
        revision: Option<&str>,
        filename: &str,
    ) -> Result<Option<Located>, HubError> {
        match self.locate(repo, revision, filename) {
            Ok(located) => Ok(Some(located)),
            Err(HubError::EntryNotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The path of a file that the cache has at the revision as it was last seen. No network.
    pub fn cached(&self, repo: &str, revision: Option<&str>, filename: &str) -> Option<PathBuf> {
        let file = FileRef::new(repo, revision, filename).ok()?;
        self.layout(&file).lookup().map(|(path, _)| path)
    }

    /// As [`Hub::file`], with the commit and any warning.
    ///
    /// # Errors
    /// Any [`HubError`]; see there.
    pub fn locate(
        &self,
        repo: &str,
        revision: Option<&str>,
        filename: &str,
    ) -> Result<Located, HubError> {
        let file = FileRef::new(repo, revision, filename)?;
        let layout = self.layout(&file);
        match layout.lookup() {
            Some(found) if self.options.offline || file.pinned_commit().is_some() => {
                Ok(Located::cached(found))
            }
            None if self.options.offline => {
                Err(layout.absent(|file, cache| HubError::Offline { file, cache }))
            }
            cached => self.client.locate(&self.options, &layout, cached),
        }
    }

    fn layout<'a>(&'a self, file: &'a FileRef) -> Layout<'a> {
        Layout::new(&self.options.cache_dir, file)
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hub").field(&self.options).finish()
    }
}
