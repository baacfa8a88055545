//! Where overlays and maps are written, and what the files are called.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use resnest::explain::png;
use resnest::output::{Output, write_whole};
use resnest::{Image, Prediction};

use super::inputs::Input;

/// A folder for results, in which every image gets a name of its own.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    taken: HashSet<String>,
}

impl Folder {
    /// The folder, made if it is not there; one that nothing can be written to is refused now.
    pub fn create(path: &Path) -> Result<Self> {
        let made = fs::create_dir_all(path);
        made.with_context(|| format!("cannot make the folder {}", path.display()))?;
        Output::create(&path.join(".resnest-try"))
            .with_context(|| format!("cannot write to the folder {}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            taken: HashSet::new(),
        })
    }

    /// The beginning of the names of an image's files: the image's own name without its ending, and a number if an image
    /// before had the same (`a/1.jpg`, `b/1.jpg`: `1`, `1-2`).
    pub fn stem(&mut self, input: &Input) -> PathBuf {
        let own = match input {
            Input::File(path) => path.file_stem().unwrap_or_default().to_string_lossy(),
            Input::Stdin | Input::Missing { .. } => "stdin".into(),
        };
        let numbered = (2..).map(|number| format!("{own}-{number}"));
        let mut names = std::iter::once(own.to_string()).chain(numbered);
        // Without regard to case, as some file systems have it.
        let free = names.find(|name| self.taken.insert(name.to_lowercase()));
        self.path.join(free.unwrap_or_default())
    }
}

/// `stem` with an addition: `photo` and `cam-cat.png` give `photo.cam-cat.png`.
pub fn beside(stem: &Path, addition: &str) -> PathBuf {
    let mut name = stem.as_os_str().to_owned();
    name.push(".");
    name.push(addition);
    name.into()
}

/// A class in a file's name: letters, digits, `-` and `_` of its label, the first 60 of them.
pub fn in_file_name(label: &str) -> String {
    let kept = |c: char| match c.is_alphanumeric() || c == '-' {
        true => c,
        false => '_',
    };
    label.chars().take(60).map(kept).collect()
}

/// The classes of several maps in the names of their files: two that would be called the same have their index behind.
pub fn in_file_names(classes: &[&Prediction]) -> Vec<String> {
    let plain = |class: &Prediction| in_file_name(&class.label).to_lowercase();
    let name = |class: &&Prediction| {
        let name = in_file_name(&class.label);
        let alike =
            |other: &&Prediction| other.index != class.index && plain(other) == name.to_lowercase();
        match classes.iter().any(alike) {
            true => format!("{name}-{}", class.index),
            false => name,
        }
    };
    classes.iter().map(name).collect()
}

/// Writes a picture as PNG.
pub fn write_png(path: &Path, image: &Image) -> Result<()> {
    write(path, &png(image)?)
}

/// Writes a file whole or not at all, and names it if that fails.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_whole(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_the_same_name_get_files_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let mut out = Folder::create(&folder.path().join("new/deep")).unwrap();
        let names = ["a/1.jpg", "b/1.png", "c/1-2.jpg", "d/1.JPG", "A", "a"].map(|name| {
            let stem = out.stem(&Input::File(name.into()));
            stem.file_name().unwrap().to_str().unwrap().to_owned()
        });
        assert_eq!(names, ["1", "1-2", "1-2-2", "1-3", "A", "a-2"]);
    }

    #[test]
    fn classes_of_one_name_get_files_of_their_own() {
        let class = |index, label: &str| Prediction {
            index,
            label: label.into(),
            description: None,
            probability: 0.5,
            logit: 0.0,
        };
        let classes = [
            class(7, "a b"),
            class(8, "A/b"),
            class(9, "c"),
            class(9, "c"),
        ];
        let classes = classes.each_ref();
        assert_eq!(in_file_names(&classes), ["a_b-7", "A_b-8", "c", "c"]);
    }

    #[test]
    fn a_label_never_leaves_the_folder() {
        assert_eq!(in_file_name("../x y/ü"), "___x_y_ü");
        assert_eq!(in_file_name(&"n".repeat(999)).len(), 60);
    }
}
