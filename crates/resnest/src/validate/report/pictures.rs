//! Thumbnails of mistakes, with the class activation maps of what was said and of what is right laid over them.

use ::image::ExtendedColorType;
use ::image::codecs::jpeg::JpegEncoder;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use resnest_image::{CropMode, Image, Transform, Window, contain};

use crate::Classifier;
use crate::dataset::Dataset;
use crate::explain::{Classes, OverlayStyle, overlay};
use crate::validate::{Mistake, Validation};

/// Pixels of a thumbnail's longer side.
const SIDE: u32 = 192;
const QUALITY: u8 = 80;

/// The pictures of one mistake, as `data:` addresses; what could not be made is absent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pictures {
    /// The photo.
    pub photo: Option<String>,
    /// Where the class that was said was seen.
    pub predicted: Option<String>,
    /// Where the right class was seen.
    pub target: Option<String>,
}

/// The pictures of each of the result's mistakes; images are read again for it.
pub fn pictures(
    classifier: &Classifier,
    dataset: &Dataset,
    validation: &Validation,
) -> Vec<Pictures> {
    classifier.pipeline().map(&validation.mistakes, |mistake| {
        let pictures = contain(|| of(classifier, dataset, mistake));
        pictures.ok().flatten().unwrap_or_default()
    })
}

fn of(classifier: &Classifier, dataset: &Dataset, mistake: &Mistake) -> Option<Pictures> {
    let limits = classifier.limits();
    let bytes = dataset
        .read(dataset.samples().get(mistake.sample)?, limits.max_bytes)
        .ok()?;
    let (image, pixels) = classifier.preprocess_photo(&bytes).ok()?;
    let (small, window) = thumbnail(classifier, &image)?;
    let (predicted, _) = mistake.scored.best()?;
    let classes = Classes::These(vec![predicted, mistake.scored.target]);
    // Heads without such maps (test-time pooling, other pools) leave the photo alone.
    let maps = classifier
        .cam_photo(image, &pixels, &classes)
        .map(|seen| seen.maps);
    let maps = maps.unwrap_or_default();
    let style = OverlayStyle::default();
    let laid_over = |at: usize| jpeg(&overlay(&small, &window, maps.get(at)?, &style).ok()?);
    Some(Pictures {
        photo: jpeg(&small),
        predicted: laid_over(0),
        target: laid_over(1),
    })
}

/// The whole image, smaller or larger, and the part of it that the model was shown.
fn thumbnail(classifier: &Classifier, image: &Image) -> Option<(Image, Window)> {
    let scale = f64::from(SIDE) / f64::from(image.width.max(image.height));
    let side = |pixels: u32| ((f64::from(pixels) * scale).round() as u32).max(1);
    let size = (side(image.height), side(image.width));
    let whole = Transform {
        size,
        crop_pct: 1.0,
        crop_mode: CropMode::Squash,
        ..classifier.transform().clone()
    };
    let window = classifier.transform().window(image.width, image.height);
    let across = f64::from(size.1) / f64::from(image.width);
    let down = f64::from(size.0) / f64::from(image.height);
    Some((whole.crop(image).ok()?, window.ok()?.scaled(across, down)))
}

fn jpeg(image: &Image) -> Option<String> {
    let color = match image.channels {
        1 => ExtendedColorType::L8,
        _ => ExtendedColorType::Rgb8,
    };
    // The encoder asserts that there are as many pixels as the size says.
    image.check().ok()?;
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, QUALITY)
        .encode(&image.data, image.width, image.height, color)
        .ok()?;
    Some(format!(
        "data:image/jpeg;base64,{}",
        BASE64_STANDARD.encode(bytes)
    ))
}
