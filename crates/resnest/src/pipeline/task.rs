//! What is computed of images.

use candle_core::Tensor;

use crate::{Classifier, Error, Prediction, top_k};

/// What is asked of images: [`TopK`], [`Logits`], [`crate::features::Layer`], [`crate::explain::Maps`], or your own.
pub trait Task: Sync {
    /// What one image gets.
    type Answer: Send;

    /// Asked before anything is read or computed.
    ///
    /// # Errors
    /// Why no image can have an answer from this classifier.
    fn check(&self, classifier: &Classifier) -> Result<(), Error>;

    /// The answers of a batch: normalised f32 images (N, C, H, W) on the CPU.
    ///
    /// # Errors
    /// Why there is none for the whole batch: then each image is tried alone.
    fn answers(
        &self,
        classifier: &Classifier,
        x: &Tensor,
    ) -> Result<Vec<Result<Self::Answer, Error>>, Error>;
}

/// So many of the best classes, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopK(pub usize);

impl Task for TopK {
    type Answer = Vec<Prediction>;

    fn check(&self, classifier: &Classifier) -> Result<(), Error> {
        classifier.check_classes()
    }

    fn answers(
        &self,
        classifier: &Classifier,
        x: &Tensor,
    ) -> Result<Vec<Result<Vec<Prediction>, Error>>, Error> {
        let rows = classifier.logits(x)?.to_vec2::<f32>()?;
        let best = |row: &Vec<f32>| top_k(row, self.0, classifier.labels());
        Ok(rows.iter().map(best).collect())
    }
}

/// The classifier's output, a number for each class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logits;

impl Task for Logits {
    type Answer = Vec<f32>;

    fn check(&self, classifier: &Classifier) -> Result<(), Error> {
        classifier.check_classes()
    }

    fn answers(
        &self,
        classifier: &Classifier,
        x: &Tensor,
    ) -> Result<Vec<Result<Vec<f32>, Error>>, Error> {
        let rows = classifier.logits(x)?.to_vec2()?;
        Ok(rows.into_iter().map(Ok).collect())
    }
}
