//! Weights for a network without a checkpoint (`timm/models/resnet.py`, `init_weights`).

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ResNet, ResNetConfig};

    #[test]
    fn the_same_seed_gives_the_same_network_and_every_layer_is_alive() {
        let config = ResNetConfig {
            layers: [1, 1, 1, 1],
            channels: [8, 8, 16, 16],
            ..ResNetConfig::resnest14d()
        };
        let logits = |seed| {
            let vb = random_weights(seed, DType::F32, &Device::Cpu);
            let x = Tensor::ones((1, 3, 64, 64), DType::F32, &Device::Cpu).unwrap();
            let logits = ResNet::new(&config, vb).unwrap().forward(&x).unwrap();
            logits.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        let (a, b, c) = (logits(1), logits(1), logits(2));
        assert_eq!(a, b);
        assert_ne!(a, c);
        assert!(a.iter().all(|v| v.is_finite()) && a.iter().any(|v| *v != a[0]));
    }
}
