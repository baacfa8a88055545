//! What a network asks of a checkpoint, and what it costs, without any weights: the constructor is
//! run over a backend that writes down every request, and the forward over a batch of no images.

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use resnest_kernels::{Algorithm, InputScale};

use crate::config::ResNetConfig;
use crate::error::Result;
use crate::fuse::{FuseOptions, PlannedLayer};
use crate::network::ResNet;
use crate::recorder::TensorSpec;
use crate::trace::{Step, Trace};

/// Every tensor the network reads, in the order of timm's state dict (without the
/// `num_batches_tracked` counters, which inference has no use for).
///
/// # Errors
/// [`crate::Error::Config`] if the options do not fit together.
pub fn expected_tensors(config: &ResNetConfig) -> Result<Vec<TensorSpec>> {
    Ok(ResNet::weightless(config)?.1)
}

/// Trainable parameters: all tensors but the running statistics.
///
/// # Errors
/// [`crate::Error::Config`] if the options do not fit together.
pub fn parameter_count(config: &ResNetConfig) -> Result<usize> {
    let tensors = expected_tensors(config)?;
    let parameters = tensors.iter().filter(|t| !t.is_buffer());
    Ok(parameters.map(TensorSpec::elem_count).sum())
}

/// The walk through the network for one image of the given height and width: every step with the
/// shape it puts out, every tensor inside each split attention included.
///
/// # Errors
/// [`crate::Error::Config`] if the options do not fit together, [`crate::Error::Input`] for an
/// empty image.
pub fn trace_shapes(config: &ResNetConfig, input: (usize, usize)) -> Result<Vec<Step>> {
    let (model, _) = ResNet::weightless(config)?;
    let shape = (0, config.in_chans, input.0, input.1);
    let x = Tensor::zeros(shape, DType::F32, &Device::Cpu)?;
    let mut trace = Trace::recording();
    trace.step("", "input", &x);
    model.run(&x, &mut trace)?;
    Ok(trace.into_steps())
}

/// Multiply-accumulates of one forward of one image, in units of 10⁹: convolutions and the
/// classifier.
///
/// # Errors
/// As [`trace_shapes`].
pub fn gmacs(config: &ResNetConfig, input: (usize, usize)) -> Result<f64> {
    let steps = trace_shapes(config, input)?;
    Ok(steps.iter().map(|step| step.macs as f64).sum::<f64>() / 1e9)
}

/// How [`ResNet::fuse`] with these options would compute every layer, and the size its weights
/// would have packed: the packing is done, layer by layer, on weights of zeros.
///
/// # Errors
/// [`crate::Error::Config`] if the network's options do not fit together, otherwise as
/// [`ResNet::fuse`].
pub fn plan(config: &ResNetConfig, options: &FuseOptions) -> Result<Vec<PlannedLayer>> {
    ResNet::weightless(config)?.0.into_plan(options)
}

/// Input scales for networks with random weights, to see how fast they are in integers: one for every convolution that can
/// be computed so, and for no map in particular.
///
/// # Errors
/// As [`trace_shapes`].
pub fn arbitrary_scales(
    config: &ResNetConfig,
    input: (usize, usize),
) -> Result<BTreeMap<String, InputScale>> {
    let scale = InputScale {
        scale: 1.0 / 32.0,
        zero_point: 0,
    };
    let integers = Algorithm::DirectInt8(scale);
    let (model, _) = ResNet::weightless(config)?;
    let layers = model.layer_inputs(input)?.into_iter();
    Ok(layers
        .filter(|(_, layer)| layer.input_size != (1, 1) && integers.supports(&layer.spec))
        .map(|(path, _)| (path, scale))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, input side, parameters, keys of the state dict, GMAC: measured by running timm 1.0.31.
    const TIMM: [(&str, usize, usize, usize, f64); 8] = [
        ("resnest14d", 224, 10_611_688, 152, 2.75),
        ("resnest26d", 224, 17_069_448, 260, 3.62),
        ("resnest50d", 224, 27_483_240, 476, 5.37),
        ("resnest50d_1s4x24d", 224, 25_677_000, 476, 4.40),
        ("resnest50d_4s2x40d", 224, 30_417_592, 476, 4.37),
        ("resnest101e", 256, 48_275_016, 935, 13.32),
        ("resnest200e", 320, 70_201_544, 1826, 35.52),
        ("resnest269e", 416, 110_929_480, 2447, 77.35),
    ];

    #[test]
    fn parameters_keys_and_work_are_timms() {
        for (name, side, parameters, keys, expected_gmacs) in TIMM {
            let config = ResNetConfig::by_name(name).unwrap();
            assert_eq!(parameter_count(&config).unwrap(), parameters, "{name}");
            let tensors = expected_tensors(&config).unwrap();
            let norms = tensors
                .iter()
                .filter(|t| t.name.ends_with("running_mean"))
                .count();
            // timm counts one num_batches_tracked per norm, which is not read here.
            assert_eq!(tensors.len() + norms, keys, "{name}");
            let gmacs = gmacs(&config, (side, side)).unwrap();
            assert!((gmacs - expected_gmacs).abs() < 0.005, "{name}: {gmacs}");
        }
    }

    #[test]
    fn the_largest_configuration_is_answered_without_its_memory() {
        let config = ResNetConfig {
            channels: [1 << 14; 4],
            num_classes: 1 << 20,
            ..ResNetConfig::resnest14d()
        };
        assert!(parameter_count(&config).unwrap() > 1 << 36);
        assert!(gmacs(&config, (1 << 12, 1 << 12)).unwrap() > 1e7);
    }

    #[test]
    fn the_walk_through_a_block_is_the_one_in_the_notes() {
        let steps = trace_shapes(&ResNetConfig::resnest50d_4s2x40d(), (224, 224)).unwrap();
        let block: Vec<_> = steps
            .iter()
            .filter(|s| s.path.starts_with("layer1.0"))
            .map(|s| (s.path.trim_start_matches("layer1.0."), s.shape.as_slice()))
            .collect();
        let expected: [(&str, &[usize]); 13] = [
            ("conv1", &[1, 80, 56, 56]),
            ("conv2.conv", &[1, 320, 56, 56]),
            ("conv2", &[1, 4, 80, 56, 56]),
            ("conv2", &[1, 80, 56, 56]),
            ("conv2", &[1, 80, 1, 1]),
            ("conv2.fc1", &[1, 80, 1, 1]),
            ("conv2.fc2", &[1, 320, 1, 1]),
            ("conv2.rsoftmax", &[1, 2, 4, 40]),
            ("conv2.rsoftmax", &[1, 4, 2, 40]),
            ("conv2.rsoftmax", &[1, 320]),
            ("conv2", &[1, 80, 56, 56]),
            ("downsample.1", &[1, 256, 56, 56]),
            ("conv3", &[1, 256, 56, 56]),
        ];
        assert_eq!(block, expected);
    }
}
