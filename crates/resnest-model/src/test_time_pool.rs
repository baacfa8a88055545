//! Test-time pooling (`timm/layers/test_time_pool.py`).

use candle_core::Tensor;

use crate::config::PoolType;
use crate::error::{Error, Result};
use crate::layers::Conv2d;
use crate::pool::avgmax_hw;
use crate::resnet::ResNet;
use crate::trace::Trace;

/// A network whose classifier looks at every window of the size it was trained with; the logits of
/// all windows are then pooled, half mean and half maximum. For inputs larger than the training
/// size.
#[derive(Debug)]
pub struct TestTimePoolHead {
    base: ResNet,
    fc: Conv2d,
    original_pool: (usize, usize),
}

impl TestTimePoolHead {
    /// timm's rule: only if both sides of the input are larger than the default (`input_size` of
    /// the checkpoint).
    pub fn applies(input_size: (usize, usize), default_input_size: (usize, usize)) -> bool {
        input_size.0 > default_input_size.0 && input_size.1 > default_input_size.1
    }

    /// Takes over the classifier of `base`; `original_pool` is `pool_size` of the checkpoint, (7,
    /// 7) for 224x224.
    ///
    /// # Errors
    /// [`Error::Config`] if there is no classifier, if the classifier sees concatenated pools, or
    /// for an empty window.
    pub fn new(mut base: ResNet, original_pool: (usize, usize)) -> Result<Self> {
        let pool = base.config().global_pool;
        if pool == PoolType::CatAvgMax {
            let expected = "test-time pooling needs a classifier over num_features features";
            return Err(Error::config("global_pool", pool, expected));
        }
        if original_pool.0 == 0 || original_pool.1 == 0 {
            let value = format!("{original_pool:?}");
            return Err(Error::config("pool_size", value, "must be 1 or more"));
        }
        let Some(fc) = base.take_classifier() else {
            let expected = "test-time pooling needs a classifier";
            return Err(Error::config("num_classes", 0, expected));
        };
        Ok(Self {
            base,
            fc: Conv2d::from_linear(&fc)?,
            original_pool,
        })
    }

    /// The network inside, without its classifier.
    pub fn base(&self) -> &ResNet {
        &self.base
    }

    /// Normalised images (N, in_chans, H, W) → logits (N, num_classes).
    ///
    /// # Errors
    /// [`Error::Input`] for another shape, or one too small for a single window.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let map = self.base.forward_features(x)?;
        let (_, _, h, w) = map.dims4()?;
        let (ph, pw) = self.original_pool;
        if h < ph || w < pw {
            return Err(Error::Input {
                expected: format!(
                    "images large enough for a feature map of {ph}x{pw} (test-time pooling), not {h}x{w}"
                ),
                got: x.dims().to_vec(),
            });
        }
        let windows = map.avg_pool2d_with_stride(self.original_pool, (1, 1))?;
        let logits = self.fc.forward(&windows, &mut Trace::off())?;
        Ok(avgmax_hw(&logits)?)
    }
}
