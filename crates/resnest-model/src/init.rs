//! Weights for a network without a checkpoint: `init_weights` of timm's [`models/resnet.py`].
//!
//! He et al., *Delving Deep into Rectifiers*, [arXiv:1502.01852].
//!
//! [`models/resnet.py`]: https://github.com/huggingface/pytorch-image-models/blob/main/timm/models/resnet.py
//! [arXiv:1502.01852]: https://arxiv.org/abs/1502.01852

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::StandardNormal;

/// A `VarBuilder` that makes every tensor up, the same ones for the same seed.
///
/// Convolutions are normal with variance 2 / fan-out (`kaiming_normal_`, as timm), linear layers uniform within
/// 1 / sqrt(fan-in), norms the identity. Unlike timm's, the last norm of a block is not zero: a network for timing or
/// testing should do all its work.
pub fn random_weights(seed: u64, dtype: DType, device: &Device) -> VarBuilder<'static> {
    VarBuilder::from_backend(Box::new(RandomWeights { seed }), dtype, device.clone())
}

struct RandomWeights {
    seed: u64,
}

impl RandomWeights {
    fn values(&self, name: &str, dims: &[usize]) -> Vec<f32> {
        let count = dims.iter().product();
        let draw = |distribution: &dyn Fn(&mut StdRng) -> f64| {
            let mut rng = StdRng::seed_from_u64(self.seed ^ hash(name));
            (0..count).map(|_| distribution(&mut rng) as f32).collect()
        };
        match (dims, name.rsplit('.').next().unwrap_or(name)) {
            ([out, _, h, w], _) => {
                let deviation = (2.0 / (out * h * w) as f64).sqrt();
                draw(&|rng| deviation * rng.sample::<f64, _>(StandardNormal))
            }
            ([_, fan_in], _) => {
                let bound = 1.0 / (*fan_in as f64).sqrt();
                draw(&|rng| rng.random_range(-bound..bound))
            }
            (_, "weight" | "running_var") => vec![1.0; count],
            _ => vec![0.0; count],
        }
    }
}

/// FNV-1a: seeds each tensor by its name, so that the order of requests does not matter.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl SimpleBackend for RandomWeights {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: Init,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        let values = self.values(name, shape.dims());
        Tensor::from_vec(values, shape, device)?.to_dtype(dtype)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        candle_core::bail!("{name} has no shape to be drawn in")
    }

    fn contains_tensor(&self, _: &str) -> bool {
        true
    }
}
