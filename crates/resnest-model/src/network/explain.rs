//! What a network looked at: the class activation maps of its head and the weights of its split attentions, both
//! without gradients.
//!
//! Zhou et al., *Learning Deep Features for Discriminative Localization*, [arXiv:1512.04150].
//!
//! [arXiv:1512.04150]: https://arxiv.org/abs/1512.04150

use candle_core::Tensor;

use crate::config::PoolType;
use crate::error::{Error, Result};
use crate::layers::linear::Linear;
use crate::network::ResNet;
use crate::trace::Trace;

/// How one block weighed its splits.
#[derive(Clone, Debug)]
pub struct SplitWeights {
    /// The split attention, under the checkpoint's name (`layer1.0.conv2`).
    pub path: String,
    /// (N, radix, channels), the channels of all cardinal groups in a row. For every channel a softmax
    /// over the radix; with radix 1 a sigmoid.
    pub weights: Tensor,
}

impl ResNet {
    /// Whether [`class_activation_maps`](Self::class_activation_maps) exist.
    ///
    /// # Errors
    /// [`Error::Config`] for a head that is not an average pool and a linear classifier: behind other
    /// pools a logit is not the mean of a map.
    pub fn check_class_activation_maps(&self) -> Result<()> {
        self.mapping_classifier().map(|_| ())
    }

    /// The last feature map (N, num_features, H, W) → where each class is seen, (N, num_classes, H,
    /// W): Σ_k w\[c, k\]·F_k of the classifier's weights w and the map F (Zhou et al., *Learning Deep
    /// Features for Discriminative Localization*). The mean of a class over H and W is its logit less
    /// the classifier's bias.
    ///
    /// # Errors
    /// [`Error::Config`] as [`check_class_activation_maps`](Self::check_class_activation_maps),
    /// [`Error::Input`] for a tensor that is not such a map.
    pub fn class_activation_maps(&self, map: &Tensor) -> Result<Tensor> {
        let fc = self.mapping_classifier()?;
        let chans = self.num_features();
        match *map.dims() {
            [_, c, h, w] if c == chans && h > 0 && w > 0 => Ok(fc.at_every_pixel(map)?),
            _ => Err(Error::Input {
                expected: format!("a feature map (batch, {chans}, H, W)"),
                got: map.dims().to_vec(),
            }),
        }
    }

    fn mapping_classifier(&self) -> Result<&Linear> {
        let pool = self.config().global_pool;
        if pool != PoolType::Avg {
            let expected = "class activation maps are exact only behind an average pool: they work for models with global_pool avg (or fast)";
            return Err(Error::config("global_pool", pool, expected));
        }
        let expected = "class activation maps need a linear classifier behind the pool, and this network has none (or test-time pooling took it)";
        self.classifier()
            .ok_or_else(|| Error::config("num_classes", 0, expected))
    }

    /// Normalised images (N, in_chans, H, W) → the weights each block gave its splits, in the
    /// network's order; none for a network without split attention (radix 0).
    ///
    /// # Errors
    /// [`Error::Input`] for another shape.
    pub fn split_weights(&self, x: &Tensor) -> Result<Vec<SplitWeights>> {
        let mut trace = Trace::keeping_attention();
        self.run(x, &mut trace)?;
        let kept = trace.into_attention().into_iter();
        Ok(kept
            .map(|(path, weights)| SplitWeights { path, weights })
            .collect())
    }
}
