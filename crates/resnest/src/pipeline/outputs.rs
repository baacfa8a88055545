//! Logits and embeddings of the same images at once.

use candle_core::Tensor;

use super::Task;
use crate::prediction::Softmax;
use crate::{Classifier, Error};

/// What a network gives of an image: its logits, its embedding, or both from one forward. A [`Task`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outputs {
    /// The classifier's output.
    pub logits: bool,
    /// What the classifier sees (timm's `forward_head(x, pre_logits=True)`).
    pub embeddings: bool,
}

/// One image's [`Outputs`]; what was not asked for is empty.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Output {
    /// A number for each class, all of them finite.
    pub logits: Vec<f32>,
    /// A number for each feature.
    pub embedding: Vec<f32>,
}

impl Task for Outputs {
    type Answer = Output;

    fn check(&self, classifier: &Classifier) -> Result<(), Error> {
        match self.logits {
            true => classifier.check_classes(),
            false => Ok(()),
        }
    }

    fn answers(
        &self,
        classifier: &Classifier,
        x: &Tensor,
    ) -> Result<Vec<Result<Output, Error>>, Error> {
        let (logits, embeddings) = classifier.outputs(x, *self)?;
        let logits = rows(logits, x)?;
        let embeddings = rows(embeddings, x)?;
        let each = logits.into_iter().zip(embeddings);
        Ok(each
            .map(|(logits, embedding)| {
                // NaN is no answer.
                if self.logits {
                    Softmax::new(&logits)?;
                }
                Ok(Output { logits, embedding })
            })
            .collect())
    }
}

/// A row for each image of `x`, empty where there is no tensor.
fn rows(y: Option<Tensor>, x: &Tensor) -> Result<Vec<Vec<f32>>, Error> {
    match y {
        Some(y) => Ok(y.flatten_from(1)?.to_vec2()?),
        None => Ok(vec![Vec::new(); x.dim(0)?]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::Layer;
    use crate::{Logits, demo};

    #[test]
    fn both_at_once_are_what_each_is_alone() {
        let classifier = Classifier::builder("demo").load().unwrap();
        let photo = |at: usize| classifier.preprocess(demo::PHOTOS[at % 2].1);
        let prepared = || (0..3).map(photo).collect::<Vec<_>>();
        let pipeline = classifier.pipeline();
        let both = Outputs {
            logits: true,
            embeddings: true,
        };
        let both = pipeline.answer(prepared(), &both);
        let logits = pipeline.answer(prepared(), &Logits);
        let embeddings = pipeline.answer(prepared(), &Layer::PreLogits);
        for ((both, logits), embedding) in both.into_iter().zip(logits).zip(embeddings) {
            let both = both.unwrap();
            assert_eq!(both.logits, logits.unwrap());
            assert_eq!(both.embedding, embedding.unwrap());
        }
    }

    #[test]
    fn values_that_are_no_numbers_have_no_answer() {
        let classifier = Classifier::builder("demo").load().unwrap();
        let mut values = classifier.preprocess(demo::PHOTOS[0].1).unwrap().0;
        let good = classifier.prepared(values.clone());
        values[7] = f32::NAN;
        let bad = classifier.prepared(values.clone());
        let task = Outputs {
            logits: true,
            embeddings: false,
        };
        let answers = classifier.pipeline().answer(vec![good, bad], &task);
        assert!(answers[0].is_ok());
        assert!(
            matches!(answers[1], Err(Error::NotFinite { .. })),
            "{:?}",
            answers[1]
        );
        values.pop();
        assert!(matches!(
            classifier.prepared(values),
            Err(Error::TensorShape { .. })
        ));
    }
}
