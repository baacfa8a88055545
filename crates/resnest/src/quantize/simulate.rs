//! The twin of the integer kernels in f32: what enters a quantised convolution, rounded to the values that 8 bits have.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Result, Tensor};
use resnest_model::{ConvSpec, InputScale, Watch};

/// `x`, each value replaced by the nearest that `scale` can express; NaN stays NaN.
///
/// # Errors
/// If `x` is not f32.
pub fn fake_quantise(x: &Tensor, scale: InputScale) -> Result<Tensor> {
    let values = x.flatten_all()?.to_vec1::<f32>()?;
    let rounded: Vec<f32> = values.into_iter().map(|v| rounded(v, scale)).collect();
    Tensor::from_vec(rounded, x.dims(), x.device())
}

fn rounded(value: f32, InputScale { scale, zero_point }: InputScale) -> f32 {
    let zero = f32::from(zero_point);
    let q = ((value * scale.recip()).round_ties_even() + zero).clamp(0.0, 255.0);
    (q - zero) * scale
}

/// Has every convolution of the table compute from rounded inputs.
#[derive(Debug)]
pub struct Simulation {
    /// How the inputs of convolutions are quantised.
    pub inputs: Arc<BTreeMap<String, InputScale>>,
}

impl Watch for Simulation {
    fn input(&self, path: &str, _: &ConvSpec, x: &Tensor) -> Result<Option<Tensor>> {
        let scale = self.inputs.get(path);
        scale.map(|scale| fake_quantise(x, *scale)).transpose()
    }
}
