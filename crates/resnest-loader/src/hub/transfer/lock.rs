//! One download of a blob at a time, among threads, processes and Python.
//!
//! Python's `filelock` takes `flock` on `.locks/<repo>/<etag>.lock` and leaves the file in place;
//! so does [`std::fs::File::try_lock`] on Unix (on Windows both lock the file's bytes).

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::hub::error::{HubError, io_error};

const POLL: Duration = Duration::from_millis(50);

/// What holding a blob's lock means here.
pub(super) enum BlobLock {
    /// Ours until dropped.
    Locked(#[allow(dead_code, reason = "dropping the file releases the lock")] File),
    /// The file system has no locks: work in a file of this process's own.
    Unsupported,
}

/// Waits for the lock at `path`, for as long as its holder makes progress with `blob`.
///
/// `waiting` is called once when another process is found to hold it. Progress is what the
/// holder's `<etag>*.incomplete` files grow by (Python's names hold a random part).
///
/// # Errors
/// [`HubError::Locked`] when nothing moved for `timeout`; otherwise failures of the file system.
pub(super) fn acquire(
    path: &Path,
    blob: &Path,
    timeout: Duration,
    waiting: impl FnOnce(),
) -> Result<BlobLock, HubError> {
    let mut waiting = Some(waiting);
    let mut seen = None;
    let mut since = Instant::now();
    loop {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) if is_still_named(&file, path) => return Ok(BlobLock::Locked(file)),
            Ok(()) => continue,
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) if is_unsupported(&error) => {
                return Ok(BlobLock::Unsupported);
            }
            Err(TryLockError::Error(error)) => {
                return Err(io_error(path, "locking", error));
            }
        }
        if let Some(waiting) = waiting.take() {
            waiting();
        }
        let now = progress_of(blob);
        if seen != Some(now) {
            seen = Some(now);
            since = Instant::now();
        } else if since.elapsed() >= timeout {
            return Err(HubError::Locked {
                lock: path.to_owned(),
                waited: since.elapsed(),
            });
        }
        thread::sleep(POLL);
    }
}

fn open(path: &Path) -> Result<File, HubError> {
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // As Python: users who share a cache through a group may lock too.
        options.mode(0o664);
    }
    options
        .open(path)
        .map_err(|error| io_error(path, "opening the lock file", error))
}

/// A lock on a file that was removed meanwhile excludes nobody.
#[cfg(unix)]
fn is_still_named(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(named)) => (ours.dev(), ours.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_still_named(_file: &File, _path: &Path) -> bool {
    true
}

fn is_unsupported(error: &io::Error) -> bool {
    // ENOSYS and EOPNOTSUPP both map to this kind; ENOLCK (NFS without lockd) is 37 on Linux.
    error.kind() == io::ErrorKind::Unsupported || error.raw_os_error() == Some(37)
}

/// Something that changes while a holder writes: total length of the partial files.
fn progress_of(blob: &Path) -> (bool, u64) {
    let mut total = 0;
    let etag = blob.file_name().unwrap_or_default().to_string_lossy();
    let entries = blob.parent().and_then(|dir| fs::read_dir(dir).ok());
    for entry in entries.into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(etag.as_ref()) && name.ends_with(".incomplete") {
            total += entry.metadata().map_or(0, |meta| meta.len());
        }
    }
    (blob.exists(), total)
}
