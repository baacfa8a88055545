//! `classify --cam`: for each image an overlay of its best class.

use std::path::{Path, PathBuf};

use anyhow::{Error, Result};
use resnest::explain::{Mapped, OverlayStyle, overlay};
use resnest::{Answered, Classifier, Image};

use super::cam_files::{Folder, beside, in_file_name, write_png};
use super::inputs::Input;
use super::words::full_message;
use super::{Failure, contained};

/// The folder of overlays.
#[derive(Debug)]
pub struct Overlays {
    folder: Folder,
}

impl Overlays {
    /// Makes the folder, unless the classifier has no maps to show.
    pub fn new(classifier: &Classifier, folder: &Path) -> Result<Self, Failure> {
        let can = classifier.check_maps();
        can.map_err(|error| Failure::Usage(error.into()))?;
        Ok(Self {
            folder: Folder::create(folder).map_err(Failure::Other)?,
        })
    }

    /// Writes the overlays of a batch on the classifier's threads: for each image where it is or why there is none, and
    /// nothing for an image that failed.
    pub fn write(
        &mut self,
        classifier: &Classifier,
        batch: &[Answered<&Input, Mapped, Error>],
    ) -> Vec<Option<Result<PathBuf, String>>> {
        // Named in input order, so that the same call gives the same names.
        let named = batch
            .iter()
            .map(|image| match (&image.answer, &image.photo) {
                (Ok(mapped), Some(photo)) => Some((self.folder.stem(image.input), mapped, photo)),
                _ => None,
            });
        let named: Vec<_> = named.collect();
        classifier.pipeline().map(&named, |image| {
            let (stem, mapped, photo) = image.as_ref()?;
            let written = contained(|| write_one(classifier, stem, mapped, photo));
            Some(written.map_err(|e| full_message(&e)))
        })
    }
}

fn write_one(
    classifier: &Classifier,
    stem: &Path,
    mapped: &Mapped,
    photo: &Image,
) -> Result<PathBuf> {
    let map = mapped.maps.first();
    let map = map.ok_or_else(|| anyhow::anyhow!("the model has no class to map"))?;
    let window = classifier.transform().window(photo.width, photo.height)?;
    let class = in_file_name(&map.prediction.label);
    let path = beside(stem, &format!("cam-{class}.png"));
    let style = OverlayStyle::default();
    write_png(&path, &overlay(photo, &window, map, &style)?)?;
    Ok(path)
}
