//! Everything that can go wrong between a name and a file, each case with its way out.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::names::FileRef;

/// Why a file of the hub could not be had.
///
/// Addresses in messages carry no query string: a CDN's holds a signature.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HubError {
    /// A repository, revision or file name that cannot be one.
    #[error("invalid {what} {name:?}: {reason}")]
    BadName {
        /// `repository`, `revision` or `file name`.
        what: &'static str,
        /// As given.
        name: String,
        /// The rule it breaks.
        reason: &'static str,
    },
    /// An option or environment variable with an unusable value.
    #[error("{option}={value:?}: {reason}")]
    BadOption {
        /// Name of the option or environment variable.
        option: &'static str,
        /// Its value (never a token's).
        value: String,
        /// What was expected.
        reason: String,
    },
    /// There is neither a home directory nor a setting to put the cache under.
    #[error("no cache directory: there is no home directory; set HF_HUB_CACHE or HF_HOME")]
    NoCacheDir,
    /// The repository does not exist, or is private and the token does not open it.
    #[error(
        "repository {repo} not found on {endpoint} ({status}): check the spelling; \
         if it is private, set HF_TOKEN to a token that can read it"
    )]
    RepositoryNotFound {
        /// As asked.
        repo: String,
        /// The hub that was asked.
        endpoint: String,
        /// 401 or 404.
        status: u16,
    },
    /// The repository exists, the revision does not.
    #[error("repository {repo} has no revision {revision:?}: expected a branch, tag or commit")]
    RevisionNotFound {
        /// As asked.
        repo: String,
        /// As asked.
        revision: String,
    },
    /// Repository and revision exist, the file does not.
    #[error("{file}: the repository has no such file at that revision")]
    EntryNotFound {
        /// What was asked for.
        file: Box<FileRef>,
    },
    /// The repository asks to accept its licence first.
    #[error(
        "{file}: the repository is gated: accept its licence on {endpoint}/{} and set HF_TOKEN \
         to a token of that account{}", file.repo(), note(message)
    )]
    Gated {
        /// What was asked for.
        file: Box<FileRef>,
        /// The hub.
        endpoint: String,
        /// The server's own explanation.
        message: String,
    },
    /// 401 or 403.
    #[error(
        "{file}: access denied ({status}){}: set HF_TOKEN to a token that may read the repository",
        note(message)
    )]
    Denied {
        /// What was asked for.
        file: Box<FileRef>,
        /// 401 or 403.
        status: u16,
        /// The server's own explanation.
        message: String,
    },
    /// Offline, and the cache does not have it.
    #[error(
        "{file} is not in the cache {} and offline mode is on: run once without \
         --offline/HF_HUB_OFFLINE, or copy a cache that has it and point HF_HUB_CACHE there",
        cache.display()
    )]
    Offline {
        /// What was asked for.
        file: Box<FileRef>,
        /// Where was looked.
        cache: PathBuf,
    },
    /// The cache does not have it, and this build cannot download.
    #[error(
        "{file} is not in the cache {}, and this build cannot download it: it was built without the feature \
         `hub`; enable that feature of the resnest crate, or point HF_HUB_CACHE to a cache that has the file",
        cache.display()
    )]
    NotBuiltIn {
        /// What was asked for.
        file: Box<FileRef>,
        /// Where was looked.
        cache: PathBuf,
    },
    /// No answer: name resolution, connection, TLS, proxy or a timeout.
    #[error(
        "{url}: no answer after {attempts} attempt(s): {cause}; check the connection, \
         HTTPS_PROXY and HF_ENDPOINT"
    )]
    Unreachable {
        /// Without its query.
        url: String,
        /// How often it was tried.
        attempts: u32,
        /// The last failure.
        cause: String,
    },
    /// An answer that is neither the file nor one of the hub's known refusals.
    #[error("{url}: status {status} after {attempts} attempt(s){}", note(message))]
    Status {
        /// Without its query.
        url: String,
        /// HTTP status.
        status: u16,
        /// How often it was tried.
        attempts: u32,
        /// The server's own explanation.
        message: String,
    },
    /// The server asks to be left alone for longer than it would be waited for.
    #[error(
        "{url}: the server answers {status} and asks to wait {}; that is longer than is waited for: run again then",
        seconds(*asked)
    )]
    Overloaded {
        /// Without its query.
        url: String,
        /// 408, 429 or 5xx.
        status: u16,
        /// The wait asked for (`Retry-After`, `RateLimit`).
        asked: Duration,
    },
    /// An answer that does not speak the hub's protocol.
    #[error("{url}: not a hub's answer: {problem}; check HF_ENDPOINT and any proxy on the way")]
    Protocol {
        /// Without its query.
        url: String,
        /// What is missing or wrong.
        problem: String,
    },
    /// The body kept ending early. What came is kept and the next call goes on from there.
    #[error(
        "{file}: the download stopped at {got} of {expected} bytes after {attempts} attempt(s): \
         {cause}; run again to go on from there"
    )]
    Cut {
        /// What was asked for.
        file: Box<FileRef>,
        /// Bytes kept.
        got: u64,
        /// Bytes of the whole, or `?`.
        expected: String,
        /// How often it was tried.
        attempts: u32,
        /// The last failure.
        cause: String,
    },
    /// The server's bytes are not the file's, twice.
    #[error(
        "{file}: the server sent wrong bytes twice: {check} should be {expected}, got {got}; \
         nothing was kept; a proxy or mirror on the way may be at fault"
    )]
    Corrupt {
        /// What was asked for.
        file: Box<FileRef>,
        /// `sha256`, `git sha1` or `size`.
        check: &'static str,
        /// As the hub announced it.
        expected: String,
        /// As it came.
        got: String,
    },
    /// A page or a message in the place of a file of which the hub sent no hash.
    #[error(
        "{file}: {url} sent {what} in its place, probably the log-in page of this network or a message of a \
         proxy or mirror; nothing was kept: log in there, or check HTTPS_PROXY and HF_ENDPOINT"
    )]
    Page {
        /// What was asked for.
        file: Box<FileRef>,
        /// Without its query.
        url: String,
        /// What came.
        what: &'static str,
    },
    /// An answer that could be cut short without a sign of it.
    #[error(
        "{file}: {url} sends neither its length nor its hash, nor would its end show: whether all of it came \
         could not be checked, so none was kept; use another mirror (HF_ENDPOINT) or no proxy"
    )]
    Unverifiable {
        /// What was asked for.
        file: Box<FileRef>,
        /// Without its query.
        url: String,
    },
    /// Larger than [`super::HubOptions::max_bytes`].
    #[error("{file}: {size} bytes is over the limit of {limit} (HubOptions::max_bytes)")]
    TooLarge {
        /// What was asked for.
        file: Box<FileRef>,
        /// As announced or received so far.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// Another process holds the file's lock and makes no progress.
    #[error(
        "{}: held by another process that made no progress for {waited:?}; end it, or remove the \
         file if no process is downloading", lock.display()
    )]
    Locked {
        /// The lock file.
        lock: PathBuf,
        /// How long was waited.
        waited: Duration,
    },
    /// The disk is full. What was received is kept.
    #[error(
        "{}: no space left on the device: free some, or set HF_HUB_CACHE to a larger disk; \
         what was received is kept", path.display()
    )]
    DiskFull {
        /// The file being written.
        path: PathBuf,
    },
    /// The cache may not be read or written.
    #[error(
        "{}: permission denied while {action}: change its owner or mode, or set HF_HUB_CACHE to a \
         directory of your own", path.display()
    )]
    Permission {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
    },
    /// Any other failure in the cache directory.
    #[error("{}: {action}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The operating system's answer.
        source: io::Error,
    },
}

impl HubError {
    /// Whether the hub gave no usable answer, or may not be asked. Trying again may help.
    pub fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::Offline { .. }
                | Self::NotBuiltIn { .. }
                | Self::Unreachable { .. }
                | Self::Status { .. }
                | Self::Overloaded { .. }
                | Self::Protocol { .. }
                | Self::Cut { .. }
                | Self::Corrupt { .. }
                | Self::Page { .. }
                | Self::Unverifiable { .. }
        )
    }

    /// Whether there is no such repository or revision, or cannot be.
    pub fn is_unknown_repository(&self) -> bool {
        matches!(
            self,
            Self::BadName { .. } | Self::RepositoryNotFound { .. } | Self::RevisionNotFound { .. }
        )
    }
}

fn note(message: &str) -> String {
    if message.is_empty() {
        String::new()
    } else {
        format!(" ({message})")
    }
}

/// A time for messages: tenths of a second where they matter.
pub(super) fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        whole => format!("{whole} s"),
    }
}

/// Names the file and the kind of trouble in a failure of the operating system.
pub(super) fn io_error(path: &Path, action: &'static str, source: io::Error) -> HubError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => HubError::DiskFull { path },
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            HubError::Permission { path, action }
        }
        _ => HubError::Io {
            path,
            action,
            source,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disk_and_permission_troubles_have_names() {
        let path = Path::new("/cache/x");
        let of = |kind| io_error(path, "writing", io::Error::from(kind)).to_string();
        assert!(of(io::ErrorKind::StorageFull).contains("no space left"));
        assert!(of(io::ErrorKind::PermissionDenied).contains("permission denied while writing"));
        assert!(of(io::ErrorKind::NotADirectory).contains("/cache/x: writing"));
    }
}
