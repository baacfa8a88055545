//! The ways through a network: logits, features, the head alone, timed steps.

use std::ops::Range;
use std::sync::Arc;

use candle_core::{Result, Tensor};
use resnest_kernels::{Algorithm, Residual, all_finite, join_images, parallel_map};

use super::ResNet;
use super::features;
use crate::error::{Error, Result as ModelResult};
use crate::fuse::{PlannedLayer, with_values};
use crate::trace::{TimedStep, Trace, Watch};

/// Bytes of the first stage's map to compute at once: several such maps stay in a last-level cache of 16 MB. With
/// fewer images at once the weights would be read more often, with more the maps would go through memory.
const MAP_BYTES: usize = 4 << 20;
/// How many stages are computed so: those whose maps of a batch take more memory than their weights.
const PARTED_STAGES: usize = 2;

impl ResNet {
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
        self.begin(x)?;
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
        self.begin(x)?;
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
        self.begin(x)?;
        let last = features::take_indices(out_indices)?.into_iter().max();
        match last {
            Some(last) => Ok(self.take(x, out_indices, last)?.1),
            None => Ok(Vec::new()),
        }
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

    /// [`forward`](Self::forward) of a network that is not fused, while `watch` sees what enters its convolutions and may
    /// put other maps in their place.
    ///
    /// # Errors
    /// [`Error::Input`] for another shape; [`Error::Fuse`] if it is fused, where kernels of several layers hide what is
    /// between them; what `watch` gives.
    pub fn forward_watched(&self, x: &Tensor, watch: Arc<dyn Watch>) -> ModelResult<Tensor> {
        if self.is_fused() {
            let reason = "it is fused, and what enters its layers cannot be seen; load it unfused";
            return Err(Error::fuse("", reason));
        }
        self.run(x, &mut Trace::watched(watch))
    }

    pub(crate) fn run(&self, x: &Tensor, trace: &mut Trace) -> ModelResult<Tensor> {
        self.begin(x)?;
        let x = self.last_map(x, trace)?;
        Ok(self.head(&x, false, trace)?)
    }

    /// Stem and all stages. The fused network computes stem and first stages, whose maps are large
    /// and whose weights are few, in parts of a few images, unless steps are recorded.
    fn last_map(&self, x: &Tensor, trace: &mut Trace) -> Result<Tensor> {
        self.spoiled(x, self.computed_map(x, trace)?)
    }

    fn computed_map(&self, x: &Tensor, trace: &mut Trace) -> Result<Tensor> {
        let no_tap = &mut |_: usize, _: &Tensor| {};
        let at_once = self.at_once(x)?;
        let n = x.dim(0)?;
        if !self.is_fused() || trace.is_on() || n <= at_once {
            return self.features(x, trace, 4, no_tap);
        }
        // Side by side: each on as many threads as there are for it, at best one, which waits for nobody.
        let parts = parallel_map(n.div_ceil(at_once), |part| {
            let first = part * at_once;
            let part = x.narrow(0, first, at_once.min(n - first))?;
            self.features(&part, &mut Trace::off(), PARTED_STAGES, &mut |_, _| {})
        });
        let parts = parts.into_iter().collect::<Result<Vec<_>>>()?;
        self.stages(join_images(&parts)?, trace, PARTED_STAGES..4, no_tap)
    }

    /// `map`, with NaN everywhere in that of an image with a value that is not finite: 8-bit integers have none to pass on.
    fn spoiled(&self, x: &Tensor, map: Tensor) -> Result<Tensor> {
        let in_integers =
            |layer: &PlannedLayer| matches!(layer.algorithm, Algorithm::DirectInt8(_));
        if !self.plan().iter().any(in_integers) || map.dim(0)? == 0 {
            return Ok(map);
        }
        let each = (x.elem_count() / map.dim(0)?).max(1);
        let passed_on = |image: &[f32]| match all_finite(image) {
            true => 0.0,
            false => f32::NAN,
        };
        let spoil: Vec<f32> = with_values(x, |images| {
            Ok::<_, candle_core::Error>(images.chunks(each).map(passed_on).collect())
        })?;
        if all_finite(&spoil) {
            return Ok(map);
        }
        let count = spoil.len();
        map.broadcast_add(&Tensor::from_vec(spoil, (count, 1, 1, 1), map.device())?)
    }

    /// How many images to compute at once: as many as have [`MAP_BYTES`] in their maps of the first stage.
    fn at_once(&self, x: &Tensor) -> Result<usize> {
        let (_, _, h, w) = x.dims4()?;
        let chans = self.num_features() >> 3;
        let map = h.div_ceil(4) * w.div_ceil(4) * chans * size_of::<f32>();
        Ok((MAP_BYTES / map.max(1)).max(1))
    }

    fn take(
        &self,
        x: &Tensor,
        indices: &[isize],
        stages: usize,
    ) -> ModelResult<(Tensor, Vec<Tensor>)> {
        let wanted = features::take_indices(indices)?;
        let mut taken = Vec::with_capacity(wanted.len());
        let mut take = |tap: usize, map: &Tensor| {
            if wanted.contains(&tap) {
                taken.push(map.clone());
            }
        };
        let last = self.features(x, &mut Trace::off(), stages, &mut take)?;
        let taken = taken.into_iter().map(|map| self.spoiled(x, map));
        Ok((self.spoiled(x, last)?, taken.collect::<Result<_>>()?))
    }

    /// Stem and the first `stages` stages; `tap` sees the stem as 0 and stage n as n.
    fn features(
        &self,
        x: &Tensor,
        trace: &mut Trace,
        stages: usize,
        tap: &mut dyn FnMut(usize, &Tensor),
    ) -> Result<Tensor> {
        let mut x = self.stem.forward(x, trace)?;
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
            for (index, block) in self.layers[i].iter().enumerate() {
                // The map between two blocks of a stage is held by nobody else: taps see the last one only.
                x = match index {
                    0 => block.forward(Residual::Borrowed(&x), trace)?,
                    _ => block.forward(Residual::Owned(x), trace)?,
                };
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

    /// Checks the images of a forward, and counts it.
    fn begin(&self, x: &Tensor) -> ModelResult<()> {
        let chans = self.config.in_chans;
        check_map(x, chans, || {
            format!("images (batch, {chans}, height, width) with in_chans = {chans}")
        })?;
        self.count_forward();
        Ok(())
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
