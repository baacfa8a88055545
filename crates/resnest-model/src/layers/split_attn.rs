//! Split attention: a convolution into several splits, and their sum weighted by an attention over them.
//!
//! Zhang et al., *ResNeSt: Split-Attention Networks*, section 3, [arXiv:2004.08955]; timm's [`layers/split_attn.py`].
//!
//! [arXiv:2004.08955]: https://arxiv.org/abs/2004.08955
//! [`layers/split_attn.py`]: https://github.com/huggingface/pytorch-image-models/blob/main/timm/layers/split_attn.py

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use candle_nn::ops::{sigmoid, softmax};
use resnest_kernels::{Algorithm, PackedConv, PackedSplitAttention, Residual};

use super::act::Act;
use super::conv::{Conv2d, Conv2dConfig};
use super::conv_bn_act::{conv_norm_act, conv_norm_add_act};
use super::norm::BatchNorm2d;
use super::pool::mean_hw;
use crate::error::{Error, Result as ModelResult};
use crate::fuse::Fuser;
use crate::helpers::make_divisible;
use crate::trace::{Trace, per_image};

/// Attention logits → weights: over the radix, for every channel of every cardinal group.
#[derive(Clone, Debug)]
pub(crate) struct RadixSoftmax {
    radix: usize,
    cardinality: usize,
    path: String,
}

impl RadixSoftmax {
    /// (N, K·R·c, 1, 1), cardinality-major → (N, R·K·c), radix-major like the splits they weigh.
    /// Radix 1: a sigmoid.
    pub(crate) fn forward(&self, x: &Tensor, trace: &mut Trace) -> Result<Tensor> {
        let x = x.flatten_from(1)?;
        if self.radix == 1 {
            let weights = sigmoid(&x)?;
            trace.step(&self.path, "sigmoid", &weights);
            return Ok(weights);
        }
        let (n, chans) = x.dims2()?;
        let c = chans / (self.cardinality * self.radix);
        let x = x.reshape((n, self.cardinality, self.radix, c))?;
        trace.step(&self.path, "view (batch, cardinality, radix, channels)", &x);
        let x = x.transpose(1, 2)?.contiguous()?; // (N, R, K, c)
        trace.step(&self.path, "transpose", &x);
        // candle takes no maximum over an empty batch.
        let weights = if n == 0 { x } else { softmax(&x, 1)? }.reshape((n, chans))?;
        trace.step(&self.path, "softmax over radix", &weights);
        Ok(weights)
    }
}

/// A 3x3 convolution into `radix` splits, and their sum weighted by an attention over the splits.
#[derive(Clone, Debug)]
pub(crate) struct SplitAttn {
    how: How,
    path: String,
}

/// The attention as candle's operations on its layers, or all of it as one kernel.
#[derive(Clone, Debug)]
enum How {
    Composed(Box<Layers>),
    Fused(Box<Fused>),
}

#[derive(Clone, Debug)]
struct Layers {
    conv: Conv2d,
    bn0: BatchNorm2d,
    fc1: Conv2d,
    bn1: BatchNorm2d,
    fc2: Conv2d,
    rsoftmax: RadixSoftmax,
    path: String,
}

#[derive(Clone, Debug)]
struct Fused {
    kernel: PackedSplitAttention,
    /// The convolution's name.
    conv_path: String,
    /// Multiply-accumulates of the convolution for every pixel put out.
    macs_per_pixel: usize,
    /// Those of the two small layers for every image.
    macs_per_image: usize,
}

impl SplitAttn {
    /// `chans` in and out; `config` is the 3x3 convolution, its groups being the cardinality.
    pub fn new(chans: usize, radix: usize, config: Conv2dConfig, vb: VarBuilder) -> Result<Self> {
        let cardinality = config.groups;
        let attn_chans = attn_chans(chans, radix);
        let conv = Conv2dConfig {
            groups: cardinality * radix,
            ..config
        };
        let fc = Conv2dConfig {
            groups: cardinality,
            bias: true,
            ..Conv2dConfig::new(1, 1)
        };
        let layers = Layers {
            conv: Conv2d::new(chans, chans * radix, conv, vb.pp("conv"))?,
            bn0: BatchNorm2d::new(chans * radix, vb.pp("bn0"))?,
            fc1: Conv2d::new(chans, attn_chans, fc, vb.pp("fc1"))?,
            bn1: BatchNorm2d::new(attn_chans, vb.pp("bn1"))?,
            fc2: Conv2d::new(attn_chans, chans * radix, fc, vb.pp("fc2"))?,
            rsoftmax: RadixSoftmax {
                radix,
                cardinality,
                path: vb.pp("rsoftmax").prefix(),
            },
            path: vb.prefix(),
        };
        Ok(Self {
            how: How::Composed(Box::new(layers)),
            path: vb.prefix(),
        })
    }

    /// (N, C, H, W) → (N, C, H', W').
    pub(crate) fn forward(&self, x: &Tensor, trace: &mut Trace) -> Result<Tensor> {
        match &self.how {
            How::Composed(layers) => layers.forward(x, trace),
            How::Fused(fused) => {
                trace.attention(&self.path, || fused.kernel.attention(x))?;
                let y = fused.kernel.forward(x)?;
                let macs = || fused.macs(&y);
                let layers = [fused.conv_path.as_str()];
                trace.composite(&self.path, || fused.describe(), &y, macs, &layers);
                Ok(y)
            }
        }
    }

    /// The end of a block: the attention, and [`conv_norm_add_act`] of it. Fused, the weighted splits go into the
    /// convolution without being stored.
    pub(crate) fn forward_then(
        &self,
        conv: &Conv2d,
        norm: &BatchNorm2d,
        shortcut: Residual,
        x: &Tensor,
        trace: &mut Trace,
    ) -> Result<Tensor> {
        if let (How::Fused(fused), Some(next)) = (&self.how, conv.packed()) {
            trace.attention(&self.path, || fused.kernel.attention(x))?;
            let y = fused.kernel.forward_then(x, next, Some(shortcut), true)?;
            let operation = || fused.describe() + ", then conv3, norm, + shortcut, relu";
            let macs = || fused.macs(&y).saturating_add(per_image(&y, conv.taps()));
            let layers = [fused.conv_path.as_str(), conv.path()];
            trace.composite(&self.path, operation, &y, macs, &layers);
            return Ok(y);
        }
        let x = self.forward(x, trace)?;
        conv_norm_add_act(conv, norm, shortcut, &x, trace)
    }

    /// The convolution that makes the splits, once it is packed.
    pub(crate) fn packed(&self) -> Option<&PackedConv> {
        match &self.how {
            How::Composed(_) => None,
            How::Fused(fused) => fused.kernel.conv(),
        }
    }

    /// Packs all layers into one kernel.
    pub(crate) fn fuse(&mut self, fuser: &mut Fuser) -> ModelResult<()> {
        if let How::Composed(layers) = &self.how {
            let fused = layers.fuse(fuser)?;
            self.how = How::Fused(Box::new(fused));
        }
        Ok(())
    }

    /// Bytes of weights held.
    pub(crate) fn bytes(&self) -> usize {
        match &self.how {
            How::Composed(l) => l.conv.bytes() + l.fc1.bytes() + l.fc2.bytes(),
            How::Fused(fused) => fused.kernel.bytes(),
        }
    }
}

impl Layers {
    fn forward(&self, x: &Tensor, trace: &mut Trace) -> Result<Tensor> {
        let splits = conv_norm_act(&self.conv, &self.bn0, Act::Relu, x, trace)?; // (N, R·C, H', W')
        let gap = self.gap(&splits, trace)?; // (N, C, 1, 1)
        let gap = conv_norm_act(&self.fc1, &self.bn1, Act::Relu, &gap, trace)?;
        let logits = self.fc2.forward(&gap, trace)?; // (N, K·R·c, 1, 1)
        let weights = self.rsoftmax.forward(&logits, trace)?; // (N, R·C)
        let by_split = || {
            let ((n, width), radix) = (weights.dims2()?, self.rsoftmax.radix);
            weights.reshape((n, radix, width / radix))
        };
        trace.attention(&self.path, by_split)?;
        self.weigh(&splits, &weights, trace)
    }

    fn fuse(&self, fuser: &mut Fuser) -> ModelResult<Fused> {
        let (conv_path, spec) = (self.conv.path(), self.conv.spec());
        let algorithm = fuser.algorithm(conv_path, &spec);
        let pack = |conv: &Conv2d, norm: Option<&BatchNorm2d>, algorithm| {
            let folded = || conv.folded(norm);
            fuser.layer(conv.path(), conv.spec(), algorithm, folded)
        };
        let conv = pack(&self.conv, Some(&self.bn0), algorithm)?;
        let fc1 = pack(&self.fc1, Some(&self.bn1), Algorithm::Direct)?;
        let fc2 = pack(&self.fc2, None, Algorithm::Direct)?;
        let macs_per_image = fc1.spec().weight_len() + fc2.spec().weight_len();
        let kernel = PackedSplitAttention::of_layers(conv, self.rsoftmax.radix, [fc1, fc2])
            .map_err(|error| Error::pack(&self.path, error))?;
        fuser.note(
            conv_path,
            &spec,
            ", split attention",
            algorithm,
            kernel.bytes(),
        );
        Ok(Fused {
            kernel,
            conv_path: conv_path.to_owned(),
            macs_per_pixel: spec.weight_len(),
            macs_per_image,
        })
    }

    /// The mean over height and width of the sum of the splits.
    ///
    /// Summing the means of the splits is the same and spares a pass over the feature map.
    fn gap(&self, splits: &Tensor, trace: &mut Trace) -> Result<Tensor> {
        let radix = self.rsoftmax.radix;
        let (n, chans, h, w) = splits.dims4()?;
        let chans = chans / radix;
        if radix > 1 {
            let view = "view (batch, radix, channels, H, W)";
            trace.shape(&self.path, view, &[n, radix, chans, h, w]);
            trace.shape(&self.path, "sum over radix", &[n, chans, h, w]);
        }
        let means = mean_hw(splits)?.reshape((n, radix, chans))?;
        let gap = means.sum(1)?.reshape((n, chans, 1, 1))?;
        trace.step(&self.path, "mean over H, W", &gap);
        Ok(gap)
    }

    /// Σ over the radix of split · weight.
    fn weigh(&self, splits: &Tensor, weights: &Tensor, trace: &mut Trace) -> Result<Tensor> {
        let radix = self.rsoftmax.radix;
        let (n, chans, ..) = splits.dims4()?;
        let chans = chans / radix;
        let weights = weights.reshape((n, radix * chans, 1, 1))?;
        let split = |r: usize| {
            let weights = weights.narrow(1, r * chans, chans)?;
            splits.narrow(1, r * chans, chans)?.broadcast_mul(&weights)
        };
        let mut out = split(0)?;
        for r in 1..radix {
            out = (out + split(r)?)?;
        }
        let operation = match radix {
            1 => "times the weights",
            _ => "times the splits, sum over radix",
        };
        trace.step(&self.path, operation, &out);
        Ok(out)
    }
}

impl Fused {
    fn describe(&self) -> String {
        let conv = self.kernel.convs().next();
        let conv = conv.map_or(String::new(), |conv| conv.spec().to_string());
        format!("split attention over {conv}")
    }

    /// Multiply-accumulates for one image; `out` is of the attention's height and width.
    fn macs(&self, out: &Tensor) -> u64 {
        let pixels = out.dims().iter().skip(2).product::<usize>();
        (pixels * self.macs_per_pixel + self.macs_per_image) as u64
    }
}

/// Width of the attention's hidden layer: a quarter of all splits' channels, at least 32, in steps
/// of 8.
pub(crate) fn attn_chans(chans: usize, radix: usize) -> usize {
    make_divisible((chans * radix) as f64 * 0.25, 8, 32, 0.9)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// Logits without any order, (2, chans, 1, 1).
    fn logits(chans: usize) -> Vec<f32> {
        (0..2 * chans)
            .map(|i| ((i * 7919 + 13) % 997) as f32 / 250.0 - 2.0)
            .collect()
    }

    fn run(radix: usize, cardinality: usize, x: &[f32]) -> Vec<Vec<f32>> {
        let x = Tensor::from_slice(x, (2, x.len() / 2, 1, 1), &Device::Cpu).unwrap();
        let rsoftmax = RadixSoftmax {
            radix,
            cardinality,
            path: String::new(),
        };
        let y = rsoftmax.forward(&x, &mut Trace::off()).unwrap();
        y.to_vec2().unwrap()
    }

    #[test]
    fn weights_of_a_channel_sum_to_one_over_the_radix_and_come_out_radix_major() {
        let c = 3;
        for (radix, cardinality) in [(2, 1), (2, 4), (4, 2), (3, 3)] {
            let x = logits(radix * cardinality * c);
            let got = run(radix, cardinality, &x);
            for (n, got) in got.iter().enumerate() {
                let logit = |k: usize, r: usize, i: usize| {
                    x[n * radix * cardinality * c + (k * radix + r) * c + i]
                };
                for (k, r, i) in
                    (0..got.len()).map(|j| (j / c % cardinality, j / c / cardinality, j % c))
                {
                    let sum: f32 = (0..radix).map(|r| logit(k, r, i).exp()).sum();
                    let expected = logit(k, r, i).exp() / sum;
                    let got = got[(r * cardinality + k) * c + i];
                    assert!((got - expected).abs() < 1e-6, "{got} is not {expected}");
                }
            }
        }
    }

    #[test]
    fn a_single_split_is_gated_by_a_sigmoid() {
        let x = logits(8);
        for (got, x) in run(1, 4, &x).concat().iter().zip(&x) {
            assert!((got - 1.0 / (1.0 + (-x).exp())).abs() < 1e-6);
        }
    }

    #[test]
    fn attention_widths_are_those_timm_gives() {
        let stages = |width: fn(usize) -> usize, radix| {
            [64, 128, 256, 512].map(|planes| attn_chans(width(planes), radix))
        };
        assert_eq!(stages(|p| p, 2), [32, 64, 128, 256]);
        assert_eq!(stages(|p| p / 64 * 40 * 2, 4), [80, 160, 320, 640]);
        assert_eq!(stages(|p| p * 24 / 64 * 4, 1), [32, 48, 96, 192]);
    }
}
