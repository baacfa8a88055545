//! From what the user names to a list of images.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use resnest::dataset::search::{Found, images_below, is_pattern, matching};
use resnest::dataset::{IMAGE_ENDINGS, natural_order, path_text, read_at_most};

/// One image to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Standard input, called `-` in results.
    Stdin,
    /// A file.
    File(PathBuf),
    /// Something that was named but cannot be read: reported in its place, the others go on.
    Missing { name: String, reason: String },
}

impl Input {
    /// What results call it: a text that no other file has.
    pub fn name(&self) -> String {
        match self {
            Self::Stdin => "-".into(),
            Self::File(path) => path_text(path),
            Self::Missing { name, .. } => name.clone(),
        }
    }

    /// The encoded bytes, at most `max_bytes` of them.
    pub fn read(&self, max_bytes: u64) -> Result<Vec<u8>> {
        match self {
            Self::Stdin => Ok(read_at_most(std::io::stdin().lock(), max_bytes)?),
            Self::File(path) => Ok(read_at_most(std::fs::File::open(path)?, max_bytes)?),
            Self::Missing { reason, .. } => bail!("{reason}"),
        }
    }

    /// Why it cannot be read, as far as that shows without reading it.
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::Stdin => None,
            Self::File(path) => std::fs::metadata(path).err().map(|e| e.to_string()),
            Self::Missing { reason, .. } => Some(reason.clone()),
        }
    }

    fn missing(name: impl AsRef<OsStr>, reason: String) -> Self {
        let name = path_text(name);
        Self::Missing { name, reason }
    }
}

/// Expands files, folders, glob patterns and `-`, in the order given; the files of a folder or pattern come in natural
/// order without regard to case, as timm's reader sorts them. The rules of a search are those of `validate`
/// ([`resnest::dataset::search`]). What is wrong with one name is an input that fails, in its place.
///
/// # Errors
/// `-` named twice.
pub fn expand(names: &[OsString]) -> Result<Vec<Input>> {
    if names.iter().filter(|name| *name == "-").count() > 1 {
        bail!("standard input (-) can be read only once");
    }
    Ok(names.iter().flat_map(|name| expand_one(name)).collect())
}

/// Why there is nothing to do, where not one of the inputs can be read: found before a model is fetched for them.
pub fn nothing_to_read(inputs: &[Input]) -> Option<Vec<String>> {
    inputs.iter().map(Input::problem).collect()
}

fn expand_one(name: &OsStr) -> Vec<Input> {
    let path = Path::new(name);
    if name == "-" {
        return vec![Input::Stdin];
    }
    let nothing = if path.is_dir() {
        let found = images_below(path);
        if !found.is_empty() {
            return sorted(found);
        }
        format!(
            "no images in this folder (looked for .{})",
            IMAGE_ENDINGS.join(" .")
        )
    } else if path.exists() || !is_pattern(name) {
        // A file that is not there is reported when it is read, with the system's reason.
        return vec![Input::File(path.to_owned())];
    } else {
        match matching(name) {
            Ok(found) if found.is_empty() => "no file matches this pattern".into(),
            Ok(found) => return sorted(found),
            Err(reason) => format!("not a valid glob pattern: {reason}"),
        }
    };
    vec![Input::missing(name, nothing)]
}

fn sorted(found: Vec<Found>) -> Vec<Input> {
    let mut inputs: Vec<Input> = found
        .into_iter()
        .map(|found| match found {
            Found::File(path) => Input::File(path),
            Found::Broken { path, reason } => Input::missing(path, reason),
            Found::Unreadable { path, reason } => {
                Input::missing(path, format!("this folder cannot be read: {reason}"))
            }
        })
        .collect();
    inputs.sort_by(|a, b| natural_order(&a.name(), &b.name()));
    inputs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(inputs: &[Input], below: &Path) -> Vec<String> {
        inputs
            .iter()
            .map(|input| input.name().replace(&format!("{}/", below.display()), ""))
            .collect()
    }

    #[test]
    fn folders_patterns_and_files_expand_in_natural_order() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("b")).unwrap();
        for file in ["10.jpg", "9.JPG", "b/x.png", "notes.txt", "A.webp"] {
            std::fs::write(at(file), b"").unwrap();
        }
        let all = expand(&[folder.path().into()]).unwrap();
        assert_eq!(
            names(&all, folder.path()),
            ["9.JPG", "10.jpg", "A.webp", "b/x.png"]
        );
        let some = expand(&[at("*.jpg").into(), "-".into()]).unwrap();
        assert_eq!(names(&some, folder.path()), ["10.jpg", "-"]);
        let none = expand(&[at("*.bmp").into()]).unwrap();
        assert!(matches!(&none[..], [Input::Missing { .. }]));
    }

    #[test]
    fn a_bracket_in_a_real_file_name_is_no_pattern() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cat[1].jpg");
        std::fs::write(&path, b"").unwrap();
        assert_eq!(expand(&[path.clone().into()]).unwrap(), [Input::File(path)]);
    }

    #[test]
    fn a_pattern_that_is_none_fails_in_its_place() {
        let inputs = expand(&["a.jpg".into(), "x[".into(), "b.jpg".into()]).unwrap();
        let [
            Input::File(_),
            Input::Missing { name, reason },
            Input::File(_),
        ] = &inputs[..]
        else {
            panic!("{inputs:?}");
        };
        assert!(
            name == "x[" && reason.contains("not a valid glob pattern"),
            "{reason}"
        );
    }

    #[test]
    fn standard_input_twice_is_refused() {
        assert!(expand(&["-".into(), "-".into()]).is_err());
    }
}
