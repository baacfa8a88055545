//! From what the user names to a list of images.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use resnest::dataset::{IMAGE_ENDINGS, is_image_name, natural_order, read_at_most};

/// One image to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Standard input, called `-` in results.
    Stdin,
    /// A file.
    File(PathBuf),
    /// Something that was named but is not there: reported in its place, the others go on.
    Missing { name: String, reason: String },
}

impl Input {
    /// What results call it.
    pub fn name(&self) -> String {
        match self {
            Self::Stdin => "-".into(),
            Self::File(path) => path.display().to_string(),
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
}

/// Expands files, folders (all levels, links followed), glob patterns and `-`, in the order given; the files of a
/// folder or pattern come in natural order without regard to case, as timm's reader sorts them.
///
/// # Errors
/// `-` named twice, an invalid pattern.
pub fn expand(names: &[String]) -> Result<Vec<Input>> {
    if names.iter().filter(|name| *name == "-").count() > 1 {
        bail!("standard input (-) can be read only once");
    }
    let mut inputs = Vec::new();
    for name in names {
        expand_one(name, &mut inputs)?;
    }
    Ok(inputs)
}

fn expand_one(name: &str, inputs: &mut Vec<Input>) -> Result<()> {
    let path = Path::new(name);
    if name == "-" {
        inputs.push(Input::Stdin);
    } else if path.is_dir() {
        expand_folder(path, inputs);
    } else if path.exists() || !name.contains(['*', '?', '[']) {
        // A file that is not there is reported when it is read, with the system's reason.
        inputs.push(Input::File(path.to_owned()));
    } else {
        expand_pattern(name, inputs)?;
    }
    Ok(())
}

fn expand_folder(folder: &Path, inputs: &mut Vec<Input>) {
    let (mut files, mut problems) = (Vec::new(), Vec::new());
    for entry in walkdir::WalkDir::new(folder).follow_links(true) {
        match entry {
            Ok(entry)
                if entry.file_type().is_file()
                    && is_image_name(&entry.path().to_string_lossy()) =>
            {
                files.push(entry.into_path());
            }
            Ok(_) => {}
            Err(error) => problems.push(missing(
                error
                    .path()
                    .unwrap_or(folder)
                    .display()
                    .to_string()
                    .as_str(),
                &error.to_string(),
            )),
        }
    }
    if files.is_empty() && problems.is_empty() {
        let reason = format!(
            "no images in this folder (looked for .{})",
            IMAGE_ENDINGS.join(" .")
        );
        problems.push(missing(&folder.display().to_string(), &reason));
    }
    push_sorted(files, inputs);
    inputs.append(&mut problems);
}

fn expand_pattern(pattern: &str, inputs: &mut Vec<Input>) -> Result<()> {
    let matches =
        glob::glob(pattern).with_context(|| format!("{pattern:?} is not a valid glob pattern"))?;
    let files: Vec<PathBuf> = matches
        .filter_map(Result::ok)
        .filter(|path| path.is_file())
        .collect();
    if files.is_empty() {
        inputs.push(missing(pattern, "no file matches this pattern"));
    }
    push_sorted(files, inputs);
    Ok(())
}

fn missing(name: &str, reason: &str) -> Input {
    Input::Missing {
        name: name.into(),
        reason: reason.into(),
    }
}

fn push_sorted(mut files: Vec<PathBuf>, inputs: &mut Vec<Input>) {
    files.sort_by(|a, b| natural_order(&a.to_string_lossy(), &b.to_string_lossy()));
    inputs.extend(files.into_iter().map(Input::File));
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
        let all = expand(&[folder.path().display().to_string()]).unwrap();
        assert_eq!(
            names(&all, folder.path()),
            ["9.JPG", "10.jpg", "A.webp", "b/x.png"]
        );
        let some = expand(&[at("*.jpg").display().to_string(), "-".into()]).unwrap();
        assert_eq!(names(&some, folder.path()), ["10.jpg", "-"]);
        let none = expand(&[at("*.bmp").display().to_string()]).unwrap();
        assert!(matches!(&none[..], [Input::Missing { .. }]));
    }

    #[test]
    fn a_bracket_in_a_real_file_name_is_no_pattern() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cat[1].jpg");
        std::fs::write(&path, b"").unwrap();
        assert_eq!(
            expand(&[path.display().to_string()]).unwrap(),
            [Input::File(path)]
        );
    }

    #[test]
    fn standard_input_twice_is_refused() {
        assert!(expand(&["-".into(), "-".into()]).is_err());
    }
}
