//! A walk through the network: every step of a forward with the shape it puts out, and the time it took.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_core::{Result, Tensor};
use resnest_kernels::ConvSpec;

/// One step of a forward.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The module, under the checkpoint's name (`layer1.0.conv2.fc1`); empty for the input.
    pub path: String,
    /// What is done, in words (`conv 3x3 groups 8, norm, relu`).
    pub operation: String,
    /// The shape put out, batch first.
    pub shape: Vec<usize>,
    /// Multiply-accumulates for this step: convolutions and linear layers, 0 for the rest.
    pub macs: u64,
    /// The layers with weights computed in this step, as [`ResNet::plan`](crate::ResNet::plan)
    /// names them: one, several for a fused step, none for a pool.
    pub layers: Vec<String>,
}

/// What a convolution or linear layer computed in a forward, and from an input of which height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LayerInput {
    pub spec: ConvSpec,
    pub input_size: (usize, usize),
}

/// Every layer with weights that ran, under its name.
pub(crate) type LayerInputs = HashMap<String, LayerInput>;

/// One step of a forward that was timed. Shape and multiply-accumulates are those of the whole batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedStep {
    /// What was done.
    pub step: Step,
    /// How long it took.
    pub duration: Duration,
}

/// Sees what enters the convolutions of a network that is not fused, in the order they run: what a calibration measures,
/// and where a quantised network is simulated.
pub trait Watch: Debug + Send + Sync {
    /// The convolution of this name and shape is about to compute from `x` (N, C, H, W). What is returned is taken in place
    /// of `x`: a map of the same shape.
    ///
    /// # Errors
    /// Whatever keeps it from being looked at; the forward ends with it.
    fn input(&self, path: &str, spec: &ConvSpec, x: &Tensor) -> Result<Option<Tensor>>;
}

/// Where the layers of a forward report their steps; off in ordinary use, where a report costs one
/// branch. Recorded without a clock, shapes and multiply-accumulates are those of one image, whatever batch ran.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    recording: Option<Recording>,
    watch: Option<Arc<dyn Watch>>,
}

#[derive(Debug, Default)]
struct Recording {
    steps: Vec<Step>,
    inputs: LayerInputs,
    clock: Option<Clock>,
    /// The weights of each split attention, (N, R, C), if they are wanted.
    attention: Option<Vec<(String, Tensor)>>,
}

#[derive(Debug)]
struct Clock {
    last: Instant,
    durations: Vec<Duration>,
}

impl Trace {
    pub(crate) fn off() -> Self {
        Self::default()
    }

    /// Whether steps are recorded.
    pub(crate) fn is_on(&self) -> bool {
        self.recording.is_some()
    }

    pub(crate) fn recording() -> Self {
        Self {
            recording: Some(Recording::default()),
            watch: None,
        }
    }

    /// Records nothing, and shows `watch` what enters every convolution.
    pub(crate) fn watched(watch: Arc<dyn Watch>) -> Self {
        Self {
            recording: None,
            watch: Some(watch),
        }
    }

    /// What a convolution computes from: `x`, or what somebody who watches puts in its place.
    pub(crate) fn seen(
        &self,
        path: &str,
        spec: impl FnOnce() -> ConvSpec,
        x: &Tensor,
    ) -> Result<Tensor> {
        let replaced = match &self.watch {
            Some(watch) => watch.input(path, &spec(), x)?,
            None => None,
        };
        Ok(replaced.unwrap_or_else(|| x.clone()))
    }

    /// Records the time from each step to the next; the clock runs from now.
    pub(crate) fn timing() -> Self {
        let clock = Clock {
            last: Instant::now(),
            durations: Vec::new(),
        };
        Self {
            recording: Some(Recording {
                clock: Some(clock),
                ..Recording::default()
            }),
            watch: None,
        }
    }

    /// Keeps the weights that every split attention gives its splits.
    pub(crate) fn keeping_attention() -> Self {
        Self {
            recording: Some(Recording {
                attention: Some(Vec::new()),
                ..Recording::default()
            }),
            watch: None,
        }
    }

    /// Reports the weights (N, R, C) of a split attention, which are only computed if they are wanted.
    pub(crate) fn attention(
        &mut self,
        path: &str,
        weights: impl FnOnce() -> Result<Tensor>,
    ) -> Result<()> {
        if let Some(kept) = self.recording.as_mut().and_then(|r| r.attention.as_mut()) {
            kept.push((path.to_owned(), weights()?));
        }
        Ok(())
    }

    /// The weights of every split attention that ran, in the network's order.
    pub(crate) fn into_attention(self) -> Vec<(String, Tensor)> {
        let recording = self.recording.unwrap_or_default();
        recording.attention.unwrap_or_default()
    }

    pub(crate) fn into_steps(self) -> Vec<Step> {
        self.recording.unwrap_or_default().steps
    }

    /// The steps with their times; none unless the trace was [`timing`](Self::timing).
    pub(crate) fn into_timed_steps(self) -> Vec<TimedStep> {
        let Recording { steps, clock, .. } = self.recording.unwrap_or_default();
        let durations = clock.map(|clock| clock.durations).unwrap_or_default();
        let timed = |(step, duration)| TimedStep { step, duration };
        steps.into_iter().zip(durations).map(timed).collect()
    }

    /// What entered every convolution and linear layer that ran.
    pub(crate) fn into_layer_inputs(self) -> LayerInputs {
        self.recording.unwrap_or_default().inputs
    }

    /// Reports what enters a layer: a map (N, C, H, W), or rows (N, C), of one pixel each.
    pub(crate) fn input(&mut self, path: &str, spec: impl FnOnce() -> ConvSpec, x: &Tensor) {
        let Some(recording) = &mut self.recording else {
            return;
        };
        let input = LayerInput {
            spec: spec(),
            input_size: match x.dims() {
                [_, _, h, w] => (*h, *w),
                _ => (1, 1),
            },
        };
        recording.inputs.insert(path.to_owned(), input);
    }

    /// Reports the tensor a step put out.
    pub(crate) fn step(&mut self, path: &str, operation: &str, out: &Tensor) {
        self.shape(path, operation, out.dims());
    }

    /// Reports a step of which only the shape is known, because there is no tensor of it.
    pub(crate) fn shape(&mut self, path: &str, operation: &str, shape: &[usize]) {
        self.push(path, || operation.to_owned(), shape, || 0, &[]);
    }

    /// Reports a step that multiplies: `taps` multiply-accumulates for every element of `out`.
    pub(crate) fn multiply(
        &mut self,
        path: &str,
        operation: impl FnOnce() -> String,
        out: &Tensor,
        taps: usize,
    ) {
        let macs = || per_image(out, taps);
        self.push(path, operation, out.dims(), macs, &[path]);
    }

    /// Reports a step of several layers; `macs` counts its multiply-accumulates for one image.
    pub(crate) fn composite(
        &mut self,
        path: &str,
        operation: impl FnOnce() -> String,
        out: &Tensor,
        macs: impl FnOnce() -> u64,
        layers: &[&str],
    ) {
        self.push(path, operation, out.dims(), macs, layers);
    }

    /// `macs` are those of one image.
    fn push(
        &mut self,
        path: &str,
        operation: impl FnOnce() -> String,
        shape: &[usize],
        macs: impl FnOnce() -> u64,
        layers: &[&str],
    ) {
        let Some(recording) = &mut self.recording else {
            return;
        };
        if let Some(clock) = &mut recording.clock {
            clock.tick();
        }
        let mut shape = shape.to_vec();
        let mut images = 1;
        if let Some(batch) = shape.first_mut() {
            match recording.clock {
                Some(_) => images = *batch as u64,
                None => *batch = 1,
            }
        }
        let macs = macs().saturating_mul(images);
        recording.steps.push(Step {
            path: path.to_owned(),
            operation: operation(),
            shape,
            macs,
            layers: layers.iter().map(ToString::to_string).collect(),
        });
    }
}

/// Multiply-accumulates for one image of `out`.
pub(crate) fn per_image(out: &Tensor, taps: usize) -> u64 {
    let sizes = out.dims().iter().skip(1).map(|&size| size as u64);
    sizes.fold(taps as u64, u64::saturating_mul)
}

impl Clock {
    fn tick(&mut self) {
        let now = Instant::now();
        self.durations.push(now - self.last);
        self.last = now;
    }
}
