//! What came of one image: enough to make every figure of a validation again.

use serde::{Deserialize, Serialize};

use crate::{Error, prediction};

/// timm counts a class among the first five as right for top-5.
pub const TOP: usize = 5;

/// One image's result, one line of an outcomes file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The image's name in the data set.
    pub file: String,
    /// Its classes, or why there are none.
    #[serde(flatten)]
    pub answer: Answer,
}

/// What the model said, or why it was not asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// The model's answer.
    Scored(Scored),
    /// Why there is none.
    Failed {
        /// For people.
        error: String,
    },
}

/// The model's answer for one image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scored {
    /// The model's class that the data set's label is.
    pub target: usize,
    /// The model's best classes, at most [`TOP`], best first.
    pub top: Vec<usize>,
    /// Their probabilities.
    pub probabilities: Vec<f32>,
    /// The probability of the target.
    pub target_probability: f32,
    /// Cross entropy: minus the natural logarithm of that, from the logits.
    pub loss: f32,
}

impl Scored {
    /// The answer in one row of logits, over the `valid` classes only if given.
    ///
    /// # Errors
    /// [`Error::NotFinite`].
    pub(super) fn new(row: &[f32], target: usize, valid: Option<&[usize]>) -> Result<Self, Error> {
        let some: Vec<f32>;
        let logits = match valid {
            None => row,
            Some(valid) => {
                some = valid
                    .iter()
                    .filter_map(|&class| row.get(class).copied())
                    .collect();
                &some
            }
        };
        let softmax = prediction::Softmax::new(logits)?;
        let best = prediction::best(logits, TOP);
        let target_logit = row.get(target).copied().unwrap_or(f32::NEG_INFINITY);
        let probabilities = best.iter().map(|&at| softmax.probability(logits[at]));
        Ok(Self {
            target,
            probabilities: probabilities.collect(),
            target_probability: softmax.probability(target_logit),
            loss: softmax.loss(target_logit),
            top: match valid {
                None => best,
                Some(valid) => best.into_iter().map(|at| valid[at]).collect(),
            },
        })
    }

    /// The best class and its probability.
    pub fn best(&self) -> Option<(usize, f32)> {
        Some((*self.top.first()?, *self.probabilities.first()?))
    }

    /// Whether one of the first `k` classes is one of `right`.
    pub fn within(&self, k: usize, right: &[usize]) -> bool {
        self.top.iter().take(k).any(|class| right.contains(class))
    }
}
