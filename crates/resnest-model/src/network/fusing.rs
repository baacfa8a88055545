//! Fusing the whole network: built so from the start, or turned into it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;

use super::stages::block_specs;
use super::stem::Stem;
use super::stem_pool::StemPool;
use super::{ResNet, new_classifier};
use crate::config::ResNetConfig;
use crate::error::{Error, Result as ModelResult};
use crate::fuse::{FuseChoices, FuseOptions, Fuser, PlannedLayer, check_fusable};
use crate::models::registry::new_block;
use crate::store::PackedStore;
use crate::trace::{LayerInputs, Trace};

/// After so many forwards a process is taken for a long-lived one.
const SETTLE_AT: usize = 16;

impl ResNet {
    /// Builds the network [fused](Self::fuse) from the start: each block is packed as soon as it is read, on
    /// [`current_threads`](crate::current_threads) threads, so that all weights are never in memory twice. `vb` must
    /// give f32 on the CPU.
    ///
    /// # Errors
    /// As [`new`](Self::new) and [`fuse`](Self::fuse).
    pub fn fused(
        config: &ResNetConfig,
        vb: VarBuilder,
        options: &FuseOptions,
    ) -> ModelResult<Self> {
        check_fusable(&vb.prefix(), vb.dtype(), vb.device())?;
        Self::fused_as(config, vb, &Self::fuse_choices(config, options)?, None)
    }

    /// How [`fused`](Self::fused) will pack every layer, which takes no weights to know.
    ///
    /// # Errors
    /// [`Error::Config`] if the network's options do not fit together, and as [`fuse`](Self::fuse) for a choice of algorithm
    /// or an input size.
    pub fn fuse_choices(config: &ResNetConfig, options: &FuseOptions) -> ModelResult<FuseChoices> {
        let (weightless, _) = Self::weightless(config)?;
        FuseChoices::new(options, weightless.layer_inputs(options.input_size)?)
    }

    /// As [`fused`](Self::fused) for choices that are made; layers that `store` has are taken from it as they are, and
    /// it gets the others. `vb` is still asked for the tensors of every layer, but what it gives for `weight` and `bias` of
    /// one that was packed before is not looked at.
    ///
    /// # Errors
    /// As [`fused`](Self::fused); those of the store; [`Error::Pack`] for a layer in it that has not its size.
    pub fn fused_as(
        config: &ResNetConfig,
        vb: VarBuilder,
        choices: &FuseChoices,
        store: Option<Arc<dyn PackedStore>>,
    ) -> ModelResult<Self> {
        check_fusable(&vb.prefix(), vb.dtype(), vb.device())?;
        let mut fuser = Fuser::new(choices, store);
        let mut stem = Stem::new(config, &vb).map_err(Error::Weights)?;
        stem.fuse(&mut fuser)?;
        let mut maxpool = StemPool::new(config, &vb).map_err(Error::Weights)?;
        maxpool.fuse(&mut fuser)?;
        let specs = block_specs(config);
        let parts = fuser.each(specs.len() + 1, |index, fuser| {
            let Some(spec) = specs.get(index) else {
                let mut fc = new_classifier(config, &vb).map_err(Error::Weights)?;
                fc.iter_mut().try_for_each(|fc| fc.fuse(fuser))?;
                return Ok((None, fc));
            };
            let mut block = new_block(config, spec, &vb).map_err(Error::Weights)?;
            block.fuse(fuser)?;
            Ok((Some(block), None))
        })?;
        let (blocks, fc): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let blocks = blocks.into_iter().flatten().collect();
        let fc = fc.into_iter().flatten().next();
        let mut model = Self::assemble(config, (stem, maxpool), blocks, fc);
        model.global_pool.fuse();
        model.plan = Some(fuser.into_plan());
        Ok(model)
    }

    /// Turns the network into one that runs on the kernels of `resnest-kernels`: norms folded into
    /// convolutions, an algorithm for every layer, weights packed once. It answers the same calls
    /// with the same values, within the bounds of [`Precision`](crate::Precision), for f32 images
    /// on the CPU of any size; results are equal in every bit for any number of threads. Maps it
    /// gives are ordinary (N, C, H, W) tensors whose memory is channels-last.
    ///
    /// Packs on [`current_threads`](crate::current_threads) threads, all layers or none: the original
    /// weights are kept until the last one is packed. [`fused`](Self::fused), which does not even read
    /// them all at once, takes half the memory.
    ///
    /// # Errors
    /// [`Error::Fuse`], naming the layer, if the weights are not f32 on the CPU or not finite, if the
    /// network is fused already, or for a choice in `algorithms` that names no layer or that the layer
    /// cannot take; [`Error::Input`] for an empty `input_size`. The network then runs as before.
    pub fn fuse(&mut self, options: &FuseOptions) -> ModelResult<()> {
        if self.is_fused() {
            let reason = "it is fused already; load it again for other options";
            return Err(Error::fuse("", reason));
        }
        self.stem.first().check_fusable()?;
        let choices = FuseChoices::new(options, self.layer_inputs(options.input_size)?)?;
        let mut fuser = Fuser::new(&choices, None);
        let (mut stem, mut maxpool) = (self.stem.clone(), self.maxpool.clone());
        stem.fuse(&mut fuser)?;
        maxpool.fuse(&mut fuser)?;
        let blocks: Vec<_> = self.layers.iter().flatten().collect();
        let blocks = fuser.each(blocks.len(), |index, fuser| {
            let mut block = blocks[index].clone_block();
            block.fuse(fuser)?;
            Ok(block)
        })?;
        let mut fc = self.fc.clone();
        fc.iter_mut().try_for_each(|fc| fc.fuse(&mut fuser))?;
        // Nothing fails from here on.
        let mut blocks = blocks.into_iter();
        for layer in &mut self.layers {
            *layer = blocks.by_ref().take(layer.len()).collect();
        }
        (self.stem, self.maxpool, self.fc) = (stem, maxpool, fc);
        self.global_pool.fuse();
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

    /// The plan of [`fuse`](Self::fuse), each block's packed weights freed before the next one's are
    /// made.
    pub(crate) fn into_plan(mut self, options: &FuseOptions) -> ModelResult<Vec<PlannedLayer>> {
        let choices = FuseChoices::new(options, self.layer_inputs(options.input_size)?)?;
        let mut fuser = Fuser::new(&choices, None);
        self.stem.fuse(&mut fuser)?;
        self.maxpool.fuse(&mut fuser)?;
        for mut block in self.layers.into_iter().flatten() {
            block.fuse(&mut fuser)?;
        }
        if let Some(fc) = &mut self.fc {
            fc.fuse(&mut fuser)?;
        }
        Ok(fuser.into_plan())
    }

    /// What enters every layer when images have the given height and width: from a forward over a batch of none.
    pub(crate) fn layer_inputs(&self, size: (usize, usize)) -> ModelResult<LayerInputs> {
        let shape = (0, self.config.in_chans, size.0, size.1);
        let no_images = Tensor::zeros(shape, DType::F32, &Device::Cpu)?;
        let mut trace = Trace::recording();
        self.run(&no_images, &mut trace)?;
        Ok(trace.into_layer_inputs())
    }

    /// Counts a forward. After [`SETTLE_AT`] of them a thread of its own moves the weights into larger pages, once, while
    /// forwards go on.
    pub(super) fn count_forward(&self) {
        if self.is_fused()
            && self.forwards.load(Ordering::Relaxed) < SETTLE_AT
            && self.forwards.fetch_add(1, Ordering::Relaxed) + 1 == SETTLE_AT
        {
            let helper = std::thread::Builder::new().name("resnest-settle".into());
            // Without it everything works as well, only slower.
            let _ = helper.spawn(resnest_kernels::settle_weights);
        }
    }
}
