//! Features of images: pooled embeddings, or a stage's map, and files of many of them.
//!
//! ```
//! use resnest::features::Layer;
//! use resnest::Classifier;
//!
//! # let photo = concat!(env!("CARGO_MANIFEST_DIR"), "/crates/resnest/demo/photos/chelsea.png");
//! let classifier = Classifier::builder("demo").load()?;
//! let embedding = classifier.features(&[std::fs::read(photo)?], Layer::PreLogits).remove(0)?;
//! assert_eq!(embedding.len(), 512);
//! assert_eq!(classifier.feature_shape("layer3".parse()?)?, [256, 3, 3]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`FeatureWriter`] writes .npy, .safetensors and .parquet row by row, so that memory does not grow with their number.

mod file_list;
mod npy;
#[cfg(feature = "parquet")]
mod parquet;
mod safetensors;
mod writer;

pub use writer::{FeatureFormat, FeatureTable, FeatureWriter, WriteError};

use std::fmt;
use std::str::FromStr;

use candle_core::{DType, Device, Tensor};

use crate::classifier::from_model;
use crate::{Classifier, Error, Task};

/// Where features are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layer {
    /// What enters the classifier: timm's `forward_head(x, pre_logits=True)`, (F) an image.
    #[default]
    PreLogits,
    /// The map behind a tap of timm's `feature_info`, (C, H, W) an image: 0 is the stem, n `layer`n.
    Tap(usize),
}

/// timm's names of the taps, as [`Layer`] and `--stage` take them.
const TAPS: [&str; 5] = ["act1", "layer1", "layer2", "layer3", "layer4"];

impl FromStr for Layer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let tap = TAPS.iter().position(|&name| name == text);
        match (tap, text) {
            (Some(tap), _) => Ok(Self::Tap(tap)),
            (None, "pre_logits") => Ok(Self::PreLogits),
            (None, _) => Err(format!(
                "unknown stage {text:?}: use pre_logits, {}",
                TAPS.join(", ")
            )),
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PreLogits => f.write_str("pre_logits"),
            Self::Tap(tap) => f.write_str(TAPS.get(*tap).unwrap_or(&"?")),
        }
    }
}

impl Task for Layer {
    /// (F), or (C, H, W) in a row.
    type Answer = Vec<f32>;

    fn check(&self, _: &Classifier) -> Result<(), Error> {
        Ok(())
    }

    fn answers(
        &self,
        classifier: &Classifier,
        x: &Tensor,
    ) -> Result<Vec<Result<Vec<f32>, Error>>, Error> {
        let rows = classifier.feature_batch(x, *self)?.flatten_from(1)?;
        Ok(rows.to_vec2()?.into_iter().map(Ok).collect())
    }
}

impl Classifier {
    /// The features of several encoded images, prepared on several threads and computed some at a time: (F), or (C, H, W)
    /// in a row.
    ///
    /// One result per image, in order: a broken one does not lose the others. [`Classifier::pipeline`] takes images that
    /// are not all in memory, and a [`Layer`] as its task.
    pub fn features<B>(&self, images: &[B], layer: Layer) -> Vec<Result<Vec<f32>, Error>>
    where
        B: AsRef<[u8]> + Sync,
    {
        let prepare = |bytes: &B| self.preprocess(bytes.as_ref());
        self.pipeline().answer_all(images, prepare, &layer)
    }

    /// The features of normalised images (N, C, H, W), one row per image, as f32 on the CPU.
    ///
    /// # Errors
    /// Anything the computation gives.
    pub fn feature_batch(&self, x: &Tensor, layer: Layer) -> Result<Tensor, Error> {
        self.compute(|| {
            let (model, x) = (self.model(), self.to_model(x)?);
            let y = match layer {
                Layer::PreLogits => model.forward_head(&model.forward_features(&x)?, true)?,
                Layer::Tap(tap) => {
                    let tap = isize::try_from(tap).unwrap_or(isize::MAX);
                    model.forward_features_at(&x, &[tap])?.remove(0)
                }
            };
            from_model(&y)
        })
    }

    /// The shape of one image's features, at this classifier's input size.
    ///
    /// # Errors
    /// A tap that is none.
    pub fn feature_shape(&self, layer: Layer) -> Result<Vec<usize>, Error> {
        let (c, h, w) = self.transform().shape();
        let nothing = Tensor::zeros((0, c, h, w), DType::F32, &Device::Cpu)?;
        Ok(self.feature_batch(&nothing, layer)?.dims()[1..].to_vec())
    }
}
