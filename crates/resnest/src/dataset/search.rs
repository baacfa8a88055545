//! Looking for images: below a folder, and by a pattern. One set of rules for every command.
//!
//! Folders are searched at all depths and links followed, as timm's readers do (`os.walk` with `followlinks`). A link back
//! to a folder that it lies in is not followed again: what it leads to is there already. A link that leads nowhere counts
//! as an image that cannot be read if it has an image's name, as in timm, and is nothing otherwise. `._NAME` is nobody's
//! image (see [`is_image_name`]). A folder that cannot be read is reported.

use std::ffi::{OsStr, OsString};
use std::io::{Error, ErrorKind};
use std::path::{Component, Path, PathBuf};

use glob::{MatchOptions, Pattern};
use walkdir::{DirEntry, WalkDir};

use super::files::{is_image_name, path_text};

/// What was found in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A file.
    File(PathBuf),
    /// An image that cannot be read.
    Broken {
        /// Where it should be.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A folder that cannot be read, nor the images in it.
    Unreadable {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
}

impl Found {
    /// Where it is.
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Broken { path, .. } | Self::Unreadable { path, .. } => path,
        }
    }
}

/// Every image below `folder`, in no order.
pub fn images_below(folder: &Path) -> Vec<Found> {
    let walk = WalkDir::new(folder).follow_links(true).into_iter();
    walk.filter_map(|entry| match entry {
        Ok(entry) if entry.file_type().is_file() => {
            let image = is_image_name(&path_text(entry.file_name()));
            image.then(|| Found::File(entry.into_path()))
        }
        Ok(_) => None,
        Err(error) => problem(folder, &error),
    })
    .collect()
}

/// What a walk could not go into.
fn problem(root: &Path, error: &walkdir::Error) -> Option<Found> {
    if error.loop_ancestor().is_some() {
        return None;
    }
    let path = error.path().unwrap_or(root).to_owned();
    let reason = match error.io_error() {
        Some(error) => error.to_string(),
        None => error.to_string(),
    };
    if is_link(&path) {
        return broken_link(path, &reason);
    }
    Some(Found::Unreadable { path, reason })
}

fn is_link(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|data| data.is_symlink())
}

fn broken_link(path: PathBuf, reason: &str) -> Option<Found> {
    let image = is_image_name(&path_text(path.file_name().unwrap_or_default()));
    let reason = format!("a link that leads nowhere: {reason}");
    image.then_some(Found::Broken { path, reason })
}

/// Whether a name is a pattern: it has `*`, `?` or `[`.
pub fn is_pattern(name: &OsStr) -> bool {
    let special = |byte: &u8| matches!(byte, b'*' | b'?' | b'[');
    name.as_encoded_bytes().iter().any(special)
}

/// The files that a pattern stands for, in no order: `*`, `?` and `[...]` in names, `**` for folders at any depth. Bytes
/// that are not UTF-8 are characters that only `*`, `?` and a class of what is excluded match.
///
/// # Errors
/// What is wrong with the pattern, in words.
pub fn matching(pattern: &OsStr) -> Result<Vec<Found>, String> {
    let mut parts = Vec::new();
    for component in Path::new(pattern).components() {
        let part = Part::new(component)?;
        // Several in a row are as good as one.
        if !(matches!(part, Part::AnyDepth) && matches!(parts.last(), Some(Part::AnyDepth))) {
            parts.push(part);
        }
    }
    if matches!(parts.last(), Some(Part::AnyDepth)) {
        parts.push(Part::Like(Pattern::default(), true));
    }
    let mut found = Vec::new();
    descend(PathBuf::new(), &parts, &mut found);
    found.sort_by(|a, b| a.path().cmp(b.path()));
    found.dedup();
    Ok(found)
}

/// One component of a pattern.
enum Part {
    /// A name, or the root.
    Is(OsString),
    /// A pattern of names; whether it takes all of them.
    Like(Pattern, bool),
    /// `**`.
    AnyDepth,
}

impl Part {
    fn new(component: Component) -> Result<Self, String> {
        let name = component.as_os_str();
        let text = name.to_string_lossy();
        Ok(match component {
            Component::Normal(_) if text == "**" => Self::AnyDepth,
            Component::Normal(_) if is_pattern(name) => {
                let pattern = Pattern::new(&text).map_err(|e| e.to_string())?;
                Self::Like(pattern, false)
            }
            _ => Self::Is(name.to_owned()),
        })
    }

    fn takes(&self, name: &OsStr) -> bool {
        let text = name.to_string_lossy();
        match self {
            Self::Is(own) => own == name,
            Self::AnyDepth => true,
            // What macOS keeps beside a file is taken only where it is asked for.
            Self::Like(pattern, _)
                if text.starts_with("._") && !pattern.as_str().starts_with('.') =>
            {
                false
            }
            Self::Like(pattern, all) => *all || pattern.matches_with(&text, MatchOptions::new()),
        }
    }
}

/// Adds what `parts` stand for below `base`.
fn descend(base: PathBuf, parts: &[Part], found: &mut Vec<Found>) {
    let Some((part, rest)) = parts.split_first() else {
        return found.extend(matched(base));
    };
    match part {
        Part::Is(name) => descend(base.join(name), rest, found),
        Part::AnyDepth => {
            descend(base.clone(), rest, found);
            let folders = WalkDir::new(here(&base)).min_depth(1).follow_links(true);
            for entry in folders {
                match entry {
                    Ok(entry) if entry.file_type().is_dir() => {
                        descend(below(&base, &entry), rest, found);
                    }
                    Ok(_) => {}
                    Err(error) => found.extend(
                        problem(&base, &error).filter(|p| matches!(p, Found::Unreadable { .. })),
                    ),
                }
            }
        }
        Part::Like(..) => match names(&base) {
            Ok(names) => {
                for name in names.into_iter().filter(|name| part.takes(name)) {
                    descend(base.join(name), rest, found);
                }
            }
            Err(error) if is_absent(&error) => {}
            Err(error) => found.push(Found::Unreadable {
                reason: error.to_string(),
                path: here(&base).to_owned(),
            }),
        },
    }
}

/// What a walk that began at `here` has found, as a path below `base`.
fn below(base: &Path, entry: &DirEntry) -> PathBuf {
    let inside = entry.path().strip_prefix(here(base));
    base.join(inside.unwrap_or(entry.path()))
}

fn here(base: &Path) -> &Path {
    match base.as_os_str().is_empty() {
        true => Path::new("."),
        false => base,
    }
}

fn names(folder: &Path) -> Result<Vec<OsString>, Error> {
    let entries = std::fs::read_dir(here(folder))?;
    entries.map(|entry| Ok(entry?.file_name())).collect()
}

/// No folder there: then there is nothing in it.
fn is_absent(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// A path that a whole pattern has led to, if it is a file.
fn matched(path: PathBuf) -> Option<Found> {
    match path.metadata() {
        Ok(data) if data.is_file() => Some(Found::File(path)),
        Ok(_) => None,
        Err(error) if is_link(&path) => broken_link(path, &error.to_string()),
        Err(error) if is_absent(&error) => None,
        Err(error) => Some(Found::Broken {
            path,
            reason: error.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        folder
    }

    /// What the crate `glob` finds, as far as it finds anything.
    fn by_glob(pattern: &str) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> = glob::glob(pattern)
            .unwrap()
            .map(Result::unwrap)
            .filter(|path| path.is_file())
            .collect();
        all.sort();
        all
    }

    #[test]
    fn patterns_stand_for_what_they_do_in_the_crate_glob() {
        let folder = made(&[
            "a.jpg",
            "b.JPG",
            ".c.jpg",
            "d/e.jpg",
            "d/f/g.jpg",
            "d/f/h[1].jpg",
            "i/e.jpg",
            "ü.jpg",
        ]);
        let root = folder.path().display();
        for inside in [
            "*",
            "*.jpg",
            "?.jpg",
            "[ab].*",
            "[!a]*",
            "d/*",
            "*/e.jpg",
            "**/*.jpg",
            "**/e.jpg",
            "d/**/*.jpg",
            "d/**/g.jpg",
            "*/../a.jpg",
            "nowhere/*",
            "a.jpg/*",
            "d/f/h[[]1].jpg",
            "**/**/g.jpg",
        ] {
            let pattern = format!("{root}/{inside}");
            let found = matching(OsStr::new(&pattern)).unwrap();
            let files: Vec<PathBuf> = found.iter().map(|f| f.path().to_owned()).collect();
            assert!(found.iter().all(|f| matches!(f, Found::File(_))));
            assert_eq!(files, by_glob(&pattern), "{pattern}");
        }
        for wrong in ["[", "a**", "x/***/y"] {
            assert!(matching(OsStr::new(wrong)).is_err(), "{wrong}");
        }
        let everything = format!("{root}/**");
        assert_eq!(matching(OsStr::new(&everything)).unwrap().len(), 8);
    }

    #[test]
    fn what_macos_keeps_beside_a_file_is_no_image() {
        let folder = made(&["a/x.jpg", "a/._x.jpg", "._y.jpg"]);
        let found = images_below(folder.path());
        assert_eq!(found, [Found::File(folder.path().join("a/x.jpg"))]);
        let count = |inside: &str| {
            let pattern = folder.path().join(inside);
            matching(pattern.as_os_str()).unwrap().len()
        };
        assert_eq!(count("a/*.jpg"), 1);
        assert_eq!(count("**/*"), 1);
        assert_eq!(count("a/._*"), 1);
        assert_eq!(count("a/._x.jp[g]"), 1);
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_not_utf8_are_found_and_links_follow_one_rule() {
        use std::os::unix::ffi::OsStrExt;
        use std::os::unix::fs::symlink;
        let folder = made(&["d/x.jpg"]);
        let at = |name: &[u8]| folder.path().join("d").join(OsStr::from_bytes(name));
        std::fs::write(at(b"caf\xe9.jpg"), "").unwrap();
        symlink(folder.path(), at(b"round")).unwrap();
        symlink("/nonexistent", at(b"lost.jpg")).unwrap();
        symlink("/nonexistent", at(b"lost.txt")).unwrap();
        symlink(at(b"self.jpg"), at(b"self.jpg")).unwrap();
        let mut below = images_below(folder.path());
        below.sort_by(|a, b| a.path().cmp(b.path()));
        let every = folder.path().join("**/*.jpg");
        for found in [below, matching(every.as_os_str()).unwrap()] {
            let (files, broken): (Vec<_>, Vec<_>) =
                found.iter().partition(|f| matches!(f, Found::File(_)));
            let paths = |some: Vec<&Found>| -> Vec<PathBuf> {
                some.iter().map(|f| f.path().to_owned()).collect()
            };
            assert_eq!(paths(files), [at(b"caf\xe9.jpg"), at(b"x.jpg")]);
            assert_eq!(paths(broken), [at(b"lost.jpg"), at(b"self.jpg")]);
        }
        let one = folder.path().join(OsStr::from_bytes(b"d/caf?.jpg"));
        assert_eq!(matching(one.as_os_str()).unwrap().len(), 1);
    }
}
