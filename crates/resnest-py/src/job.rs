//! What is asked of images.

use pyo3::prelude::*;
use resnest::candle_core::Tensor;
use resnest::features::Layer;
use resnest::{Classifier, Error, Logits, Outputs, Prediction, Task, TopK, top_k};

use crate::errors::bad_option;

/// One of the library's tasks, chosen at run time.
#[derive(Debug, Clone, Copy)]
pub enum Job {
    /// The best classes.
    Classify(usize),
    /// The classifier's output.
    Logits,
    /// Its softmax.
    Probabilities,
    /// Embeddings or a map.
    Features(Layer),
    /// What the network sees.
    Pixels,
    /// The best classes and the embedding, from one forward.
    Both(usize),
}

/// One image's answer.
#[derive(Debug)]
pub enum Answer {
    Classes(Vec<Prediction>),
    Values(Vec<f32>),
    Both(Vec<Prediction>, Vec<f32>),
}

impl Job {
    /// By name.
    ///
    /// # Errors
    /// `ModelError` for a task or a stage that is none.
    pub fn named(
        py: Python<'_>,
        task: &str,
        k: usize,
        stage: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let job = match task {
            "classify" => Self::Classify(k),
            "logits" => Self::Logits,
            "probabilities" => Self::Probabilities,
            "features" => Self::Features(layer(py, stage)?),
            "pixels" => Self::Pixels,
            _ => {
                let problem = format!(
                    "unknown task {task:?}: use classify, logits, probabilities, features or pixels"
                );
                return Err(bad_option(py, problem));
            }
        };
        if stage.is_some() && !matches!(job, Self::Features(_)) {
            return Err(bad_option(
                py,
                format!("task {task} has no stage: that is for features"),
            ));
        }
        Ok(job)
    }

    /// The shape of one image's values, of which there are `len`.
    ///
    /// # Errors
    /// Those of [`Classifier::feature_shape`].
    pub fn shape(self, classifier: &Classifier, len: usize) -> Result<Vec<usize>, Error> {
        match self {
            Self::Pixels => {
                let (c, h, w) = classifier.transform().shape();
                Ok(vec![c, h, w])
            }
            Self::Features(layer)
                if layer != Layer::PreLogits || len != classifier.model().num_features() =>
            {
                classifier.feature_shape(layer)
            }
            _ => Ok(vec![len]),
        }
    }
}

fn layer(py: Python<'_>, stage: Option<&Bound<'_, PyAny>>) -> PyResult<Layer> {
    let Some(stage) = stage else {
        return Ok(Layer::PreLogits);
    };
    if let Ok(name) = stage.extract::<String>() {
        return name.parse().map_err(|problem| bad_option(py, problem));
    }
    match stage.extract::<isize>() {
        Ok(tap @ -5..=4) => Ok(Layer::Tap(tap.rem_euclid(5).unsigned_abs())),
        _ => Err(bad_option(
            py,
            format!("unknown stage {stage}: use 0 to 4, act1, layer1 to layer4, or pre_logits"),
        )),
    }
}

impl Task for Job {
    type Answer = Answer;

    fn check(&self, classifier: &Classifier) -> Result<(), Error> {
        match self {
            Self::Classify(_) | Self::Logits | Self::Probabilities | Self::Both(_) => {
                classifier.check_classes()
            }
            Self::Features(_) | Self::Pixels => Ok(()),
        }
    }

    fn answers(
        &self,
        classifier: &Classifier,
        x: &Tensor,
    ) -> Result<Vec<Result<Answer, Error>>, Error> {
        let values = |rows: Vec<Result<Vec<f32>, Error>>| {
            let value = |row: Result<Vec<f32>, Error>| row.map(Answer::Values);
            rows.into_iter().map(value).collect()
        };
        Ok(match self {
            Self::Classify(k) => {
                let rows = TopK(*k).answers(classifier, x)?.into_iter();
                rows.map(|row| row.map(Answer::Classes)).collect()
            }
            Self::Logits => values(Logits.answers(classifier, x)?),
            Self::Probabilities => {
                let rows = Logits.answers(classifier, x)?.into_iter();
                values(rows.map(|row| resnest::softmax(&row?)).collect())
            }
            Self::Features(layer) => values(layer.answers(classifier, x)?),
            Self::Both(k) => {
                let both = Outputs {
                    logits: true,
                    embeddings: true,
                };
                let answer = |output: resnest::Output| {
                    let classes = top_k(&output.logits, *k, classifier.labels())?;
                    Ok(Answer::Both(classes, output.embedding))
                };
                let rows = both.answers(classifier, x)?.into_iter();
                rows.map(|row| row.and_then(answer)).collect()
            }
            Self::Pixels => values(x.flatten_from(1)?.to_vec2()?.into_iter().map(Ok).collect()),
        })
    }
}
