//! The shortcut of a block that changes shape (`downsample_avg`, `downsample_conv`).

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::error::Result as ModelResult;
use crate::fuse::Fuser;
use crate::helpers::get_padding;
use crate::layers::conv::{Act, Conv2d, Conv2dConfig, Held, conv_norm_act};
use crate::layers::norm::{Norm, Normalise};
use crate::layers::pool::{AvgPool2d, AvgPoolRule};
use crate::network::BlockSpec;
use crate::trace::Trace;

/// How a shortcut changes shape.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DownsampleKind {
    /// `downsample_avg`.
    Avg,
    /// `downsample_conv`, its kernel where it does more than change the width.
    Conv { kernel: usize },
}

/// The shortcut of a block that changes shape: an optional pool, a convolution and a norm.
#[derive(Clone, Debug)]
pub(crate) struct Downsample {
    pool: Option<AvgPool2d>,
    conv: Conv2d,
    norm: Norm,
}

impl Downsample {
    /// `None` where the shortcut is the input itself.
    pub(crate) fn new(spec: &BlockSpec, out_chans: usize, vb: VarBuilder) -> Result<Option<Self>> {
        let Some(kind) = spec.downsample else {
            return Ok(None);
        };
        // `downsample_avg` has its pool at index 0, be it an Identity; `downsample_conv` has none.
        let one = Conv2dConfig::new(1, 1);
        let (pool, conv, first) = match kind {
            DownsampleKind::Conv { kernel } => (None, strided(spec, kernel), 0),
            DownsampleKind::Avg if spec.dilation > 1 => (Some(AvgPoolRule::Same2x2), one, 1),
            DownsampleKind::Avg if spec.stride > 1 => (Some(AvgPoolRule::Ceil2x2), one, 1),
            DownsampleKind::Avg => (None, one, 1),
        };
        Ok(Some(Self {
            pool: pool.map(|rule| AvgPool2d::new(rule, vb.pp(0).prefix())),
            conv: Conv2d::new(spec.in_chans, out_chans, conv, vb.pp(first))?,
            norm: Norm::new(spec.norm_layer, out_chans, vb.pp(first + 1))?,
        }))
    }

    fn forward(&self, x: &Tensor, trace: &mut Trace) -> Result<Tensor> {
        let pooled = match &self.pool {
            Some(pool) => &pool.forward(x, trace)?,
            None => x,
        };
        conv_norm_act(&self.conv, &self.norm, Act::Identity, pooled, trace)
    }

    /// What a block adds to its own result: its input, or what a downsampling makes of it.
    pub(crate) fn shortcut<'a>(
        downsample: Option<&Self>,
        x: Held<'a>,
        trace: &mut Trace,
    ) -> Result<Held<'a>> {
        match downsample {
            Some(downsample) => Ok(Held::Own(downsample.forward(&x, trace)?)),
            None => Ok(x),
        }
    }

    pub(crate) fn fuse(&mut self, fuser: &mut Fuser) -> ModelResult<()> {
        if let Some(pool) = &mut self.pool {
            pool.fuse();
        }
        self.conv.fuse(self.norm.foldable(), fuser)
    }

    pub(crate) fn weight_bytes(&self) -> usize {
        self.conv.bytes()
    }
}

/// The convolution of a shortcut without pool.
fn strided(spec: &BlockSpec, kernel: usize) -> Conv2dConfig {
    let changes_width_only = spec.stride == 1 && spec.dilation == 1;
    let kernel = if changes_width_only { 1 } else { kernel };
    let dilation = if kernel > 1 { spec.first_dilation } else { 1 };
    Conv2dConfig {
        padding: get_padding(kernel, spec.stride, dilation),
        dilation,
        ..Conv2dConfig::new(kernel, spec.stride)
    }
}
