//! How the split attention of each block weighed its splits.

use candle_core::{DType, IndexOp};
use resnest_model::SplitWeights;

use crate::Error;

/// The weights one block gave its splits for one image: for every channel a softmax over the splits, or for a single
/// split a sigmoid that says how much of it is let through.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockSplits {
    /// The block, under the checkpoint's name: `layer1.0`.
    pub block: String,
    /// For each split its channels' weights, those of all cardinal groups in a row.
    pub weights: Vec<Vec<f32>>,
}

impl BlockSplits {
    /// Those of the first image of a batch.
    pub(crate) fn of_first(splits: &SplitWeights) -> Result<Self, Error> {
        let path = &splits.path;
        Ok(Self {
            block: path.strip_suffix(".conv2").unwrap_or(path).to_owned(),
            weights: splits.weights.i(0)?.to_dtype(DType::F32)?.to_vec2()?,
        })
    }

    /// How many splits there are.
    pub fn radix(&self) -> usize {
        self.weights.len()
    }

    /// The mean weight of each split, over channels and cardinal groups. They add up to 1 unless there is only one.
    pub fn means(&self) -> Vec<f32> {
        let mean = |split: &Vec<f32>| {
            let total: f64 = split.iter().map(|&w| f64::from(w)).sum();
            (total / split.len().max(1) as f64) as f32
        };
        self.weights.iter().map(mean).collect()
    }

    /// The weight of split `split` below which this share of its channels lies (0 the least, 1 the greatest).
    pub fn quantile(&self, split: usize, share: f64) -> Option<f32> {
        let mut sorted = self.weights.get(split)?.clone();
        sorted.sort_unstable_by(f32::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let place = (share.clamp(0.0, 1.0) * last as f64).round() as usize;
        sorted.get(place).copied()
    }
}
