//! Test-time pooling: timm's [`layers/test_time_pool.py`].
//!
//! [`layers/test_time_pool.py`]: https://github.com/huggingface/pytorch-image-models/blob/main/timm/layers/test_time_pool.py

use candle_core::Tensor;
use resnest_kernels::PoolSpec;

use crate::config::PoolType;
use crate::error::{Error, Result};
use crate::layers::conv::Conv2d;
use crate::layers::pool::avgmax_hw;
use crate::network::ResNet;
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
            fc: fc.into_conv()?,
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
        let windows = match self.base.is_fused() && ph == pw {
            true => PoolSpec::avg(ph, 1, 0).forward(&map)?,
            false => map.avg_pool2d_with_stride(self.original_pool, (1, 1))?,
        };
        let logits = self.fc.forward(&windows, &mut Trace::off())?;
        Ok(avgmax_hw(&logits)?)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};
    use candle_nn::VarBuilder;

    use super::*;
    use crate::config::ResNetConfig;

    fn model(config: &ResNetConfig) -> ResNet {
        ResNet::new(config, VarBuilder::zeros(DType::F32, &Device::Cpu)).unwrap()
    }

    #[test]
    fn applies_only_to_inputs_larger_on_both_sides() {
        let default = (224, 224);
        assert!(TestTimePoolHead::applies((256, 225), default));
        assert!(!TestTimePoolHead::applies((224, 320), default));
        assert!(!TestTimePoolHead::applies((224, 224), default));
    }

    #[test]
    fn a_network_it_cannot_sit_on_is_refused_by_the_option() {
        let base = ResNetConfig::resnest14d;
        let cases = [
            (
                "num_classes",
                (7, 7),
                ResNetConfig {
                    num_classes: 0,
                    ..base()
                },
            ),
            (
                "global_pool",
                (7, 7),
                ResNetConfig {
                    global_pool: PoolType::CatAvgMax,
                    ..base()
                },
            ),
            ("pool_size", (7, 0), base()),
        ];
        for (wanted, pool, config) in cases {
            match TestTimePoolHead::new(model(&config), pool) {
                Err(Error::Config { option, .. }) => assert_eq!(option, wanted),
                other => panic!("{wanted}: {other:?}"),
            }
        }
    }

    #[test]
    fn an_image_smaller_than_a_window_is_refused() {
        let head = TestTimePoolHead::new(model(&ResNetConfig::resnest14d()), (3, 2)).unwrap();
        let image = |h, w| Tensor::zeros((1, 3, h, w), DType::F32, &Device::Cpu).unwrap();
        assert_eq!(head.forward(&image(96, 64)).unwrap().dims(), [1, 1000]);
        let error = head.forward(&image(64, 64)).unwrap_err();
        assert!(error.to_string().contains("3x2"), "{error}");
    }
}
