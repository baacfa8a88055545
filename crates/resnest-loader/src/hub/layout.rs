//! The cache on disk, as Python's huggingface_hub and hf-hub lay it out.
//!
//! ```text
//! models--user--repo/blobs/<etag>                        the bytes, named by their hash
//!                    blobs/<etag>.incomplete             what came so far
//!                    snapshots/<commit>/<file>           -> ../../blobs/<etag>
//!                    refs/<revision>                     the commit of a branch or tag
//!                    .no_exist/<commit>/<file>           known not to be there
//! .locks/models--user--repo/<etag>.lock                  held while a blob is made
//! ```

use std::fs;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use hf_hub::{Cache, CacheRepo, Repo, RepoType};

use super::error::{HubError, io_error};
use super::names::{FileRef, is_path_token};

/// First line fixed by the Cache Directory Tagging Standard; backup tools skip such a directory.
const CACHEDIR_TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
    # A cache of the Hugging Face Hub. See https://bford.info/cachedir/\n";

/// The files of one [`FileRef`]'s repository in a cache directory.
pub(super) struct Layout<'a> {
    root: &'a Path,
    file: &'a FileRef,
    repo: CacheRepo,
    folder: String,
    symlinks: bool,
}

impl<'a> Layout<'a> {
    pub(super) fn new(root: &'a Path, file: &'a FileRef, symlinks: bool) -> Self {
        let repo = Repo::with_revision(
            file.repo().to_owned(),
            RepoType::Model,
            file.revision().to_owned(),
        );
        Self {
            root,
            file,
            folder: repo.folder_name(),
            repo: Cache::new(root.to_owned()).repo(repo),
            symlinks,
        }
    }

    /// The commit that the revision stands for as far as the cache knows.
    pub(super) fn known_commit(&self) -> Option<String> {
        if let Some(commit) = self.file.pinned_commit() {
            return Some(commit.to_owned());
        }
        let text = fs::read_to_string(self.ref_path()).ok()?;
        let commit = text.trim();
        is_path_token(commit).then(|| commit.to_owned())
    }

    /// The file at the revision's known commit, when it is there.
    pub(super) fn lookup(&self) -> Option<(PathBuf, String)> {
        let commit = self.known_commit()?;
        let path = self.pointer(&commit);
        path.is_file().then_some((path, commit))
    }

    /// Whether the file is known not to exist at the revision's known commit.
    pub(super) fn known_missing(&self) -> bool {
        self.known_commit()
            .is_some_and(|commit| self.no_exist(&commit).is_file())
    }

    pub(super) fn pointer(&self, commit: &str) -> PathBuf {
        join_name(self.repo.pointer_path(commit), self.file.filename())
    }

    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.repo.blob_path(etag)
    }

    pub(super) fn lock(&self, etag: &str) -> PathBuf {
        let dir = self.root.join(".locks").join(&self.folder);
        dir.join(format!("{etag}.lock"))
    }

    fn ref_path(&self) -> PathBuf {
        join_name(
            self.root.join(&self.folder).join("refs"),
            self.file.revision(),
        )
    }

    fn no_exist(&self, commit: &str) -> PathBuf {
        let dir = self.root.join(&self.folder).join(".no_exist").join(commit);
        join_name(dir, self.file.filename())
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
    pub(super) fn place(&self, etag: &str, commit: &str) -> Result<PathBuf, HubError> {
        let blob = self.blob(etag);
        let pointer = self.pointer(commit);
        create_parent(&pointer)?;
        let temporary = sibling(&pointer);
        let linked = self.symlinks && symlink(&self.relative_blob(etag), &temporary).is_ok();
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

/// Appends a `/`-separated name in the platform's own way.
fn join_name(base: PathBuf, name: &str) -> PathBuf {
    name.split('/').fold(base, |path, part| path.join(part))
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
