//! Selective kernels: two convolutions of different reach, weighted channel by channel and added up.
//!
//! Li et al., *Selective Kernel Networks*, [arXiv:1903.06586]; timm's [`layers/selective_kernel.py`].
//!
//! [arXiv:1903.06586]: https://arxiv.org/abs/1903.06586
//! [`layers/selective_kernel.py`]: https://github.com/huggingface/pytorch-image-models/blob/main/timm/layers/selective_kernel.py

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use candle_nn::ops::softmax;
use resnest_kernels::{PackedSplitAttention, Residual};

use super::act::Act;
use super::conv::{Conv2d, Conv2dConfig};
use super::conv_bn_act::{ConvNormAct, conv_norm_act, conv_norm_add_act};
use super::gate::gated_sum;
use super::norm::{BatchNorm2d, Normalise};
use super::pool::GlobalAvg;
use crate::config::{AaLayer, NormLayer, SkArgs};
use crate::error::{Error, Result as ModelResult};
use crate::fuse::Fuser;
use crate::helpers::make_divisible;
use crate::trace::{Trace, per_image};

/// Paths of a selective kernel: a 3x3, and a 5x5 that is a 3x3 of twice the dilation.
pub(crate) const PATHS: usize = 2;

/// `SelectiveKernel`: the sum of two convolutions, weighted channel by channel by an attention.
#[derive(Clone, Debug)]
pub(crate) struct SelectiveKernel {
    paths: [ConvNormAct; PATHS],
    attn: SelectiveKernelAttn,
    split_input: bool,
    /// All of it in one kernel, once the layers are packed with their norms.
    kernel: Option<PackedSplitAttention>,
    path: String,
}

/// `SelectiveKernelAttn`: which path each channel takes.
#[derive(Clone, Debug)]
struct SelectiveKernelAttn {
    mean: GlobalAvg,
    fc_reduce: Conv2d,
    bn: BatchNorm2d,
    fc_select: Conv2d,
    path: String,
}

impl SelectiveKernel {
    /// `config` is the 3x3 convolution of the first path.
    pub(crate) fn new(
        in_chans: usize,
        out_chans: usize,
        config: Conv2dConfig,
        args: &SkArgs,
        layers: (NormLayer, Option<AaLayer>),
        vb: VarBuilder,
    ) -> Result<Self> {
        let in_chans = if args.split_input {
            in_chans / PATHS
        } else {
            in_chans
        };
        let path = |index: usize| {
            let config = Conv2dConfig {
                dilation: config.dilation * (index + 1),
                groups: config.groups.min(out_chans),
                ..config
            };
            ConvNormAct::new(
                in_chans,
                out_chans,
                config,
                layers,
                vb.pp("paths").pp(index),
            )
        };
        Ok(Self {
            paths: [path(0)?, path(1)?],
            attn: SelectiveKernelAttn::new(out_chans, attn_chans(out_chans, args), vb.pp("attn"))?,
            split_input: args.split_input,
            kernel: None,
            path: vb.prefix(),
        })
    }

    /// (N, C, H, W) → (N, C', H', W').
    pub(crate) fn forward(&self, x: &Tensor, trace: &mut Trace) -> Result<Tensor> {
        if let Some(kernel) = &self.kernel {
            let y = kernel.forward(x)?;
            let (operation, macs) = (|| self.describe(), || self.macs(&y));
            trace.composite(&self.path, operation, &y, macs, &self.layers());
            return Ok(y);
        }
        let chans = x.dim(1)?;
        let [first, second] = &self.paths;
        let (a, b) = match self.split_input {
            true => {
                let half = chans / PATHS;
                (x.narrow(1, 0, half)?, x.narrow(1, half, half)?)
            }
            false => (x.clone(), x.clone()),
        };
        let a = first.forward(Act::Relu, &a, trace)?;
        let b = second.forward(Act::Relu, &b, trace)?;
        let weights = self.attn.forward([&a, &b], trace)?; // (N, 2, C')
        let fused = first.conv.packed().is_some();
        let y = gated_sum(fused, &[&a, &b], &weights, None)?;
        trace.step(&self.path, "times the paths, sum over paths", &y);
        Ok(y)
    }

    /// The end of a block: the selection, and [`conv_norm_add_act`] of it. Fused, what is selected goes into the
    /// convolution without being stored.
    pub(crate) fn forward_then(
        &self,
        last: &ConvNormAct,
        shortcut: Residual,
        x: &Tensor,
        trace: &mut Trace,
    ) -> Result<Tensor> {
        let next = last.bn.foldable().and(last.conv.packed());
        if let (Some(kernel), Some(next)) = (&self.kernel, next) {
            let y = kernel.forward_then(x, next, Some(shortcut), true)?;
            let operation = || {
                let (selection, last) = (self.describe(), next.spec());
                format!("{selection}, then {last}, norm, + shortcut, relu")
            };
            let macs = || {
                self.macs(&y)
                    .saturating_add(per_image(&y, last.conv.taps()))
            };
            let mut layers = self.layers();
            layers.push(last.conv.path());
            trace.composite(&self.path, operation, &y, macs, &layers);
            return Ok(y);
        }
        let x = self.forward(x, trace)?;
        conv_norm_add_act(&last.conv, &last.bn, shortcut, &x, trace)
    }

    fn describe(&self) -> String {
        let paths: Vec<_> = self
            .paths
            .iter()
            .map(|p| p.conv.spec().to_string())
            .collect();
        format!("selection of {}", paths.join(" and "))
    }

    fn layers(&self) -> Vec<&str> {
        let paths = self.paths.iter().map(|path| path.conv.path());
        paths
            .chain([self.attn.fc_reduce.path(), self.attn.fc_select.path()])
            .collect()
    }

    /// Multiply-accumulates for one image; `out` is of the paths' height and width.
    fn macs(&self, out: &Tensor) -> u64 {
        let pixels = out.dims().iter().skip(2).product::<usize>();
        let of = |conv: &Conv2d| conv.spec().weight_len();
        let paths: usize = self.paths.iter().map(|path| of(&path.conv)).sum();
        let attn = of(&self.attn.fc_reduce) + of(&self.attn.fc_select);
        (pixels * paths + attn) as u64
    }

    pub(crate) fn fuse(&mut self, fuser: &mut Fuser) -> ModelResult<()> {
        for path in &mut self.paths {
            path.fuse(fuser)?;
        }
        self.attn.fuse(fuser)?;
        self.kernel = self.packed().transpose()?;
        Ok(())
    }

    /// The kernel of all layers, if each of them is packed with its norm and there is no anti-aliasing between them.
    fn packed(&self) -> Option<ModelResult<PackedSplitAttention>> {
        let path = |path: &ConvNormAct| path.whole().then(|| path.conv.shared())?;
        let paths = self.paths.iter().map(path).collect::<Option<_>>()?;
        let attn = &self.attn;
        let fcs = [attn.fc_reduce.shared()?, attn.fc_select.shared()?];
        let kernel = PackedSplitAttention::selective(paths, self.split_input, fcs);
        Some(kernel.map_err(|error| Error::pack(&self.path, error)))
    }

    /// Bytes of weights held.
    pub(crate) fn bytes(&self) -> usize {
        let paths = self.paths.iter().map(ConvNormAct::bytes);
        paths.sum::<usize>() + self.attn.fc_reduce.bytes() + self.attn.fc_select.bytes()
    }
}

/// Width of the attention's hidden layer.
fn attn_chans(out_chans: usize, args: &SkArgs) -> usize {
    make_divisible(
        out_chans as f64 * args.rd_ratio,
        args.rd_divisor,
        args.rd_divisor,
        0.9,
    )
}

impl SelectiveKernelAttn {
    fn new(chans: usize, attn_chans: usize, vb: VarBuilder) -> Result<Self> {
        let one = Conv2dConfig::new(1, 1);
        Ok(Self {
            mean: GlobalAvg::default(),
            fc_reduce: Conv2d::new(chans, attn_chans, one, vb.pp("fc_reduce"))?,
            bn: BatchNorm2d::new(attn_chans, vb.pp("bn"))?,
            fc_select: Conv2d::new(attn_chans, chans * PATHS, one, vb.pp("fc_select"))?,
            path: vb.prefix(),
        })
    }

    /// Two maps (N, C, H, W) → (N, 2, C), whose two weights of a channel add up to 1.
    fn forward(&self, paths: [&Tensor; PATHS], trace: &mut Trace) -> Result<Tensor> {
        // The mean of the sum is the sum of the means.
        let [a, b] = paths;
        let sum = (self.mean.of(a)? + self.mean.of(b)?)?;
        trace.step(&self.path, "sum over paths, mean over H, W", &sum);
        let (n, c) = sum.dims2()?;
        let hidden = sum.reshape((n, c, 1, 1))?;
        let hidden = conv_norm_act(&self.fc_reduce, &self.bn, Act::Relu, &hidden, trace)?;
        let logits = self.fc_select.forward(&hidden, trace)?;
        let logits = logits.reshape((n, PATHS, c))?;
        // candle takes no maximum over an empty batch.
        let weights = if n == 0 { logits } else { softmax(&logits, 1)? };
        trace.step(&self.path, "softmax over paths", &weights);
        Ok(weights)
    }

    fn fuse(&mut self, fuser: &mut Fuser) -> ModelResult<()> {
        self.mean.fuse();
        self.fc_reduce.fuse(Some(&self.bn), fuser)?;
        self.fc_select.fuse(None, fuser)
    }
}
