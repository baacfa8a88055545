//! The protocol's messages, from and to the requests and answers that both doors share.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::generated::infer_parameter::ParameterChoice;
use super::generated::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use super::generated::model_infer_response::InferOutputTensor;
use super::generated::{
    InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse,
};
use crate::infer::tensor::{
    Data, DataType, InferRequest, InferResponse, InputTensor, OutputTensor, RequestedOutput,
};
use crate::{Failure, Outcome};

type Parameters = BTreeMap<String, InferParameter>;

/// What a message asks for.
///
/// # Errors
/// Values that are missing, there twice, of another type than said or no whole number of them, and what is Triton's
/// but not served here; it says of which tensor.
pub(super) fn read_request(message: ModelInferRequest) -> Outcome<InferRequest> {
    let inputs = if message.raw_input_contents.is_empty() {
        message
            .inputs
            .into_iter()
            .map(typed_input)
            .collect::<Outcome<_>>()?
    } else {
        raw_inputs(message.inputs, message.raw_input_contents)?
    };
    let outputs = message.outputs.into_iter().map(requested_output);
    Ok(InferRequest {
        model: message.model_name,
        version: given(message.model_version),
        id: given(message.id),
        outputs: outputs.collect::<Outcome<_>>()?,
        inputs,
    })
}

/// An answer as a message; its values are raw, as Triton sends them.
pub(super) fn write_response(answer: InferResponse) -> ModelInferResponse {
    let raw_output_contents = answer
        .outputs
        .iter()
        .map(|output| output.data.to_raw())
        .collect();
    ModelInferResponse {
        model_name: answer.model,
        model_version: answer.version,
        id: answer.id.unwrap_or_default(),
        parameters: Parameters::new(),
        outputs: answer.outputs.into_iter().map(output).collect(),
        raw_output_contents,
    }
}

/// The protocol's empty texts are those that were left out.
pub(super) fn given(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// Inputs whose values stand beside them, in the same order.
fn raw_inputs(inputs: Vec<InferInputTensor>, raw: Vec<Bytes>) -> Outcome<Vec<InputTensor>> {
    if inputs.len() != raw.len() {
        let text = format!(
            "raw_input_contents: {} given for {} inputs, one each is needed",
            raw.len(),
            inputs.len()
        );
        return Err(Failure::bad_request(text));
    }
    let twice = |input: &&InferInputTensor| {
        input
            .contents
            .as_ref()
            .is_some_and(|given| used_lists(given).next().is_some())
    };
    if let Some(input) = inputs.iter().find(twice) {
        let text = format!(
            "input {:?}: values both in contents and in raw_input_contents, use one",
            input.name
        );
        return Err(Failure::bad_request(text));
    }
    let pairs = inputs.into_iter().zip(raw);
    pairs
        .map(|(input, raw)| {
            read_input(input, |name, datatype, _| {
                Data::from_raw(name, datatype, raw)
            })
        })
        .collect()
}

/// An input that brings its values.
fn typed_input(input: InferInputTensor) -> Outcome<InputTensor> {
    read_input(input, |name, datatype, contents| {
        let nothing =
            || format!("input {name:?}: no values, neither in contents nor in raw_input_contents");
        typed_data(
            name,
            datatype,
            contents.ok_or_else(|| Failure::bad_request(nothing()))?,
        )
    })
}

/// An input with the values that `data` makes of its name, type and contents.
fn read_input(
    input: InferInputTensor,
    data: impl FnOnce(&str, DataType, Option<InferTensorContents>) -> Outcome<Data>,
) -> Outcome<InputTensor> {
    refuse_shared_memory("input", &input.name, &input.parameters)?;
    let datatype = DataType::parse(&input.name, &input.datatype)?;
    let data = data(&input.name, datatype, input.contents)?;
    Ok(InputTensor {
        name: input.name,
        shape: input.shape,
        data,
    })
}

/// Values from the list that is their type's.
fn typed_data(tensor: &str, datatype: DataType, contents: InferTensorContents) -> Outcome<Data> {
    let list = match datatype {
        DataType::Bytes => "bytes_contents",
        DataType::Uint8 => "uint_contents",
        DataType::Fp32 => "fp32_contents",
    };
    if let Some(other) = used_lists(&contents).find(|used| *used != list) {
        let text = format!(
            "input {tensor:?}: {} values belong in {list}, not in {other}",
            datatype.name()
        );
        return Err(Failure::bad_request(text));
    }
    Ok(match datatype {
        DataType::Bytes => Data::Bytes(contents.bytes_contents),
        DataType::Uint8 => Data::Uint8(narrow(tensor, &contents.uint_contents)?),
        DataType::Fp32 => Data::Fp32(contents.fp32_contents),
    })
}

/// The names of the lists that hold something.
fn used_lists(contents: &InferTensorContents) -> impl Iterator<Item = &'static str> {
    let lists = [
        ("bool_contents", contents.bool_contents.len()),
        ("int_contents", contents.int_contents.len()),
        ("int64_contents", contents.int64_contents.len()),
        ("uint_contents", contents.uint_contents.len()),
        ("uint64_contents", contents.uint64_contents.len()),
        ("fp32_contents", contents.fp32_contents.len()),
        ("fp64_contents", contents.fp64_contents.len()),
        ("bytes_contents", contents.bytes_contents.len()),
    ];
    lists
        .into_iter()
        .filter(|(_, length)| *length > 0)
        .map(|(name, _)| name)
}

/// Pixels, which the protocol's lists have in 32 bits.
fn narrow(tensor: &str, values: &[u32]) -> Outcome<Bytes> {
    let narrow = |value: &u32| {
        u8::try_from(*value).map_err(|_| {
            Failure::bad_request(format!("input {tensor:?}: {value} is no UINT8 value"))
        })
    };
    values.iter().map(narrow).collect()
}

/// An output's name, and what of it.
fn requested_output(output: InferRequestedOutputTensor) -> Outcome<RequestedOutput> {
    refuse_shared_memory("output", &output.name, &output.parameters)?;
    let classification = output.parameters.get("classification");
    let classification = classification
        .map(|parameter| classes(&output.name, parameter))
        .transpose()?;
    Ok(RequestedOutput {
        // Triton's clients write 0 for "no classes".
        classification: classification.filter(|&classes| classes > 0),
        name: output.name,
    })
}

/// How many classes a `classification` asks for.
fn classes(output: &str, parameter: &InferParameter) -> Outcome<usize> {
    let number = match parameter.parameter_choice {
        Some(ParameterChoice::Int64Param(number)) => usize::try_from(number).ok(),
        Some(ParameterChoice::Uint64Param(number)) => usize::try_from(number).ok(),
        _ => None,
    };
    number.ok_or_else(|| {
        Failure::bad_request(format!(
            "output {output:?}: classification takes a number of classes"
        ))
    })
}

/// Without a word the region's name would be dropped, and the client would read what an earlier answer left there.
fn refuse_shared_memory(side: &str, tensor: &str, parameters: &Parameters) -> Outcome<()> {
    if parameters.contains_key("shared_memory_region") {
        let text = format!(
            "{side} {tensor:?}: shared memory is not served here, send the values themselves"
        );
        return Err(Failure::bad_request(text));
    }
    Ok(())
}

/// The description of an output.
fn output(tensor: OutputTensor) -> InferOutputTensor {
    let sizes = tensor.shape.iter();
    InferOutputTensor {
        datatype: tensor.data.datatype().name().to_owned(),
        shape: sizes
            .map(|&size| i64::try_from(size).unwrap_or(i64::MAX))
            .collect(),
        name: tensor.name,
        parameters: Parameters::new(),
        contents: None,
    }
}

#[cfg(test)]
mod tests;
