//! What a file on the hub is called, checked before any of it becomes a path or a URL.

use std::fmt;

use super::error::HubError;

/// The branch asked for when no revision is given.
pub const DEFAULT_REVISION: &str = "main";

/// One file of one repository at one revision, every part of it checked.
///
/// The rules are those of Python's huggingface_hub (`validate_repo_id`,
/// `_validate_relative_filename`) and of git for reference names, so that nothing that passes
/// can leave the cache's folder or change the meaning of a URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FileRef {
    repo: String,
    revision: String,
    filename: String,
}

impl FileRef {
    /// Checks and keeps the three names; `revision` defaults to `main`.
    ///
    /// # Errors
    /// [`HubError::BadName`] saying which of the three is wrong and why.
    pub fn new(repo: &str, revision: Option<&str>, filename: &str) -> Result<Self, HubError> {
        let revision = revision.unwrap_or(DEFAULT_REVISION);
        let bad = |what, name: &str, reason| HubError::BadName {
            what,
            name: name.to_owned(),
            reason,
        };
        check_repo(repo).map_err(|reason| bad("repository", repo, reason))?;
        check_revision(revision).map_err(|reason| bad("revision", revision, reason))?;
        check_filename(filename).map_err(|reason| bad("file name", filename, reason))?;
        Ok(Self {
            repo: repo.to_owned(),
            revision: revision.to_owned(),
            filename: filename.to_owned(),
        })
    }

    /// `user/repo` or `repo`.
    pub fn repo(&self) -> &str {
        &self.repo
    }

    /// Branch, tag, `refs/pr/N` or commit hash.
    pub fn revision(&self) -> &str {
        &self.revision
    }

    /// Path inside the repository, `/`-separated.
    pub fn filename(&self) -> &str {
        &self.filename
    }

    /// The commit, when the revision is a full commit hash: such a file never changes.
    pub fn pinned_commit(&self) -> Option<&str> {
        is_commit_hash(&self.revision).then_some(self.revision.as_str())
    }
}

impl fmt::Display for FileRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}:{}", self.repo, self.revision, self.filename)
    }
}

/// Whether `revision` is a full git commit hash (40 lower-case hex digits).
pub fn is_commit_hash(revision: &str) -> bool {
    revision.len() == 40 && is_lower_hex(revision)
}

pub(super) fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether `text` (a commit or an ETag from the server) is safe as one component of a path.
pub(super) fn is_path_token(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && !text.starts_with('.')
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn check_repo(repo: &str) -> Result<(), &'static str> {
    if repo.split('/').count() > 2 {
        return Err("expected `user/repo` or `repo`");
    }
    if repo.contains("--") || repo.contains("..") || repo.ends_with(".git") {
        return Err("`--`, `..` and a trailing `.git` are not allowed");
    }
    for part in repo.split('/') {
        let inner = part
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
        let ends = part.starts_with(['-', '.']) || part.ends_with(['-', '.']);
        if !inner || ends || !(1..=96).contains(&part.len()) {
            return Err(
                "each part is 1 to 96 of A-Z a-z 0-9 _ - . and neither starts nor ends with - or .",
            );
        }
    }
    Ok(())
}

fn check_revision(revision: &str) -> Result<(), &'static str> {
    if revision.is_empty() || revision.len() > 255 {
        return Err("expected a branch, a tag, refs/pr/N or a commit hash");
    }
    if revision.contains("..") || revision.contains("@{") {
        return Err("`..` and `@{` are not allowed");
    }
    if revision
        .chars()
        .any(|c| c.is_control() || " ~^:?*[\\".contains(c))
    {
        return Err("git allows no blank and none of ~ ^ : ? * [ \\ in it");
    }
    if revision
        .split('/')
        .any(|part| part.is_empty() || part.starts_with('.'))
    {
        return Err("it has an empty part or one that starts with a dot");
    }
    Ok(())
}

fn check_filename(filename: &str) -> Result<(), &'static str> {
    if filename.is_empty() || filename.len() > 1024 {
        return Err("expected a path of 1 to 1024 bytes inside the repository");
    }
    if filename.contains('\\') || filename.chars().any(char::is_control) {
        return Err("backslashes and control characters are not allowed");
    }
    for part in filename.split('/') {
        if part.is_empty() || part == "." || part == ".." || part.len() > 255 {
            return Err("it must be relative, without `.`, `..` or empty parts");
        }
        // On Windows `C:x` would name another drive.
        if part.as_bytes().get(1) == Some(&b':') {
            return Err("drive letters are not allowed");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ok(repo: &str, revision: &str, filename: &str) -> bool {
        FileRef::new(repo, Some(revision), filename).is_ok()
    }

    #[test]
    fn names_that_leave_the_cache_are_refused() {
        for repo in [
            "",
            "/",
            "a/",
            "/a",
            "../a",
            "a/..",
            "a/b/c",
            "a--b",
            "a..b",
            ".a",
            "a/-b",
            "x.git",
            "a b",
            "caf\u{e9}",
        ] {
            assert!(!ok(repo, "main", "f"), "repo {repo:?}");
        }
        for revision in [
            "", "..", "a/../b", "/main", "main/", "a//b", "a b", "a:b", "a\\b", "a?b", ".x", "a\n",
        ] {
            assert!(!ok("a/b", revision, "f"), "revision {revision:?}");
        }
        for filename in [
            "",
            "/etc/passwd",
            "..",
            "a/../b",
            "a//b",
            "a/",
            "./a",
            "a\\b",
            "C:x",
            "d/C:x",
            "a\0",
        ] {
            assert!(!ok("a/b", "main", filename), "file {filename:?}");
        }
    }

    #[test]
    fn only_a_full_hash_pins() {
        let hash = "0123456789abcdef0123456789abcdef01234567";
        assert!(is_commit_hash(hash));
        assert!(!is_commit_hash(&hash.to_uppercase()));
        assert!(!is_commit_hash(&hash[1..]));
    }
}
