//! What a load may change of a checkpoint, and only when asked: the channels of the first convolution and
//! the classifier. All else stays strict.

use std::collections::HashSet;

use half::{bf16, f16};
use resnest_model::{ResNetConfig, StemType};

use crate::checkpoint::{Checkpoint, ElementType, TensorEntry};
use crate::config::PretrainedCfg;
use crate::error::{Error, Result};
use crate::strict::Exempt;

/// What to do when the checkpoint's classifier has another number of classes than the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HeadPolicy {
    /// Refuse, as for any other tensor.
    #[default]
    Strict,
    /// Build the classifier anew: bias 0, weights uniform within 1/√features as torch's `Linear`, from a
    /// fixed seed. timm then also stops checking everything else; here the rest stays strict.
    Replace,
}

/// The changes one load makes.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// The first convolution's weight and the channels it is adapted to.
    pub(crate) first_conv: Option<(String, usize)>,
    /// The classifier's tensors that are built anew.
    pub(crate) replaced: Vec<String>,
    /// The classifier's tensors that are left out, as the network has none.
    pub(crate) dropped: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

impl Plan {
    pub(crate) fn new(
        checkpoint: &Checkpoint,
        config: &ResNetConfig,
        pretrained: &PretrainedCfg,
        policy: HeadPolicy,
    ) -> Result<Self> {
        let mut plan = Self::default();
        plan.plan_input(checkpoint, config, pretrained)?;
        plan.plan_head(checkpoint, config, pretrained, policy);
        Ok(plan)
    }

    /// timm's rule (`_builder.py`, `load_pretrained`): adapt when the weights have the declared channels
    /// and the network others.
    fn plan_input(
        &mut self,
        checkpoint: &Checkpoint,
        config: &ResNetConfig,
        pretrained: &PretrainedCfg,
    ) -> Result<()> {
        let (asked, declared) = (config.in_chans, pretrained.input_size[0]);
        let name = format!("{}.weight", config.first_conv());
        let Some(tensor) = checkpoint.get(&name) else {
            return Ok(()); // the strict check reports it missing
        };
        let &[_, found, _, _] = tensor.shape() else {
            return Ok(()); // and this one misshaped
        };
        if asked == declared {
            return Ok(());
        }
        if found == asked {
            self.warnings.push(format!("{name} has {asked} channels already, though the config declares {declared}; loaded unchanged"));
            return Ok(());
        }
        if found != declared {
            let problem = format!(
                "{name} has {found} channels, but the config declares {declared} for the weights; correct its input_size first"
            );
            return Err(Error::InChans { asked, problem });
        }
        self.first_conv = Some((name, asked));
        Ok(())
    }

    fn plan_head(
        &mut self,
        checkpoint: &Checkpoint,
        config: &ResNetConfig,
        pretrained: &PretrainedCfg,
        policy: HeadPolicy,
    ) {
        let classifier = pretrained.classifier_name(config);
        let names = ["weight", "bias"].map(|part| format!("{classifier}.{part}"));
        if config.num_classes == 0 {
            self.dropped = names
                .into_iter()
                .filter(|name| checkpoint.get(name).is_some())
                .collect();
            return;
        }
        if policy == HeadPolicy::Strict {
            return;
        }
        let [weight, bias] = &names;
        let fits =
            |name: &str, shape: &[usize]| checkpoint.get(name).is_some_and(|t| t.shape() == shape);
        let (classes, features) = (config.num_classes, config.head_features());
        if !fits(weight, &[classes, features]) || !fits(bias, &[classes]) {
            self.replaced = names.to_vec();
        }
    }

    /// What the strict check need not look at.
    pub(crate) fn exempt(&self, checkpoint: &Checkpoint, config: &ResNetConfig) -> Exempt {
        let mut replaced: HashSet<String> = self.replaced.iter().cloned().collect();
        if let Some((name, _)) = &self.first_conv {
            // adapted tensors still need the network's shape in every axis but the channels
            let kernel = checkpoint
                .get(name)
                .map(|t| t.shape())
                .filter(|s| stem_shape(config).matches(s));
            if kernel.is_some_and(|_| checkpoint.get(name).is_some_and(|t| t.is_weight())) {
                replaced.insert(name.clone());
            }
        }
        Exempt {
            replaced,
            dropped: self.dropped.iter().cloned().collect(),
        }
    }
}

/// Output channels and kernel side of the first convolution.
struct StemShape(usize, usize);

impl StemShape {
    fn matches(&self, shape: &[usize]) -> bool {
        matches!(shape, [out, _, h, w] if *out == self.0 && *h == self.1 && *w == self.1)
    }
}

fn stem_shape(config: &ResNetConfig) -> StemShape {
    let side = match config.stem_type {
        StemType::Conv7x7 => 7,
        StemType::Deep | StemType::DeepTiered => 3,
    };
    StemShape(config.first_chans(), side)
}

/// timm's `adapt_input_conv` (`_manipulate.py`) on (O, I, H, W): one channel takes the sum over all, more
/// repeat them, cut to size and scaled by I/N. Computed in f32 and rounded back to the file's type, as there.
pub(crate) fn adapt_input_conv(tensor: &TensorEntry, chans: usize) -> Result<Vec<f32>> {
    let &[out, inp, h, w] = tensor.shape() else {
        return Err(Error::InChans {
            asked: chans,
            problem: format!("{} is no convolution", tensor.name()),
        });
    };
    let (weights, plane) = (tensor.weights()?, h * w);
    if inp == 0 || plane == 0 {
        return Err(Error::InChans {
            asked: chans,
            problem: format!("{} is empty", tensor.name()),
        });
    }
    let scale = (inp as f64 / chans as f64) as f32;
    let mut adapted = Vec::with_capacity(out * chans * plane);
    for filter in weights.chunks_exact(inp * plane) {
        if chans == 1 {
            adapted.extend((0..plane).map(|p| filter.iter().skip(p).step_by(plane).sum::<f32>()));
        } else {
            let repeated = filter.iter().cycle().take(chans * plane);
            adapted.extend(repeated.map(|w| w * scale));
        }
    }
    adapted
        .iter_mut()
        .for_each(|w| *w = rounded(*w, tensor.dtype()));
    if !adapted.iter().all(|w| w.is_finite()) {
        return Err(Error::InChans {
            asked: chans,
            problem: format!("a sum over the channels of {} overflows", tensor.name()),
        });
    }
    Ok(adapted)
}

fn rounded(value: f32, dtype: ElementType) -> f32 {
    match dtype {
        ElementType::F16 => f16::from_f32(value).to_f32(),
        ElementType::BF16 => bf16::from_f32(value).to_f32(),
        _ => value,
    }
}

/// Weights of a new classifier over `features` inputs: uniform in ±1/√features (torch's `Linear`), from
/// SplitMix64 with a fixed seed, so that two loads agree.
pub(crate) fn new_head(count: usize, features: usize) -> Vec<f32> {
    let bound = 1.0 / (features.max(1) as f64).sqrt();
    let mut state = 0x7265_736e_6573_7400_u64; // "resnest"
    let mut uniform = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) >> 11
    };
    (0..count)
        .map(|_| ((uniform() as f64 / (1u64 << 53) as f64 * 2.0 - 1.0) * bound) as f32)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// tests/checkpoints/make_fixtures.py recorded what timm makes of these weights.
    #[test]
    fn adapted_convolutions_are_timms_bit_for_bit() {
        let open = |name: &str| {
            let path = format!(
                "{}/tests/checkpoints/fixtures/{name}.safetensors",
                env!("CARGO_MANIFEST_DIR")
            );
            Checkpoint::open(path).unwrap()
        };
        let recorded = open("adapted");
        for (dtype, folder) in [("f32", "ref"), ("f16", "f16"), ("bf16", "bf16")] {
            let checkpoint = open(&format!("{folder}/model"));
            for chans in [1, 4, 7] {
                let found =
                    adapt_input_conv(checkpoint.get("conv1.0.weight").unwrap(), chans).unwrap();
                let wanted = recorded.get(&format!("{dtype}.in{chans}")).unwrap();
                assert_eq!(wanted.shape(), [4, chans, 3, 3]);
                assert_eq!(found, wanted.to_f32().unwrap(), "{dtype} {chans}");
            }
        }
    }

    #[test]
    fn a_new_head_is_bounded_and_repeatable() {
        let head = new_head(10_000, 100);
        assert!(head.iter().all(|w| w.abs() <= 0.1));
        assert!(head.iter().sum::<f32>().abs() / 1e4 < 0.005);
        assert_eq!(head, new_head(10_000, 100));
    }
}
