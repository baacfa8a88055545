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
use std::path::{Path, PathBuf};

use hf_hub::Repo;

use super::error::HubError;
use super::names::{FileRef, is_path_token};

/// The files of one [`FileRef`]'s repository in a cache directory.
pub(super) struct Layout<'a> {
    pub(super) root: &'a Path,
    pub(super) file: &'a FileRef,
    /// `models--user--repo`, as hf-hub names it.
    pub(super) folder: String,
}

impl<'a> Layout<'a> {
    pub(super) fn new(root: &'a Path, file: &'a FileRef) -> Self {
        let folder = Repo::model(file.repo().to_owned()).folder_name();
        Self { root, file, folder }
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

    /// The file at the revision's known commit, when it is there, and that commit.
    pub(super) fn lookup(&self) -> Option<(PathBuf, String)> {
        let commit = self.known_commit()?;
        let path = self.pointer(&commit);
        path.is_file().then_some((path, commit))
    }

    /// The error about a file that the cache does not have: that the repository has none either where that
    /// is known, `otherwise` with file and cache where it is not.
    pub(super) fn absent(&self, otherwise: fn(Box<FileRef>, PathBuf) -> HubError) -> HubError {
        let file = Box::new(self.file.clone());
        let known = self
            .known_commit()
            .is_some_and(|commit| self.no_exist(&commit).is_file());
        if known {
            return HubError::EntryNotFound { file };
        }
        otherwise(file, self.root.to_owned())
    }

    /// Where a snapshot has the file.
    pub(super) fn pointer(&self, commit: &str) -> PathBuf {
        self.named("snapshots", commit, self.file.filename())
    }

    pub(super) fn ref_path(&self) -> PathBuf {
        self.named("refs", "", self.file.revision())
    }

    pub(super) fn no_exist(&self, commit: &str) -> PathBuf {
        self.named(".no_exist", commit, self.file.filename())
    }

    /// `<root>/<folder>/<kind>[/<commit>]/<name>`, with the platform's own separators in `name`.
    fn named(&self, kind: &str, commit: &str, name: &str) -> PathBuf {
        let parts = [self.folder.as_str(), kind, commit];
        let parts = parts.into_iter().filter(|part| !part.is_empty());
        parts
            .chain(name.split('/'))
            .fold(self.root.to_owned(), |path, part| path.join(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_pythons() {
        let root = Path::new("/c");
        let file = FileRef::new("user/a.b-c", Some("refs/pr/1"), "sub/x.bin").unwrap();
        let layout = Layout::new(root, &file);
        let folder = root.join("models--user--a.b-c");
        let pointer = folder.join("snapshots").join("1f").join("sub/x.bin");
        assert_eq!(layout.pointer("1f"), pointer);
        assert_eq!(layout.ref_path(), folder.join("refs/refs/pr/1"));
        let no_exist = folder.join(".no_exist").join("1f").join("sub/x.bin");
        assert_eq!(layout.no_exist("1f"), no_exist);
        let file = FileRef::new("gpt2", None, "config.json").unwrap();
        assert_eq!(Layout::new(root, &file).folder, "models--gpt2");
    }
}
