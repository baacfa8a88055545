//! ImageNet ReaL: for every validation image all the classes it shows (<https://arxiv.org/abs/2006.07159>).

use std::path::Path;

use super::Error;
use super::targets::read_text;

/// The labels of `ILSVRC2012_val_00000001.JPEG` and those that follow (`timm/data/real_labels.py`).
#[derive(Debug, Clone, PartialEq)]
pub struct RealLabels(Vec<Vec<usize>>);

impl RealLabels {
    /// Reads the published `real.json`: an array with an array of class indices for each image.
    ///
    /// # Errors
    /// A file that cannot be read or holds something else.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let lists = serde_json::from_str(&read_text(path)?);
        lists.map(Self).map_err(|e| Error::File {
            path: path.to_owned(),
            reason: format!("not an array of arrays of class indices: {e}"),
        })
    }

    /// The classes of a file, by its name without folders and ending; none where the annotators saw none of them.
    ///
    /// # Errors
    /// [`Error::NoRealLabels`] for a file of another name.
    pub fn of(&self, file: &str) -> Result<&[usize], Error> {
        let name = file.rsplit('/').next().unwrap_or(file);
        let stem = name.split('.').next().unwrap_or(name);
        let number = stem
            .strip_prefix("ILSVRC2012_val_")
            .and_then(|n| n.parse::<usize>().ok());
        let labels = number.and_then(|n| self.0.get(n.checked_sub(1)?));
        labels
            .map(Vec::as_slice)
            .ok_or_else(|| Error::NoRealLabels {
                file: file.to_owned(),
                last: self.0.len(),
            })
    }
}
