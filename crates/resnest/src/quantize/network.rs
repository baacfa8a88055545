//! A network's tensors in memory, by name, to be changed and built from.

use std::collections::{BTreeMap, HashMap};

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use resnest_loader::Checkpoint;
use resnest_model::{ResNet, ResNetConfig, expected_tensors};

use crate::Error;

/// One tensor.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Values {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// All of a network's tensors, under their names.
pub(super) type Tensors = BTreeMap<String, Values>;

/// Reads what the network of `config` has; the checkpoint is known to fit.
pub(super) fn read(checkpoint: &Checkpoint, config: &ResNetConfig) -> Result<Tensors, Error> {
    let mut tensors = Tensors::new();
    for spec in expected_tensors(config)? {
        let Some(entry) = checkpoint.get(&spec.name) else {
            continue;
        };
        let values = Values {
            shape: spec.shape,
            values: entry.to_f32()?,
        };
        tensors.insert(spec.name, values);
    }
    Ok(tensors)
}

/// The network of these tensors, as candle's operations in f32 on the CPU.
pub(super) fn build(config: &ResNetConfig, tensors: &Tensors) -> Result<ResNet, Error> {
    let tensor = |(name, t): (&String, &Values)| {
        let tensor = Tensor::from_slice(&t.values, t.shape.as_slice(), &Device::Cpu)?;
        Ok((name.clone(), tensor))
    };
    let tensors = tensors.iter().map(tensor);
    let tensors = tensors.collect::<Result<HashMap<_, _>, candle_core::Error>>()?;
    let weights = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
    Ok(ResNet::new(config, weights)?)
}
