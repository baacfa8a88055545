//! Logits to predictions.

use serde::Serialize;

use crate::{Error, Labels};

/// One class of an answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    /// The class index, from 0.
    pub index: usize,
    /// The class name: a WordNet synset for ImageNet (`n02123159`), the label in the model's config otherwise.
    pub label: String,
    /// The class in words, where known.
    pub description: Option<String>,
    /// Softmax over all classes, in 0..=1.
    pub probability: f32,
    /// The classifier's output before the softmax.
    pub logit: f32,
}

/// The `k` best classes of one row of logits, best first; equal logits keep the order of their indices.
///
/// `k` larger than the number of classes gives all of them.
///
/// # Errors
/// [`Error::NotFinite`] if any logit is NaN or infinite.
pub fn top_k(logits: &[f32], k: usize, labels: &Labels) -> Result<Vec<Prediction>, Error> {
    let softmax = Softmax::new(logits)?;
    let order = best(logits, k);
    Ok(order
        .into_iter()
        .map(|index| Prediction {
            index,
            label: labels.name(index),
            description: labels.description(index).map(str::to_owned),
            probability: softmax.probability(logits[index]),
            logit: logits[index],
        })
        .collect())
}

/// The softmax of one row of logits, in 0..=1.
///
/// # Errors
/// [`Error::NotFinite`] if any logit is NaN or infinite.
pub fn softmax(logits: &[f32]) -> Result<Vec<f32>, Error> {
    let softmax = Softmax::new(logits)?;
    Ok(logits.iter().map(|&l| softmax.probability(l)).collect())
}

/// The indices of the `k` largest logits, largest first; equal ones keep the order of their indices.
pub(crate) fn best(logits: &[f32], k: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    let best_first = |&a: &usize, &b: &usize| logits[b].total_cmp(&logits[a]).then(a.cmp(&b));
    if k < order.len() {
        // Only the best k need sorting: a head may have 21,843 classes.
        order.select_nth_unstable_by(k, best_first);
        order.truncate(k);
    }
    order.sort_unstable_by(best_first);
    order
}

/// The softmax of a row of logits, one value at a time.
pub(crate) struct Softmax {
    max: f32,
    total: f64,
}

impl Softmax {
    /// # Errors
    /// [`Error::NotFinite`] if any logit is NaN or infinite.
    pub(crate) fn new(logits: &[f32]) -> Result<Self, Error> {
        if let Some((index, &value)) = logits.iter().enumerate().find(|(_, v)| !v.is_finite()) {
            return Err(Error::NotFinite { index, value });
        }
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let total = logits.iter().map(|&v| f64::from(v - max).exp()).sum();
        Ok(Self { max, total })
    }

    /// In 0..=1.
    pub(crate) fn probability(&self, logit: f32) -> f32 {
        (f64::from(logit - self.max).exp() / self.total) as f32
    }

    /// Minus the natural logarithm of the probability, without its rounding to 0.
    pub(crate) fn loss(&self, logit: f32) -> f32 {
        let loss = self.total.ln() - (f64::from(logit) - f64::from(self.max));
        loss.min(f64::from(f32::MAX)) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_and_order_are_those_of_a_plain_softmax() {
        let logits = [1.0f32, 3.0, -2.0, 3.0, 0.5];
        let naive: f32 = logits.iter().map(|v| v.exp()).sum();
        let all = top_k(&logits, 9, &Labels::numbered(5)).unwrap();
        assert_eq!(
            all.iter().map(|p| p.index).collect::<Vec<_>>(),
            [1, 3, 0, 4, 2]
        );
        for p in &all {
            assert!((p.probability - logits[p.index].exp() / naive).abs() < 1e-6);
        }
        assert_eq!(
            top_k(&logits, 2, &Labels::numbered(5)).unwrap(),
            all[..2].to_vec()
        );
        assert!(top_k(&logits, 0, &Labels::numbered(5)).unwrap().is_empty());
    }

    #[test]
    fn a_huge_logit_does_not_overflow_and_nan_is_an_error() {
        let two = top_k(&[3e38, 0.0], 2, &Labels::numbered(2)).unwrap();
        assert_eq!(two[0].probability, 1.0);
        let error = top_k(&[0.0, f32::NAN], 1, &Labels::numbered(2)).unwrap_err();
        assert!(error.to_string().contains("class 1"), "{error}");
    }
}
