//! Why a photo got its class: class activation maps laid over it, and how each block weighed its splits.
//!
//! ```
//! use resnest::explain::{Classes, OverlayStyle, png};
//! use resnest::Classifier;
//!
//! # let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/resnest/demo/photos/chelsea.png");
//! let classifier = Classifier::builder("demo").load()?;
//! let seen = classifier.cam(&std::fs::read(photo)?, &Classes::Top(1))?;
//! let map = &seen.maps[0];
//! assert_eq!((map.prediction.label.as_str(), map.size()), ("cat", (2, 2)));
//! let overlay = seen.overlay(map, &OverlayStyle::default())?; // as large as the photo
//! let file: Vec<u8> = png(&overlay)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! `map.rs` is the map and its scales, `overlay.rs` lays it over a photo, `splits.rs` and `split_chart.rs` are the split
//! attention's weights and their picture, `files.rs` writes PNG and .npy.

mod files;
mod map;
mod overlay;
mod split_chart;
mod splits;

use candle_core::{IndexOp, Tensor};
use resnest_image::{Image, Window};

use crate::classifier::from_model;
use crate::{Classifier, Error, Picture, Pixels, Prediction, Task, top_k};

pub use files::{npy, png};
pub use map::ActivationMap;
pub use overlay::{ColorMap, OverlayStyle, overlay};
pub use split_chart::split_chart;
pub use splits::BlockSplits;

/// Which classes get a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Classes {
    /// So many of the best.
    Top(usize),
    /// These, by index; [`crate::Labels::find`] gives the index of a name.
    These(Vec<usize>),
}

/// One image, what was seen in it and where.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// The decoded image, of the channels the model takes.
    pub image: Image,
    /// The part of it that the model was shown.
    pub window: Window,
    /// A map for each class asked for, in that order; of the best classes, best first.
    pub maps: Vec<ActivationMap>,
}

impl Explanation {
    /// The image under a map, as large as the image: RGB.
    ///
    /// # Errors
    /// [`Error::Image`] if the image was changed to one whose pixels' count does not fit its size.
    pub fn overlay(&self, map: &ActivationMap, style: &OverlayStyle) -> Result<Image, Error> {
        overlay(&self.image, &self.window, map, style)
    }
}

/// The best classes of one image, and the maps asked for.
#[derive(Debug, Clone)]
pub struct Mapped {
    /// The best classes, best first.
    pub predictions: Vec<Prediction>,
    /// A map for each class asked for, in that order.
    pub maps: Vec<ActivationMap>,
}

/// The best classes of each image, and maps of `classes`: a [`Task`] of [`Classifier::pipeline`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maps {
    /// How many of the best classes.
    pub k: usize,
    /// Which classes get a map.
    pub classes: Classes,
}

impl Task for Maps {
    type Answer = Mapped;

    fn check(&self, classifier: &Classifier) -> Result<(), Error> {
        classifier.check_maps()
    }

    fn answers(
        &self,
        classifier: &Classifier,
        x: &Tensor,
    ) -> Result<Vec<Result<Mapped, Error>>, Error> {
        classifier.mapped(x, self.k, &self.classes)
    }
}

impl Classifier {
    /// Where the classes are seen in one encoded image: exact for a head of average pool and linear classifier, and
    /// without gradients. One forward, whatever the number of classes.
    ///
    /// # Errors
    /// [`Error::Image`] if the image is broken; [`Error::NoClasses`]; [`Error::Model`] naming `global_pool` for another
    /// head, test-time pooling included; [`Error::ClassIndex`].
    pub fn cam(&self, bytes: &[u8], classes: &Classes) -> Result<Explanation, Error> {
        self.check_maps()?;
        let (photo, pixels) = self.preprocess_photo(bytes)?;
        self.cam_photo(photo, &pixels, classes)
    }

    /// The same for a picture that is already decoded.
    ///
    /// # Errors
    /// As [`cam`](Self::cam).
    pub fn cam_image<P>(&self, picture: &P, classes: &Classes) -> Result<Explanation, Error>
    where
        P: Picture + ?Sized,
    {
        self.check_maps()?;
        let image = self.in_mode(picture)?;
        let pixels = self.preprocess_image(&*image)?;
        self.cam_photo(image.into_owned(), &pixels, classes)
    }

    /// The same for what [`Classifier::preprocess_photo`] gave.
    ///
    /// # Errors
    /// As [`cam`](Self::cam).
    pub fn cam_photo(
        &self,
        image: Image,
        pixels: &Pixels,
        classes: &Classes,
    ) -> Result<Explanation, Error> {
        let window = self.transform().window(image.width, image.height)?;
        let mut maps = Vec::new();
        for mapped in self.mapped(&self.to_tensor(&[pixels])?, 0, classes)? {
            maps.extend(mapped?.maps);
        }
        Ok(Explanation {
            image,
            window,
            maps,
        })
    }

    /// Whether there are maps to show: of a classifier, and of such a head as [`cam`](Self::cam) needs.
    ///
    /// # Errors
    /// [`Error::NoClasses`]; [`Error::Model`] naming `global_pool`.
    pub fn check_maps(&self) -> Result<(), Error> {
        self.check_classes()?;
        Ok(self.model().check_class_activation_maps()?)
    }

    /// How each block weighed its splits for one encoded image, in the network's order; empty for a network without
    /// split attention.
    ///
    /// # Errors
    /// [`Error::Image`] if the image is broken or over the limits.
    pub fn split_weights(&self, bytes: &[u8]) -> Result<Vec<BlockSplits>, Error> {
        self.split_weights_of(&self.preprocess(bytes)?)
    }

    /// The same for a picture that is already decoded.
    ///
    /// # Errors
    /// [`Error::Image`] if the pixels' count does not fit their size.
    pub fn split_weights_image<P>(&self, picture: &P) -> Result<Vec<BlockSplits>, Error>
    where
        P: Picture + ?Sized,
    {
        self.split_weights_of(&self.preprocess_image(picture)?)
    }

    /// The same for a prepared image.
    ///
    /// # Errors
    /// Anything the computation gives.
    pub fn split_weights_of(&self, pixels: &Pixels) -> Result<Vec<BlockSplits>, Error> {
        let x = self.to_tensor(&[pixels])?;
        let blocks = self.compute(|| Ok(self.model().split_weights(&self.to_model(&x)?)?))?;
        blocks.iter().map(BlockSplits::of_first).collect()
    }

    /// Each row of (N, C, H, W) with its best classes and maps.
    fn mapped(
        &self,
        x: &Tensor,
        k: usize,
        classes: &Classes,
    ) -> Result<Vec<Result<Mapped, Error>>, Error> {
        let (logits, maps) = self.logits_and_maps(x)?;
        let rows = logits.to_vec2::<f32>()?;
        let each = rows.iter().enumerate();
        Ok(each
            .map(|(n, row)| self.mapped_row(row, &maps.i(n)?, k, classes))
            .collect())
    }

    /// (N, classes) and (N, classes, H, W) as f32 on the CPU for a normalised (N, C, H, W).
    fn logits_and_maps(&self, x: &Tensor) -> Result<(Tensor, Tensor), Error> {
        self.check_maps()?;
        self.compute(|| {
            let model = self.model();
            let map = model.forward_features(&self.to_model(x)?)?;
            let logits = model.forward_head(&map, false)?;
            let maps = model.class_activation_maps(&map)?;
            Ok((from_model(&logits)?, from_model(&maps)?))
        })
    }

    /// One image's logits and maps (classes, H, W).
    fn mapped_row(
        &self,
        logits: &[f32],
        maps: &Tensor,
        k: usize,
        classes: &Classes,
    ) -> Result<Mapped, Error> {
        let ranked = top_k(logits, logits.len(), self.labels())?;
        let chosen: Vec<&Prediction> = match classes {
            Classes::Top(k) => ranked.iter().take(*k).collect(),
            Classes::These(indices) => {
                let find = |&index: &usize| {
                    let found = ranked.iter().find(|p| p.index == index);
                    let classes = logits.len();
                    found.ok_or(Error::ClassIndex { index, classes })
                };
                indices.iter().map(find).collect::<Result<_, _>>()?
            }
        };
        let (_, height, width) = maps.dims3()?;
        let map = |prediction: &Prediction| {
            let values = maps.i(prediction.index)?.flatten_all()?.to_vec1()?;
            ActivationMap::new(prediction.clone(), height, width, values)
        };
        Ok(Mapped {
            maps: chosen.into_iter().map(map).collect::<Result<_, _>>()?,
            predictions: ranked.into_iter().take(k).collect(),
        })
    }
}
