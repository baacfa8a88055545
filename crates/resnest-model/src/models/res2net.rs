//! Res2Net: the block and the named networks.
//!
//! Gao et al., *Res2Net: A New Multi-scale Backbone Architecture*, [arXiv:1904.01169]; timm's [`models/res2net.py`].
//!
//! [arXiv:1904.01169]: https://arxiv.org/abs/1904.01169
//! [`models/res2net.py`]: https://github.com/huggingface/pytorch-image-models/blob/main/timm/models/res2net.py

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;
use resnest_kernels::{Residual, Rest, SplitConvs};

use crate::block::{BlockSpec, Downsample, ResidualBlock};
use crate::config::{Block, Res2NetArgs, ResNetConfig};
use crate::error::Result as ModelResult;
use crate::fuse::Fuser;
use crate::layers::act::Act;
use crate::layers::conv::{Conv2d, Conv2dConfig};
use crate::layers::conv_bn_act::{conv_norm_act, conv_norm_add_act};
use crate::layers::norm::{Norm, Normalise};
use crate::layers::pool::{AvgPool2d, AvgPoolRule};
use crate::models::Named;
use crate::trace::Trace;

/// `Bottle2neck`: the middle of a bottleneck in `scale` splits, each but the last through a 3x3 of
/// its own, and each of these also seeing what the one before put out.
#[derive(Clone, Debug)]
pub(crate) struct Bottle2neck {
    conv1: Conv2d,
    bn1: Norm,
    convs: Vec<Conv2d>,
    bns: Vec<Norm>,
    /// In the first block of a stage: splits do not see each other, and the last one is pooled.
    pool: Option<AvgPool2d>,
    conv3: Conv2d,
    bn3: Norm,
    downsample: Option<Downsample>,
    width: usize,
    scale: usize,
    path: String,
}

impl Bottle2neck {
    pub(crate) fn new(spec: &BlockSpec, args: &Res2NetArgs, vb: VarBuilder) -> Result<Self> {
        let (width, scale) = (spec.width(), args.scale);
        let out = spec.out_chans;
        let norm = |chans, vb| Norm::new(spec.norm_layer, chans, vb);
        let convs = scale.saturating_sub(1).max(1);
        let conv = |i| Conv2d::new(width, width, spec.conv3x3(false), vb.pp("convs").pp(i));
        let one = Conv2dConfig::new(1, 1);
        let first = spec.stride > 1 || spec.downsample.is_some();
        let stride = spec.stride;
        Ok(Self {
            conv1: Conv2d::new(spec.in_chans, width * scale, one, vb.pp("conv1"))?,
            bn1: norm(width * scale, vb.pp("bn1"))?,
            convs: (0..convs).map(conv).collect::<Result<_>>()?,
            bns: (0..convs)
                .map(|i| norm(width, vb.pp("bns").pp(i)))
                .collect::<Result<_>>()?,
            pool: first
                .then(|| AvgPool2d::new(AvgPoolRule::Padded3x3 { stride }, vb.pp("pool").prefix())),
            conv3: Conv2d::new(width * scale, out, one, vb.pp("conv3"))?,
            bn3: norm(out, vb.pp("bn3"))?,
            downsample: Downsample::new(spec, out, vb.pp("downsample"))?,
            width,
            scale,
            path: vb.prefix(),
        })
    }

    /// (N, scale·width, H, W) → (N, scale·width, H', W').
    fn splits(&self, x: &Tensor, trace: &mut Trace) -> Result<Tensor> {
        if let Some(kernel) = self.kernel() {
            return self.splits_at_once(&kernel, x, trace);
        }
        let split = |i: usize| x.narrow(1, i * self.width, self.width);
        let mut out: Vec<Tensor> = Vec::with_capacity(self.scale);
        for (i, (conv, bn)) in self.convs.iter().zip(&self.bns).enumerate() {
            let input = match out.last() {
                Some(before) if self.pool.is_none() => add(before, &split(i)?)?,
                _ => split(i)?,
            };
            out.push(conv_norm_act(conv, bn, Act::Relu, &input, trace)?);
        }
        if self.scale > 1 {
            let last = split(self.scale - 1)?;
            out.push(match &self.pool {
                Some(pool) => pool.forward(&last, trace)?,
                None => last,
            });
        }
        let out = cat(&out)?;
        trace.step(&self.path, "splits side by side", &out);
        Ok(out)
    }

    /// All of that in one kernel, once the convolutions are packed with their norms.
    fn kernel(&self) -> Option<SplitConvs<'_>> {
        let pairs = self.convs.iter().zip(&self.bns);
        let convs = pairs.map(|(conv, bn)| bn.foldable().and(conv.packed()));
        Some(SplitConvs {
            convs: convs.collect::<Option<_>>()?,
            rest: match &self.pool {
                Some(pool) => Rest::Pooled(pool.kernel()),
                None => Rest::Chained,
            },
        })
    }

    fn splits_at_once(
        &self,
        kernel: &SplitConvs<'_>,
        x: &Tensor,
        trace: &mut Trace,
    ) -> Result<Tensor> {
        let out = kernel.forward(x)?;
        let operation = || {
            let each = self.convs.first().map(|conv| conv.spec().to_string());
            format!(
                "{} x {}, norm, relu, side by side",
                self.convs.len(),
                each.unwrap_or_default()
            )
        };
        let macs = || {
            let pixels = out.dims().iter().skip(2).product::<usize>();
            let taps = self.convs.iter().map(Conv2d::taps).sum::<usize>();
            (pixels * self.width * taps) as u64
        };
        let layers: Vec<_> = self.convs.iter().map(Conv2d::path).collect();
        trace.composite(&self.path, operation, &out, macs, &layers);
        Ok(out)
    }
}

/// `a + b`, both laid out as `a` is: splits are views with gaps.
fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let pixels = |t: &Tensor| t.permute((0, 2, 3, 1))?.contiguous();
    (pixels(a)? + pixels(b)?)?.permute((0, 3, 1, 2))
}

/// Channels side by side, in memory pixel by pixel.
fn cat(parts: &[Tensor]) -> Result<Tensor> {
    let pixels = |t: &Tensor| t.permute((0, 2, 3, 1))?.contiguous();
    let parts: Vec<_> = parts.iter().map(pixels).collect::<Result<_>>()?;
    Tensor::cat(&parts, 3)?.permute((0, 3, 1, 2))
}

impl ResidualBlock for Bottle2neck {
    fn forward(&self, x: Residual, trace: &mut Trace) -> Result<Tensor> {
        let out = conv_norm_act(&self.conv1, &self.bn1, Act::Relu, &x, trace)?;
        let out = self.splits(&out, trace)?;
        let shortcut = Downsample::shortcut(self.downsample.as_ref(), x, trace)?;
        conv_norm_add_act(&self.conv3, &self.bn3, shortcut, &out, trace)
    }

    fn fuse(&mut self, fuser: &mut Fuser) -> ModelResult<()> {
        self.conv1.fuse(self.bn1.foldable(), fuser)?;
        for (conv, bn) in self.convs.iter_mut().zip(&self.bns) {
            conv.fuse(bn.foldable(), fuser)?;
        }
        if let Some(pool) = &mut self.pool {
            pool.fuse();
        }
        if let Some(downsample) = &mut self.downsample {
            downsample.fuse(fuser)?;
        }
        self.conv3.fuse(self.bn3.foldable(), fuser)
    }

    fn weight_bytes(&self) -> usize {
        let downsample = self.downsample.as_ref().map_or(0, Downsample::weight_bytes);
        let convs = self.convs.iter().map(Conv2d::bytes).sum::<usize>();
        self.conv1.bytes() + convs + self.conv3.bytes() + downsample
    }
}

/// `scale` splits of `base_width` for 64 planes.
fn res2net(layers: [usize; 4], base_width: usize, scale: usize) -> ResNetConfig {
    let block = Block::Bottle2neck(Res2NetArgs { scale });
    ResNetConfig::resnet(block, layers).groups(1, base_width)
}

/// Every named network of the file.
pub(crate) const NAMED: &[Named] = &[
    ("res2net50_26w_4s", || res2net([3, 4, 6, 3], 26, 4)),
    ("res2net101_26w_4s", || res2net([3, 4, 23, 3], 26, 4)),
    ("res2net50_26w_6s", || res2net([3, 4, 6, 3], 26, 6)),
    ("res2net50_26w_8s", || res2net([3, 4, 6, 3], 26, 8)),
    ("res2net50_48w_2s", || res2net([3, 4, 6, 3], 48, 2)),
    ("res2net50_14w_8s", || res2net([3, 4, 6, 3], 14, 8)),
    ("res2next50", || res2net([3, 4, 6, 3], 4, 4).groups(8, 4)),
    ("res2net50d", || res2net([3, 4, 6, 3], 26, 4).d()),
    ("res2net101d", || res2net([3, 4, 23, 3], 26, 4).d()),
];
