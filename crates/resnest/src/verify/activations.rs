//! What each stage of a network puts out.

use candle_core::{DType, Device, Tensor};

use crate::{Classifier, Error};

/// One stage's output.
#[derive(Debug, Clone, PartialEq)]
pub struct Activation {
    /// timm's name: `act1`, `layer1` … `layer4`, `pre_logits`, `logits`.
    pub stage: String,
    /// (N, C, H, W), or (N, F) behind the pool.
    pub shape: Vec<usize>,
    /// The values in that order; f64 holds every f32 exactly.
    pub values: Vec<f64>,
}

/// Runs the network once on normalised images (N, C, H, W): every stage in order, the taps of timm's `feature_info`,
/// then what enters the classifier, then the logits.
///
/// # Errors
/// Anything the computation gives.
pub fn activations(classifier: &Classifier, x: &Tensor) -> Result<Vec<Activation>, Error> {
    classifier.compute(|| {
        let model = classifier.model();
        let x = classifier.to_model(x)?;
        let info = model.feature_info();
        let indices: Vec<isize> = (0..info.len() as isize).collect();
        let (last, taps) = model.forward_intermediates(&x, &indices)?;
        let mut stages = Vec::with_capacity(taps.len() + 2);
        for (info, tap) in info.iter().zip(&taps) {
            stages.push(activation(info.module, tap)?);
        }
        stages.push(activation("pre_logits", &model.forward_head(&last, true)?)?);
        stages.push(activation("logits", &model.forward_head(&last, false)?)?);
        Ok(stages)
    })
}

fn activation(stage: &str, y: &Tensor) -> Result<Activation, Error> {
    // Metal has no f64: the device is left first.
    let y = y.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
    Ok(Activation {
        stage: stage.to_owned(),
        shape: y.dims().to_vec(),
        values: y.flatten_all()?.to_vec1()?,
    })
}
