//! The trunk: stem, four stages of residual blocks, head (`timm/models/resnet.py`).
//!
//! It knows nothing of what is inside a block. A new kind of block is a [`ResidualBlock`], an arm
//! in [`new_block`] and a variant of [`Block`].

use std::collections::HashMap;
use std::fmt::Debug;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::VarBuilder;

use crate::config::{Block, ResNetConfig, StemType};
use crate::error::{Error, Result as ModelResult};
use crate::feature::{self, FeatureInfo};
use crate::fuse::{FuseOptions, Fuser, PlannedLayer, check_fusable};
use crate::layers::{Act, BatchNorm2d, Conv2d, Conv2dConfig, Linear, conv_norm_act};
use crate::pool::{AvgPool2d, AvgPoolRule, MaxPool2d, SelectAdaptivePool2d};
use crate::resnest::ResNestBottleneck;
use crate::spec::weightless;
use crate::trace::{Met, TimedStep, Trace};

/// A residual block: (N, C, H, W) → (N, C', H', W').
pub(crate) trait ResidualBlock: Debug + Send + Sync {
    fn forward(&self, x: &Tensor, trace: &mut Trace) -> Result<Tensor>;

    /// Fuses each layer, in the order they run.
    fn fuse(&mut self, fuser: &mut Fuser) -> ModelResult<()>;

    /// Bytes of weights held by convolutions.
    fn weight_bytes(&self) -> usize;
}

/// What the trunk tells a block about its place (the arguments of timm's block constructors).
#[derive(Clone, Debug)]
pub(crate) struct BlockSpec {
    /// The checkpoint's name, such as `layer1.0`.
    pub path: String,
    pub in_chans: usize,
    pub planes: usize,
    pub stride: usize,
    /// Dilation of the stage.
    pub dilation: usize,
    /// Dilation of this block's 3x3: in the first block of a dilated stage still the one before.
    pub first_dilation: usize,
    pub cardinality: usize,
    pub base_width: usize,
    /// Whether the shortcut changes shape, and by which kind of downsampling.
    pub downsample: Option<DownsampleKind>,
}

/// How a shortcut changes shape.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DownsampleKind {
    /// `downsample_avg`.
    Avg,
    /// `downsample_conv`.
    Conv,
}

/// timm's ResNet, built from a [`ResNetConfig`]. Immutable and shareable between threads.
#[derive(Debug)]
pub struct ResNet {
    conv1: Stem,
    bn1: BatchNorm2d,
    maxpool: MaxPool2d,
    /// `layer1` … `layer4`.
    layers: [Vec<Box<dyn ResidualBlock>>; 4],
    global_pool: SelectAdaptivePool2d,
    fc: Option<Linear>,
    config: ResNetConfig,
    /// Once the network is fused.
    plan: Option<Vec<PlannedLayer>>,
    /// Forwards of the fused network, up to [`SETTLE_AT`].
    forwards: AtomicUsize,
}

/// Bytes of a map of the first stage that are worth computing at once: several such maps stay in
/// a last-level cache of 16 MB. Below it a batch's weights are shared, above it its maps travel.
const MAP_BYTES: usize = 4 << 20;

/// After so many forwards a fused network takes a process for one with many more to come.
const SETTLE_AT: usize = 16;

impl ResNet {
    /// Builds the network with the tensors of `vb`, whose names are those of timm's state dict.
    ///
    /// # Errors
    /// [`Error::Config`] if the options do not fit together, [`Error::Candle`] if a tensor is
    /// missing or misshaped.
    pub fn new(config: &ResNetConfig, vb: VarBuilder) -> ModelResult<Self> {
        config.validate()?;
        let stem = new_stem(config, &vb)?;
        let specs = block_specs(config);
        let blocks = specs.iter().map(|spec| new_block(config, spec, &vb));
        let blocks = blocks.collect::<Result<_>>()?;
        let fc = new_classifier(config, &vb)?;
        Ok(Self::assemble(config, stem, blocks, fc))
    }

    /// Builds the network [fused](Self::fuse), in one go: each block is packed as soon as it is read,
    /// on [`current_threads`](crate::current_threads) threads, so that at no time are all weights
    /// held twice. `vb` must give f32 on the CPU.
    ///
    /// # Errors
    /// As [`new`](Self::new) and [`fuse`](Self::fuse).
    pub fn fused(
        config: &ResNetConfig,
        vb: VarBuilder,
        options: &FuseOptions,
    ) -> ModelResult<Self> {
        check_fusable(&vb.prefix(), vb.dtype(), vb.device())?;
        let (nothing, _) = weightless(config)?;
        let mut fuser = Fuser::new(options, nothing.meet(options.input_size)?)?;
        let mut stem = new_stem(config, &vb)?;
        stem.0.fuse(&stem.1, &mut fuser)?;
        let specs = block_specs(config);
        let parts = fuser.each(specs.len() + 1, |index, fuser| {
            let Some(spec) = specs.get(index) else {
                let mut fc = new_classifier(config, &vb)?;
                fc.iter_mut().try_for_each(|fc| fc.fuse(fuser))?;
                return Ok((None, fc));
            };
            let mut block = new_block(config, spec, &vb)?;
            block.fuse(fuser)?;
            Ok((Some(block), None))
        })?;
        let (blocks, fc): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let blocks = blocks.into_iter().flatten().collect();
        let mut model = Self::assemble(config, stem, blocks, fc.into_iter().flatten().next());
        model.maxpool.fuse();
        model.global_pool.fuse();
        model.plan = Some(fuser.into_plan());
        Ok(model)
    }

    /// `blocks` are those of all stages, in order.
    fn assemble(
        config: &ResNetConfig,
        (conv1, bn1): (Stem, BatchNorm2d),
        blocks: Vec<Box<dyn ResidualBlock>>,
        fc: Option<Linear>,
    ) -> Self {
        let mut blocks = blocks.into_iter();
        Self {
            conv1,
            bn1,
            maxpool: MaxPool2d::default(),
            layers: config.layers.map(|n| blocks.by_ref().take(n).collect()),
            global_pool: SelectAdaptivePool2d::new(config.global_pool),
            fc,
            config: config.clone(),
            plan: None,
            forwards: AtomicUsize::new(0),
        }
    }

    /// Turns the network into one that runs on the kernels of `resnest-kernels`: norms folded into
    /// convolutions, an algorithm for every layer, weights packed once. It answers the same calls
    /// with the same values, within the bounds of [`Precision`](crate::Precision), for f32 images
    /// on the CPU of any size; results are equal in every bit for any number of threads. Maps it
    /// gives are ordinary (N, C, H, W) tensors whose memory is channels-last.
    ///
    /// Packs on [`current_threads`](crate::current_threads) threads. The original weights are dropped
    /// layer by layer, so the peak of memory is little more than the larger of the two sets of weights;
    /// [`fused`](Self::fused) does not even read them all at once.
    ///
    /// # Errors
    /// [`Error::Fuse`] if the weights are not f32 on the CPU, if the network is fused already, or
    /// for a choice in `algorithms` that names no layer or that the layer cannot take;
    /// [`Error::Input`] for an empty `input_size`. The network then runs as before.
    pub fn fuse(&mut self, options: &FuseOptions) -> ModelResult<()> {
        if self.is_fused() {
            let reason = "it is fused already; load it again for other options";
            return Err(Error::fuse("", reason));
        }
        self.conv1.first().check_fusable()?;
        let mut fuser = Fuser::new(options, self.meet(options.input_size)?)?;
        self.conv1.fuse(&self.bn1, &mut fuser)?;
        self.maxpool.fuse();
        let blocks: Vec<_> = self.layers.iter_mut().flatten().map(Mutex::new).collect();
        fuser.each(blocks.len(), |index, fuser| {
            let mut block = blocks[index].lock().unwrap_or_else(PoisonError::into_inner);
            block.fuse(fuser)
        })?;
        self.global_pool.fuse();
        if let Some(fc) = &mut self.fc {
            fc.fuse(&mut fuser)?;
        }
        self.plan = Some(fuser.into_plan());
        Ok(())
    }

    /// Whether the network runs on the fused kernels.
    pub fn is_fused(&self) -> bool {
        self.plan.is_some()
    }

    /// How every layer is computed, in the order of the network; empty unless it is fused.
    pub fn plan(&self) -> &[PlannedLayer] {
        self.plan.as_deref().unwrap_or_default()
    }

    /// Bytes of weights held by convolutions and classifier, packed or as read.
    pub fn weight_bytes(&self) -> usize {
        let blocks = self.layers.iter().flatten();
        self.conv1.weight_bytes()
            + blocks.map(|block| block.weight_bytes()).sum::<usize>()
            + self.fc.as_ref().map_or(0, Linear::bytes)
    }

    /// [`forward`](Self::forward), and how long each step of it took.
    ///
    /// # Errors
    /// [`Error::Input`] for an image of another shape.
    pub fn profile(&self, x: &Tensor) -> ModelResult<(Tensor, Vec<TimedStep>)> {
        let mut trace = Trace::timing();
        let y = self.run(x, &mut trace)?;
        Ok((y, trace.into_timed_steps()))
    }

    /// The plan of [`fuse`](Self::fuse), each block's packed weights freed before the next one's are
    /// made.
    pub(crate) fn into_plan(mut self, options: &FuseOptions) -> ModelResult<Vec<PlannedLayer>> {
        let mut fuser = Fuser::new(options, self.meet(options.input_size)?)?;
        self.conv1.fuse(&self.bn1, &mut fuser)?;
        for mut block in self.layers.into_iter().flatten() {
            block.fuse(&mut fuser)?;
        }
        if let Some(fc) = &mut self.fc {
            fc.fuse(&mut fuser)?;
        }
        Ok(fuser.into_plan())
    }

    /// Every layer as it is met by images of the given size.
    pub(crate) fn meet(&self, size: (usize, usize)) -> ModelResult<HashMap<String, Met>> {
        let shape = (0, self.config.in_chans, size.0, size.1);
        let nothing = Tensor::zeros(shape, DType::F32, &Device::Cpu)?;
        let mut trace = Trace::recording();
        self.run(&nothing, &mut trace)?;
        Ok(trace.into_met())
    }

    /// What the network was built from.
    pub fn config(&self) -> &ResNetConfig {
        &self.config
    }

    /// Channels of the last feature map.
    pub fn num_features(&self) -> usize {
        self.config.num_features()
    }

    /// The places where [`forward_intermediates`](Self::forward_intermediates) takes features, as
    /// timm lists them.
    pub fn feature_info(&self) -> Vec<FeatureInfo> {
        feature::feature_info(&self.config)
    }

    /// Normalised images (N, in_chans, H, W), any H and W → logits (N, num_classes). Without
    /// classes: pooled features (N, num_features), or without a pool too, the map (N, num_features,
    /// H', W').
    ///
    /// # Errors
    /// [`Error::Input`] for another shape.
    pub fn forward(&self, x: &Tensor) -> ModelResult<Tensor> {
        self.run(x, &mut Trace::off())
    }

    /// (N, in_chans, H, W) → the last feature map (N, num_features, H', W').
    ///
    /// # Errors
    /// [`Error::Input`] for another shape.
    pub fn forward_features(&self, x: &Tensor) -> ModelResult<Tensor> {
        self.check_input(x)?;
        Ok(self.last_map(x, &mut Trace::off())?)
    }

    /// The last feature map → logits, or with `pre_logits` what enters the classifier.
    ///
    /// # Errors
    /// [`Error::Input`] for a tensor that is not such a map.
    pub fn forward_head(&self, x: &Tensor, pre_logits: bool) -> ModelResult<Tensor> {
        let chans = self.num_features();
        check_map(x, chans, || format!("a feature map (batch, {chans}, H, W)"))?;
        Ok(self.head(x, pre_logits, &mut Trace::off())?)
    }

    /// The last feature map and the maps at the chosen taps of
    /// [`feature_info`](Self::feature_info), in the network's order; negative indices count from
    /// the end (timm: `forward_intermediates`).
    ///
    /// # Errors
    /// [`Error::FeatureIndex`], [`Error::Input`].
    pub fn forward_intermediates(
        &self,
        x: &Tensor,
        indices: &[isize],
    ) -> ModelResult<(Tensor, Vec<Tensor>)> {
        self.check_input(x)?;
        self.take(x, indices, 4)
    }

    /// The maps at the chosen taps alone; stages beyond the last of them are not computed (timm:
    /// `features_only` with `out_indices`).
    ///
    /// # Errors
    /// [`Error::FeatureIndex`], [`Error::Input`].
    pub fn forward_features_at(
        &self,
        x: &Tensor,
        out_indices: &[isize],
    ) -> ModelResult<Vec<Tensor>> {
        self.check_input(x)?;
        let last = feature::take_indices(out_indices)?.into_iter().max();
        match last {
            Some(last) => Ok(self.take(x, out_indices, last)?.1),
            None => Ok(Vec::new()),
        }
    }

    /// The classifier, leaving a network that ends with its pool (`reset_classifier(0)`).
    pub(crate) fn take_classifier(&mut self) -> Option<Linear> {
        self.config.num_classes = 0;
        self.fc.take()
    }

    /// The layer behind [`forward_head`](Self::forward_head), if there are classes.
    pub(crate) fn classifier(&self) -> Option<&Linear> {
        self.fc.as_ref()
    }

    pub(crate) fn run(&self, x: &Tensor, trace: &mut Trace) -> ModelResult<Tensor> {
        self.check_input(x)?;
        self.settle();
        let x = self.last_map(x, trace)?;
        Ok(self.head(&x, false, trace)?)
    }

    /// Stem and all stages. The fused network computes stem and first stage, whose maps are large and
    /// whose weights are few, for a few images at a time, unless steps are recorded.
    fn last_map(&self, x: &Tensor, trace: &mut Trace) -> Result<Tensor> {
        let (n, _, h, w) = x.dims4()?;
        let map = h.div_ceil(4) * w.div_ceil(4) * self.num_features() / 8 * size_of::<f32>();
        let at_once = (MAP_BYTES / map.max(1)).max(1);
        if !self.is_fused() || trace.is_on() || n <= at_once {
            return self.features(x, trace, 4, &mut |_, _| {});
        }
        let mut parts = Vec::with_capacity(n.div_ceil(at_once));
        for first in (0..n).step_by(at_once) {
            let part = x.narrow(0, first, at_once.min(n - first))?;
            let map = self.features(&part, trace, 1, &mut |_, _| {})?;
            parts.push(map.permute((0, 2, 3, 1))?);
        }
        let x = Tensor::cat(&parts, 0)?.permute((0, 3, 1, 2))?;
        self.stages(x, trace, 1..4, &mut |_, _| {})
    }

    /// Moves the weights into larger pages, once, beside the forwards of a long-lived process.
    fn settle(&self) {
        if self.is_fused()
            && self.forwards.load(Ordering::Relaxed) < SETTLE_AT
            && self.forwards.fetch_add(1, Ordering::Relaxed) + 1 == SETTLE_AT
        {
            let helper = std::thread::Builder::new().name("resnest-settle".into());
            // Without it everything works as well, only slower.
            let _ = helper.spawn(resnest_kernels::settle_weights);
        }
    }

    fn take(
        &self,
        x: &Tensor,
        indices: &[isize],
        stages: usize,
    ) -> ModelResult<(Tensor, Vec<Tensor>)> {
        let wanted = feature::take_indices(indices)?;
        let mut taken = Vec::with_capacity(wanted.len());
        let mut take = |tap: usize, map: &Tensor| {
            if wanted.contains(&tap) {
                taken.push(map.clone());
            }
        };
        let last = self.features(x, &mut Trace::off(), stages, &mut take)?;
        Ok((last, taken))
    }

    /// Stem and the first `stages` stages; `tap` sees the stem as 0 and stage n as n.
    fn features(
        &self,
        x: &Tensor,
        trace: &mut Trace,
        stages: usize,
        tap: &mut dyn FnMut(usize, &Tensor),
    ) -> Result<Tensor> {
        let mut x = self.conv1.forward(x, &self.bn1, trace)?;
        tap(0, &x);
        if stages == 0 {
            return Ok(x);
        }
        x = self.maxpool.forward(&x, trace)?;
        self.stages(x, trace, 0..stages, tap)
    }

    /// Some stages; `tap` sees stage n as n, counted from 1.
    fn stages(
        &self,
        mut x: Tensor,
        trace: &mut Trace,
        stages: Range<usize>,
        tap: &mut dyn FnMut(usize, &Tensor),
    ) -> Result<Tensor> {
        for i in stages {
            for block in &self.layers[i] {
                x = block.forward(&x, trace)?;
            }
            tap(i + 1, &x);
        }
        Ok(x)
    }

    fn head(&self, x: &Tensor, pre_logits: bool, trace: &mut Trace) -> Result<Tensor> {
        let x = self.global_pool.forward(x, trace)?;
        match &self.fc {
            Some(fc) if !pre_logits => fc.forward(&x, trace),
            _ => Ok(x),
        }
    }

    fn check_input(&self, x: &Tensor) -> ModelResult<()> {
        let chans = self.config.in_chans;
        check_map(x, chans, || {
            format!("images (batch, {chans}, height, width) with in_chans = {chans}")
        })
    }
}

/// Rank 4, the right channels, and no empty side.
fn check_map(x: &Tensor, chans: usize, expected: impl Fn() -> String) -> ModelResult<()> {
    match *x.dims() {
        [_, c, h, w] if c == chans && h > 0 && w > 0 => Ok(()),
        _ => Err(Error::Input {
            expected: expected(),
            got: x.dims().to_vec(),
        }),
    }
}

/// The first convolutions, up to and including `bn1` and `act1`.
#[derive(Debug)]
enum Stem {
    Conv7x7(Conv2d),
    Deep(Box<DeepStem>),
}

/// `conv1` as a sequence; the numbers are the indices in the checkpoint's names.
#[derive(Debug)]
struct DeepStem {
    conv_0: Conv2d,
    norm_1: BatchNorm2d,
    conv_3: Conv2d,
    norm_4: BatchNorm2d,
    conv_6: Conv2d,
}

impl Stem {
    fn new(config: &ResNetConfig, vb: VarBuilder) -> Result<Self> {
        let width = config.stem_width;
        let first = match config.stem_type {
            StemType::Conv7x7 => {
                let conv = Conv2d::new(config.in_chans, 64, Conv2dConfig::new(7, 2), vb)?;
                return Ok(Stem::Conv7x7(conv));
            }
            StemType::Deep => width,
            StemType::DeepTiered => 3 * (width / 4),
        };
        let conv = Conv2dConfig::new(3, 1);
        let conv_s2 = Conv2dConfig::new(3, 2);
        Ok(Stem::Deep(Box::new(DeepStem {
            conv_0: Conv2d::new(config.in_chans, first, conv_s2, vb.pp(0))?,
            norm_1: BatchNorm2d::new(first, vb.pp(1))?,
            conv_3: Conv2d::new(first, width, conv, vb.pp(3))?,
            norm_4: BatchNorm2d::new(width, vb.pp(4))?,
            conv_6: Conv2d::new(width, width * 2, conv, vb.pp(6))?,
        })))
    }

    /// The network's first convolution.
    fn first(&self) -> &Conv2d {
        match self {
            Stem::Conv7x7(conv) => conv,
            Stem::Deep(stem) => &stem.conv_0,
        }
    }

    fn fuse(&mut self, bn1: &BatchNorm2d, fuser: &mut Fuser) -> ModelResult<()> {
        let stem = match self {
            Stem::Conv7x7(conv) => return conv.fuse(Some(bn1), fuser),
            Stem::Deep(stem) => stem,
        };
        stem.conv_0.fuse(Some(&stem.norm_1), fuser)?;
        stem.conv_3.fuse(Some(&stem.norm_4), fuser)?;
        stem.conv_6.fuse(Some(bn1), fuser)
    }

    fn weight_bytes(&self) -> usize {
        match self {
            Stem::Conv7x7(conv) => conv.bytes(),
            Stem::Deep(stem) => stem.conv_0.bytes() + stem.conv_3.bytes() + stem.conv_6.bytes(),
        }
    }

    fn forward(&self, x: &Tensor, bn1: &BatchNorm2d, trace: &mut Trace) -> Result<Tensor> {
        let stem = match self {
            Stem::Conv7x7(conv) => return conv_norm_act(conv, bn1, Act::Relu, x, trace),
            Stem::Deep(stem) => stem,
        };
        let x = conv_norm_act(&stem.conv_0, &stem.norm_1, Act::Relu, x, trace)?;
        let x = conv_norm_act(&stem.conv_3, &stem.norm_4, Act::Relu, &x, trace)?;
        conv_norm_act(&stem.conv_6, bn1, Act::Relu, &x, trace)
    }
}

/// The shortcut of a block that changes shape: an optional pool, a 1x1 convolution and a norm.
#[derive(Debug)]
pub(crate) struct Downsample {
    pool: Option<AvgPool2d>,
    conv: Conv2d,
    norm: BatchNorm2d,
}

impl Downsample {
    /// `None` where the shortcut is the input itself.
    pub(crate) fn new(spec: &BlockSpec, out_chans: usize, vb: VarBuilder) -> Result<Option<Self>> {
        let Some(kind) = spec.downsample else {
            return Ok(None);
        };
        // `downsample_avg` has its pool at index 0, be it an Identity; `downsample_conv` has none.
        let (pool, stride, first) = match kind {
            DownsampleKind::Conv => (None, spec.stride, 0),
            DownsampleKind::Avg if spec.dilation > 1 => (Some(AvgPoolRule::Same2x2), 1, 1),
            DownsampleKind::Avg if spec.stride > 1 => (Some(AvgPoolRule::Ceil2x2), 1, 1),
            DownsampleKind::Avg => (None, 1, 1),
        };
        let conv = Conv2dConfig::new(1, stride);
        Ok(Some(Self {
            pool: pool.map(|rule| AvgPool2d::new(rule, vb.pp(0).prefix())),
            conv: Conv2d::new(spec.in_chans, out_chans, conv, vb.pp(first))?,
            norm: BatchNorm2d::new(out_chans, vb.pp(first + 1))?,
        }))
    }

    pub(crate) fn forward(&self, x: &Tensor, trace: &mut Trace) -> Result<Tensor> {
        let pooled = match &self.pool {
            Some(pool) => &pool.forward(x, trace)?,
            None => x,
        };
        conv_norm_act(&self.conv, &self.norm, Act::Identity, pooled, trace)
    }

    pub(crate) fn fuse(&mut self, fuser: &mut Fuser) -> ModelResult<()> {
        if let Some(pool) = &mut self.pool {
            pool.fuse();
        }
        self.conv.fuse(Some(&self.norm), fuser)
    }

    pub(crate) fn weight_bytes(&self) -> usize {
        self.conv.bytes()
    }
}

/// `conv1` and `bn1`.
fn new_stem(config: &ResNetConfig, vb: &VarBuilder) -> Result<(Stem, BatchNorm2d)> {
    let chans = config.stem_type.out_chans(config.stem_width);
    let conv1 = Stem::new(config, vb.pp("conv1"))?;
    Ok((conv1, BatchNorm2d::new(chans, vb.pp("bn1"))?))
}

/// `fc`, unless there are no classes.
fn new_classifier(config: &ResNetConfig, vb: &VarBuilder) -> Result<Option<Linear>> {
    match config.num_classes {
        0 => Ok(None),
        classes => Linear::new(config.head_features(), classes, vb.pp("fc")).map(Some),
    }
}

/// `make_blocks`: where each block gets its stride and dilation.
fn block_specs(config: &ResNetConfig) -> Vec<BlockSpec> {
    let expansion = config.block.expansion();
    let (mut net_stride, mut dilation, mut first_dilation) = (4, 1, 1);
    let mut in_chans = config.stem_type.out_chans(config.stem_width);
    let mut specs = Vec::new();
    for (i, planes) in config.channels.into_iter().enumerate() {
        let mut stride = if i == 0 { 1 } else { 2 };
        if net_stride >= config.output_stride {
            dilation *= stride;
            stride = 1;
        } else {
            net_stride *= stride;
        }
        for block in 0..config.layers[i] {
            let changes_shape = stride != 1 || in_chans != planes * expansion;
            let kind = match config.avg_down {
                true => DownsampleKind::Avg,
                false => DownsampleKind::Conv,
            };
            specs.push(BlockSpec {
                path: format!("layer{}.{block}", i + 1),
                in_chans,
                planes,
                stride,
                dilation,
                first_dilation,
                cardinality: config.cardinality,
                base_width: config.base_width,
                downsample: (block == 0 && changes_shape).then_some(kind),
            });
            stride = 1;
            first_dilation = dilation;
            in_chans = planes * expansion;
        }
    }
    specs
}

fn new_block(
    config: &ResNetConfig,
    spec: &BlockSpec,
    vb: &VarBuilder,
) -> Result<Box<dyn ResidualBlock>> {
    let vb = vb.pp(&spec.path);
    match &config.block {
        Block::ResNest(args) => Ok(Box::new(ResNestBottleneck::new(spec, args, vb)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> ResNet {
        let weights = VarBuilder::zeros(DType::F32, &Device::Cpu);
        ResNet::new(&ResNetConfig::resnest14d(), weights).unwrap()
    }

    fn zeros(shape: &[usize]) -> Tensor {
        Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap()
    }

    #[test]
    fn an_input_that_does_not_fit_is_told_what_would() {
        let model = model();
        for shape in [
            &[3, 32, 32][..],
            &[1, 4, 32, 32],
            &[1, 32, 32, 3],
            &[1, 3, 0, 32],
        ] {
            let Err(error @ Error::Input { .. }) = model.forward(&zeros(shape)) else {
                panic!("accepted {shape:?}");
            };
            assert!(error.to_string().contains("(batch, 3, height, width)"));
            assert!(model.forward_features(&zeros(shape)).is_err());
            assert!(model.forward_intermediates(&zeros(shape), &[0]).is_err());
        }
        let map = zeros(&[1, 2047, 4, 4]);
        assert!(matches!(
            model.forward_head(&map, false),
            Err(Error::Input { .. })
        ));
    }

    #[test]
    fn features_are_taken_by_index_from_either_end() {
        let (model, x) = (model(), zeros(&[1, 3, 64, 64]));
        let maps = model.forward_features_at(&x, &[-1, 1]).unwrap();
        assert_eq!(maps[0].dims(), [1, 256, 16, 16]);
        assert_eq!(maps[1].dims(), [1, 2048, 2, 2]);
        assert!(model.forward_features_at(&x, &[]).unwrap().is_empty());
        for index in [5, -6, isize::MIN, isize::MAX] {
            let Err(Error::FeatureIndex {
                index: named,
                last: 4,
            }) = model.forward_features_at(&x, &[0, index])
            else {
                panic!("accepted {index}");
            };
            assert_eq!(named, index);
        }
    }

    #[test]
    fn a_missing_tensor_is_named() {
        let weights = VarBuilder::from_tensors(Default::default(), DType::F32, &Device::Cpu);
        let error = ResNet::new(&ResNetConfig::resnest14d(), weights).unwrap_err();
        assert!(error.to_string().contains("conv1.0.weight"), "{error}");
    }

    #[test]
    fn a_network_can_be_shared_between_threads() {
        fn shareable<T: Send + Sync + 'static>(_: &T) {}
        shareable(&model());
    }
}
