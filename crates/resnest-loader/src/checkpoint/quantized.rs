//! Checkpoints in 8-bit integers, as `resnest quantize` writes them: timm's checkpoint with every name in its place, and for
//! each quantised convolution `X`
//!
//! | tensor | type, shape | holds |
//! |---|---|---|
//! | `X.weight` | i8, as the convolution's | `q` of -127 to 127; the largest of every output channel is 127, or all are 0 |
//! | `X.weight_scale` | f32, (out) | the weight is `q * weight_scale[o]` |
//! | `X.input_scale` | f32, (1) | one step of the input |
//! | `X.input_zero_point` | u8, (1) | what an input of 0 becomes |
//!
//! The header's metadata say `format: resnest-int8`, and `config` has the model's `config.json`. The weights are handed out
//! as f32, so that the rest of the crate sees a checkpoint like any other; the scales of the inputs are a table of their own.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use resnest_model::InputScale;

use super::CheckpointFormat;
use super::tensor::{ElementType, TensorEntry};
use crate::error::{Error, Result};

/// The `format` in the metadata of a checkpoint of 8-bit weights.
pub const FORMAT: &str = "resnest-int8";
/// The `version` of that format which is written and read.
pub const VERSION: &str = "1";
/// What stands behind the name of a quantised convolution.
const PARTS: [&str; 3] = ["weight_scale", "input_scale", "input_zero_point"];

const AGAIN: &str = "the file is damaged: make it again with `resnest quantize`";

/// The scale of the input of every quantised convolution, under its name.
pub(crate) type InputScales = Arc<BTreeMap<String, InputScale>>;

/// Takes the scales out of `tensors`, gives each 8-bit weight its own, and returns those of the inputs; `None` if the metadata do not
/// say that the checkpoint is of this format. What belongs to no quantised convolution stays, for the strict check to name.
pub(super) fn take(
    origin: &str,
    format: CheckpointFormat,
    metadata: &HashMap<String, String>,
    tensors: &mut BTreeMap<String, TensorEntry>,
) -> Result<Option<InputScales>> {
    if format != CheckpointFormat::SafeTensors || !is_quantized(metadata) {
        return Ok(None);
    }
    let header = |problem: String| Error::Header {
        origin: origin.to_owned(),
        problem,
    };
    match metadata.get("version").map(String::as_str) {
        Some(VERSION) => {}
        other => {
            let found = other.unwrap_or("missing");
            let problem = format!(
                "the metadata's version of {FORMAT} is {found}, and this build reads {VERSION}; make the file again with its `resnest quantize`"
            );
            return Err(header(problem));
        }
    }
    let quantized = |(name, tensor): (&String, &TensorEntry)| {
        let layer = name.strip_suffix(".weight")?;
        (tensor.dtype == ElementType::I8).then(|| layer.to_owned())
    };
    let layers: Vec<String> = tensors.iter().filter_map(quantized).collect();
    if layers.is_empty() {
        let problem = format!("the metadata say {FORMAT}, but no weight is in 8 bits; {AGAIN}");
        return Err(header(problem));
    }
    let mut inputs = BTreeMap::new();
    for layer in layers {
        let input = take_layer(origin, &layer, tensors)?;
        inputs.insert(layer, input);
    }
    Ok(Some(Arc::new(inputs)))
}

/// Whether a safetensors file's metadata say that it is such a checkpoint.
fn is_quantized(metadata: &HashMap<String, String>) -> bool {
    metadata
        .get("format")
        .is_some_and(|format| format == FORMAT)
}

fn take_layer(
    origin: &str,
    layer: &str,
    tensors: &mut BTreeMap<String, TensorEntry>,
) -> Result<InputScale> {
    let name = |part: &str| format!("{layer}.{part}");
    let error = |tensor: String, problem: String| Error::Tensor {
        origin: origin.to_owned(),
        tensor,
        problem,
    };
    let found = PARTS.map(|part| tensors.remove(&name(part)).ok_or(part));
    let [weight_scale, input_scale, zero_point] = found;
    let [weight_scale, input_scale, zero_point] = [
        (weight_scale, ElementType::F32),
        (input_scale, ElementType::F32),
        (zero_point, ElementType::U8),
    ]
    .map(|(tensor, dtype)| match tensor {
        Ok(tensor) if tensor.dtype == dtype => Ok(tensor),
        Ok(tensor) => {
            let problem = format!("{}, where {dtype} belongs; {AGAIN}", tensor.dtype);
            Err(error(tensor.name, problem))
        }
        Err(part) => {
            let problem =
                format!("the 8-bit {layer}.weight needs it, but it is not there; {AGAIN}");
            Err(error(name(part), problem))
        }
    });
    let (weight_scale, input_scale, zero_point) = (weight_scale?, input_scale?, zero_point?);
    let weight = tensors
        .get_mut(&name("weight"))
        .ok_or_else(|| error(name("weight"), AGAIN.to_owned()))?;
    let &[out, _, _, _] = weight.shape.as_slice() else {
        let problem = format!(
            "8-bit weights are those of convolutions, not of shape {:?}",
            weight.shape
        );
        return Err(error(name("weight"), problem));
    };
    for (tensor, shape) in [(&weight_scale, out), (&input_scale, 1), (&zero_point, 1)] {
        if tensor.shape != [shape] {
            let problem = format!("its shape is {:?}, not [{shape}]; {AGAIN}", tensor.shape);
            return Err(error(tensor.name.clone(), problem));
        }
    }
    let scales = positive(&weight_scale)?;
    let scale = positive(&input_scale)?.first().copied().unwrap_or_default();
    let zero_point = zero_point.bytes()?.first().copied().unwrap_or_default();
    weight.scales = Some(scales.into());
    Ok(InputScale { scale, zero_point })
}

/// The values of a tensor of scales: normal numbers above zero, of which 255 are finite too.
fn positive(tensor: &TensorEntry) -> Result<Vec<f32>> {
    let scales = tensor.to_f32()?;
    let wrong = |s: &f32| !(s.is_normal() && *s > 0.0 && (s * 255.0).is_finite());
    match scales.iter().position(wrong) {
        None => Ok(scales),
        Some(at) => {
            let value = scales.get(at).copied().unwrap_or_default().into();
            let problem = "a scale is a number above zero; the file is damaged: make it again with `resnest quantize`";
            Err(tensor.bad_value(at, value, problem))
        }
    }
}
