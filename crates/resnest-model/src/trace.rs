//! A walk through the network: every step of a forward with the shape it puts out.

use candle_core::Tensor;

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
}

/// Where the layers of a forward report their steps; off in ordinary use, where a report costs one
/// branch. What is recorded is told for one image, whatever batch ran.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    steps: Option<Vec<Step>>,
}

impl Trace {
    pub(crate) fn off() -> Self {
        Self::default()
    }

    pub(crate) fn recording() -> Self {
        Self {
            steps: Some(Vec::new()),
        }
    }

    pub(crate) fn into_steps(self) -> Vec<Step> {
        self.steps.unwrap_or_default()
    }

    /// Reports the tensor a step put out.
    pub(crate) fn step(&mut self, path: &str, operation: &str, out: &Tensor) {
        self.shape(path, operation, out.dims());
    }

    /// Reports a step of which only the shape is known, because the tensor is never held as such.
    pub(crate) fn shape(&mut self, path: &str, operation: &str, shape: &[usize]) {
        self.push(path, || operation.to_owned(), shape, 0);
    }

    /// Reports a step that multiplies: `taps` multiply-accumulates for every element of `out`.
    pub(crate) fn multiply(
        &mut self,
        path: &str,
        operation: impl FnOnce() -> String,
        out: &Tensor,
        taps: usize,
    ) {
        self.push(path, operation, out.dims(), taps);
    }

    fn push(
        &mut self,
        path: &str,
        operation: impl FnOnce() -> String,
        shape: &[usize],
        taps: usize,
    ) {
        let Some(steps) = &mut self.steps else {
            return;
        };
        let mut shape = shape.to_vec();
        if let Some(batch) = shape.first_mut() {
            *batch = 1;
        }
        let sizes = shape.iter().map(|&size| size as u64);
        let macs = sizes.fold(taps as u64, u64::saturating_mul);
        steps.push(Step {
            path: path.to_owned(),
            operation: operation(),
            shape,
            macs,
        });
    }
}
