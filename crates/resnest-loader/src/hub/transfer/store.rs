//! What a download writes into the cache.

use std::fs;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::hub::error::{HubError, io_error};
use crate::hub::layout::Layout;

/// First line fixed by the Cache Directory Tagging Standard; backup tools skip such a directory.
const CACHEDIR_TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # A cache of the Hugging Face Hub. See https://bford.info/cachedir/\n";

impl Layout<'_> {
    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        let repo = self.root.join(&self.folder);
        repo.join("blobs").join(etag)
    }

    pub(super) fn lock(&self, etag: &str) -> PathBuf {
        let dir = self.root.join(".locks").join(&self.folder);
        dir.join(format!("{etag}.lock"))
    }

    /// Makes the directories for a blob and tags the cache.
    pub(super) fn prepare(&self, etag: &str) -> Result<(), HubError> {
        create_parent(&self.blob(etag))?;
        create_parent(&self.lock(etag))?;
        let tag = self.root.join("CACHEDIR.TAG");
        if !tag.exists() {
            // Only a courtesy to backup tools: a cache works without.
            let _ = fs::write(tag, CACHEDIR_TAG);
        }
        Ok(())
    }

    /// Remembers that the file does not exist at `commit`. Best effort, as it only saves a request.
    pub(super) fn mark_missing(&self, commit: &str) {
        let path = self.no_exist(commit);
        let made = create_parent(&path).is_ok() && fs::File::create(&path).is_ok();
        if made {
            let _ = self.write_ref(commit);
        }
    }

    /// Points the revision to `commit`, atomically, unless it already does.
    pub(super) fn write_ref(&self, commit: &str) -> Result<(), HubError> {
        let path = self.ref_path();
        let known = fs::read_to_string(&path).is_ok_and(|text| text == commit);
        if self.file.revision() == commit || known {
            return Ok(());
        }
        create_parent(&path)?;
        let temporary = sibling(&path);
        let write = || -> io::Result<()> {
            let mut file = fs::File::create(&temporary)?;
            file.write_all(commit.as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, &path)
        };
        write().map_err(|source| {
            let _ = fs::remove_file(&temporary);
            io_error(&path, "writing the revision's commit", source)
        })
    }

    /// Gives the blob its name in the snapshot: a relative symlink, else a hard link, else a copy.
    ///
    /// Made beside and renamed, so a reader sees the old entry or the new one.
    pub(super) fn place(
        &self,
        etag: &str,
        commit: &str,
        symlinks: bool,
    ) -> Result<PathBuf, HubError> {
        let blob = self.blob(etag);
        let pointer = self.pointer(commit);
        create_parent(&pointer)?;
        let temporary = sibling(&pointer);
        let linked = symlinks && symlink(&self.relative_blob(etag), &temporary).is_ok();
        let made = if linked {
            Ok(())
        } else {
            let _ = fs::remove_file(&temporary);
            fs::hard_link(&blob, &temporary).or_else(|_| fs::copy(&blob, &temporary).map(drop))
        };
        made.and_then(|()| fs::rename(&temporary, &pointer))
            .map_err(|source| {
                let _ = fs::remove_file(&temporary);
                io_error(&pointer, "placing the file in the snapshot", source)
            })?;
        Ok(pointer)
    }

    /// `../../blobs/<etag>`, with one more `..` for each folder of the file's name.
    fn relative_blob(&self, etag: &str) -> PathBuf {
        let mut path = PathBuf::new();
        for _ in 0..self.file.filename().split('/').count() + 1 {
            path.push(Component::ParentDir);
        }
        path.join("blobs").join(etag)
    }
}

fn create_parent(path: &Path) -> Result<(), HubError> {
    let parent = path.parent().unwrap_or(path);
    fs::create_dir_all(parent).map_err(|source| io_error(parent, "creating the directory", source))
}

/// A name beside `path` that no other process or thread uses.
fn sibling(path: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.{number}.tmp", std::process::id()));
    path.with_file_name(name)
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, link)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_target: &Path, _link: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Makes a rename survive a power cut. Best effort: some file systems cannot sync a directory.
pub(super) fn sync_directory_of(path: &Path) {
    if cfg!(unix)
        && let Some(parent) = path.parent()
        && let Ok(directory) = fs::File::open(parent)
    {
        let _ = directory.sync_all();
    }
}
