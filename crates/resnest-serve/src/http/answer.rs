//! The protocol's answers to JSON and binary bodies.

use serde::Serialize;

use crate::infer::tensor::{Data, InferResponse};
use crate::{Failure, Outcome};

/// How an answer is to be written.
#[derive(Debug, Clone)]
pub(super) struct Format {
    /// Whether outputs are binary unless they say otherwise.
    pub(super) binary: bool,
    /// What each output asked for says of itself.
    pub(super) each: Vec<(String, Option<bool>)>,
}

/// An answer as it is written: straight from its numbers, of which there may be millions.
#[derive(Serialize)]
struct Answer<'a> {
    model_name: &'a str,
    model_version: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    outputs: Vec<AnswerOutput<'a>>,
}

#[derive(Serialize)]
struct AnswerOutput<'a> {
    name: &'a str,
    shape: &'a [usize],
    datatype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<BinarySize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Values<'a>>,
}

#[derive(Serialize)]
struct BinarySize {
    binary_data_size: usize,
}

/// Values in a row; NaN is null.
struct Values<'a>(&'a Data);

impl Serialize for Values<'_> {
    fn serialize<S: serde::Serializer>(&self, writer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Data::Fp32(values) => writer.collect_seq(values),
            Data::Uint8(values) => writer.collect_seq(values),
            Data::Bytes(texts) => {
                writer.collect_seq(texts.iter().map(|t| String::from_utf8_lossy(t)))
            }
        }
    }
}

/// An answer's body, and the length of its JSON where binary tensors follow.
///
/// # Errors
/// None that is known: what is written are texts and numbers.
pub(super) fn write(
    format: &Format,
    response: &InferResponse,
) -> Outcome<(Vec<u8>, Option<usize>)> {
    let mut binary = Vec::new();
    let mut any = false;
    let mut outputs = Vec::new();
    for output in &response.outputs {
        let own = format.each.iter().find(|(name, _)| *name == output.name);
        let as_binary = own.and_then(|(_, own)| *own).unwrap_or(format.binary);
        let (mut parameters, mut data) = (None, None);
        if as_binary {
            let raw = output.data.to_raw();
            binary.extend_from_slice(&raw);
            any = true;
            parameters = Some(BinarySize {
                binary_data_size: raw.len(),
            });
        } else {
            data = Some(Values(&output.data));
        }
        outputs.push(AnswerOutput {
            name: &output.name,
            shape: &output.shape,
            datatype: output.data.datatype().name(),
            parameters,
            data,
        });
    }
    let answer = Answer {
        model_name: &response.model,
        model_version: &response.version,
        id: response.id.as_deref(),
        outputs,
    };
    let failed = |error| Failure::internal(format!("the answer cannot be written: {error}"));
    let mut body = serde_json::to_vec(&answer).map_err(failed)?;
    let length = body.len();
    body.extend(binary);
    Ok((body, any.then_some(length)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::infer::tensor::OutputTensor;

    #[test]
    fn numbers_that_are_none_are_null_and_binary_tensors_follow_the_json() {
        let output = |name: &str, data| OutputTensor {
            name: name.into(),
            shape: vec![1, 2],
            data,
        };
        let response = InferResponse {
            model: "m".into(),
            version: "1".into(),
            id: Some("7".into()),
            outputs: vec![
                output("a", Data::Fp32(vec![f32::NAN, 0.5])),
                output("b", Data::Bytes(vec!["x".into(), "".into()])),
            ],
            times: crate::engine::Times::default(),
        };
        let format = |binary, each| Format { binary, each };
        let (body, length) = write(&format(false, vec![]), &response).unwrap();
        let value: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(value["outputs"][0]["data"], json!([null, 0.5]));
        assert_eq!(
            (value["outputs"][1]["data"].clone(), length),
            (json!(["x", ""]), None)
        );
        let (body, length) =
            write(&format(true, vec![("b".into(), Some(false))]), &response).unwrap();
        let value: Value = serde_json::from_slice(&body[..length.unwrap()]).unwrap();
        assert_eq!(value["outputs"][0]["parameters"]["binary_data_size"], 8);
        assert!(value["outputs"][1]["parameters"].is_null());
        assert_eq!(body[length.unwrap() + 4..], 0.5f32.to_le_bytes());
    }
}
