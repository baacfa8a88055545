//! From a request's tensors to images.

use resnest::Image;

use super::tensor::{Data, InputTensor};
use crate::engine::Input;
use crate::models::Model;
use crate::{Failure, Outcome};

/// Encoded files, one an element: BYTES `[N]`.
pub const IMAGE: &str = "image";
/// Decoded pixels: UINT8 `[N, H, W, C]`.
pub const PIXELS: &str = "pixels";
/// What the network takes: FP32 `[N, C, H, W]`, normalised.
pub const TENSOR: &str = "tensor";

/// The images of the one input that a request has.
///
/// # Errors
/// Not one input; a name, type or shape that is none of these; values that do not fill the shape.
pub fn images(model: &Model, inputs: Vec<InputTensor>) -> Outcome<Vec<Input>> {
    let [input] = <[InputTensor; 1]>::try_from(inputs).map_err(|inputs| {
        let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
        let text = format!(
            "the request has {} inputs ({}): give one of {IMAGE}, {PIXELS} and {TENSOR}",
            names.len(),
            names.join(", ")
        );
        Failure::bad_request(text)
    })?;
    let shape = sizes(&input)?;
    let InputTensor { name, data, .. } = input;
    match (name.as_str(), data) {
        (IMAGE, Data::Bytes(files)) => match shape[..] {
            // Triton's clients send [N, 1] where the model's batch has a dimension of its own.
            [_] | [_, 1] => Ok(files.into_iter().map(Input::Encoded).collect()),
            _ => Err(wrong_shape(&name, &shape, "[N], an encoded image each")),
        },
        (PIXELS, Data::Uint8(values)) => match shape[..] {
            [_, height, width, channels @ (1 | 3)] if height > 0 && width > 0 => {
                pictures(model, &values, (height, width, channels))
            }
            _ => Err(wrong_shape(
                &name,
                &shape,
                "[N, H, W, C] with 3 channels, or 1",
            )),
        },
        (TENSOR, Data::Fp32(values)) => {
            let [channels, height, width] = model.input_shape();
            if shape.len() != 4 || shape[1..] != [channels, height, width] {
                let expected = format!("[N, {channels}, {height}, {width}]");
                return Err(wrong_shape(&name, &shape, &expected));
            }
            let each = values.chunks_exact(channels * height * width);
            Ok(each.map(|image| Input::Tensor(image.to_vec())).collect())
        }
        (IMAGE | PIXELS | TENSOR, data) => {
            let expected = match name.as_str() {
                IMAGE => "BYTES",
                PIXELS => "UINT8",
                _ => "FP32",
            };
            let got = data.datatype().name();
            let text = format!("input {name:?} has datatype {got}: it must be {expected}");
            Err(Failure::bad_request(text))
        }
        _ => {
            let text =
                format!("there is no input {name:?}: give one of {IMAGE}, {PIXELS} and {TENSOR}");
            Err(Failure::bad_request(text))
        }
    }
}

/// The shape, if the values fill it.
fn sizes(input: &InputTensor) -> Outcome<Vec<usize>> {
    let InputTensor { name, shape, data } = input;
    let sizes: Option<Vec<usize>> = shape
        .iter()
        .map(|&size| usize::try_from(size).ok())
        .collect();
    let count = |sizes: &Vec<usize>| {
        sizes
            .iter()
            .try_fold(1usize, |n, &size| n.checked_mul(size))
    };
    match sizes.as_ref().map(count) {
        Some(Some(count)) if count == data.len() && count > 0 => Ok(sizes.unwrap_or_default()),
        Some(Some(0)) => Err(Failure::bad_request(format!(
            "input {name:?} is empty: its shape is {shape:?}"
        ))),
        _ => {
            let text = format!(
                "input {name:?} has {} values, which its shape {shape:?} does not hold",
                data.len()
            );
            Err(Failure::bad_request(text))
        }
    }
}

fn wrong_shape(name: &str, got: &[usize], expected: &str) -> Failure {
    Failure::bad_request(format!(
        "input {name:?} has the shape {got:?}: it must be {expected}"
    ))
}

fn pictures(
    model: &Model,
    values: &[u8],
    (height, width, channels): (usize, usize, usize),
) -> Outcome<Vec<Input>> {
    let most = model.classifier.limits().max_pixels;
    let sides = (u32::try_from(width), u32::try_from(height));
    let (Ok(w), Ok(h)) = sides else {
        return Err(Failure::bad_request(format!(
            "images of {width}x{height} pixels are too large"
        )));
    };
    if u64::from(w) * u64::from(h) > most {
        let text = format!("images of {width}x{height} pixels: the most is {most} pixels");
        return Err(Failure::bad_request(text));
    }
    let picture = |data: &[u8]| {
        Input::Pixels(Image {
            width: w,
            height: h,
            // 1 or 3, as its caller has seen.
            channels: if channels == 1 { 1 } else { 3 },
            data: data.to_vec(),
        })
    };
    let each = values.chunks_exact(height * width * channels);
    Ok(each.map(picture).collect())
}
