//! The protocol's JSON and binary bodies to requests.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::{DeserializeSeed, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::answer::Format;
use super::object::Object;
use crate::infer::inputs::IMAGE;
use crate::infer::tensor::{Data, DataType, InferRequest, InputTensor, RequestedOutput};
use crate::{Failure, Outcome};

/// A request, and how its answer is to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// The request, its model not yet named.
    pub request: InferRequest,
    /// Whether outputs are binary unless they say otherwise.
    binary: bool,
    /// What each output asked for says of itself.
    each: Vec<(String, Option<bool>)>,
}

#[derive(Deserialize)]
struct Request<'a> {
    id: Option<String>,
    #[serde(default, deserialize_with = "or_null")]
    parameters: Map<String, Value>,
    #[serde(borrow)]
    inputs: Vec<Object<Input<'a>>>,
    #[serde(default, deserialize_with = "or_null")]
    outputs: Vec<Object<Output>>,
}

#[derive(Deserialize)]
struct Input<'a> {
    name: String,
    shape: Vec<i64>,
    datatype: String,
    #[serde(default, deserialize_with = "or_null")]
    parameters: Map<String, Value>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Output {
    name: String,
    #[serde(default, deserialize_with = "or_null")]
    parameters: Map<String, Value>,
}

/// A field that some clients write as `null` where they have nothing to say.
fn or_null<'de, D: serde::Deserializer<'de>, T: Deserialize<'de> + Default>(
    reader: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(reader)?.unwrap_or_default())
}

/// Reads a body of JSON, after which, at `header` bytes, binary tensors may follow (the binary tensor data extension; a
/// header of 0 bytes says that all of the body is one encoded image).
///
/// # Errors
/// What is wrong with it.
pub fn parse(body: &Bytes, header: Option<usize>) -> Outcome<Parsed> {
    let length = header.unwrap_or(body.len());
    if length > body.len() {
        let text = format!(
            "inference-header-content-length is {length}, the body has {} bytes",
            body.len()
        );
        return Err(Failure::bad_request(text));
    }
    if header == Some(0) {
        return Ok(one_image(body.clone()));
    }
    let (text, mut binary) = (&body[..length], body.slice(length..));
    let bad = |error| {
        Failure::bad_request(format!(
            "the body is not a request of the protocol: {error}"
        ))
    };
    let Object(request): Object<Request> = serde_json::from_slice(text).map_err(bad)?;
    let mut inputs = Vec::new();
    for Object(input) in request.inputs {
        inputs.push(read_input(input, &mut binary)?);
    }
    if !binary.is_empty() {
        let text = format!("{} bytes of binary data belong to no input", binary.len());
        return Err(Failure::bad_request(text));
    }
    let mut outputs = Vec::new();
    let mut each = Vec::new();
    for Object(Output { name, parameters }) in request.outputs {
        refuse_shared_memory(&name, &parameters)?;
        let classification = count(&name, &parameters, "classification")?;
        each.push((name.clone(), flag(&name, &parameters, "binary_data")?));
        outputs.push(RequestedOutput {
            name,
            classification,
        });
    }
    Ok(Parsed {
        request: InferRequest {
            id: request.id,
            inputs,
            outputs,
            ..InferRequest::default()
        },
        binary: flag("the request", &request.parameters, "binary_data_output")?.unwrap_or(false),
        each,
    })
}

fn one_image(body: Bytes) -> Parsed {
    let input = InputTensor {
        name: IMAGE.into(),
        shape: vec![1],
        data: Data::Bytes(vec![body]),
    };
    Parsed {
        request: InferRequest {
            inputs: vec![input],
            ..InferRequest::default()
        },
        binary: true,
        each: Vec::new(),
    }
}

fn read_input(input: Input<'_>, binary: &mut Bytes) -> Outcome<InputTensor> {
    let Input {
        name,
        shape,
        datatype,
        parameters,
        data,
    } = input;
    refuse_shared_memory(&name, &parameters)?;
    let datatype = DataType::parse(&name, &datatype)?;
    let data = match (data, count(&name, &parameters, "binary_data_size")?) {
        (None, Some(size)) if size <= binary.len() => {
            Data::from_raw(&name, datatype, binary.split_to(size))?
        }
        (None, Some(size)) => {
            let text = format!(
                "input {name:?}: binary_data_size is {size}, {} bytes are left of the body",
                binary.len()
            );
            return Err(Failure::bad_request(text));
        }
        (Some(data), None) => from_json(&name, datatype, data, &parameters)?,
        (Some(_), Some(_)) => {
            let text = format!("input {name:?} has both `data` and `binary_data_size`: give one");
            return Err(Failure::bad_request(text));
        }
        (None, None) => {
            let text = format!("input {name:?} has neither `data` nor `binary_data_size`");
            return Err(Failure::bad_request(text));
        }
    };
    Ok(InputTensor { name, shape, data })
}

fn refuse_shared_memory(name: &str, parameters: &Map<String, Value>) -> Outcome<()> {
    match parameters
        .keys()
        .find(|key| key.starts_with("shared_memory"))
    {
        Some(key) => Err(Failure::bad_request(format!(
            "{name:?}: {key}: there is no shared memory here, send the data itself"
        ))),
        None => Ok(()),
    }
}

fn flag(name: &str, parameters: &Map<String, Value>, key: &str) -> Outcome<Option<bool>> {
    match parameters.get(key) {
        None => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(other) => Err(Failure::bad_request(format!(
            "{name}: {key} is {other}: it must be true or false"
        ))),
    }
}

fn count(name: &str, parameters: &Map<String, Value>, key: &str) -> Outcome<Option<usize>> {
    let Some(value) = parameters.get(key) else {
        return Ok(None);
    };
    let number = value
        .as_u64()
        .and_then(|number| usize::try_from(number).ok());
    let bad = || {
        Failure::bad_request(format!(
            "{name}: {key} is {value}: it must be a whole number from 0"
        ))
    };
    number.map(Some).ok_or_else(bad)
}

fn from_json(
    name: &str,
    datatype: DataType,
    data: &RawValue,
    parameters: &Map<String, Value>,
) -> Outcome<Data> {
    Ok(match datatype {
        DataType::Fp32 => Data::Fp32(flat(name, datatype, data)?),
        DataType::Uint8 => Data::Uint8(flat::<u8>(name, datatype, data)?.into()),
        DataType::Bytes => {
            if let Some(other) = parameters
                .get("content_type")
                .filter(|&kind| kind != "base64")
            {
                let text = format!(
                    "input {name:?}: content_type {other} is not read here: use \"base64\""
                );
                return Err(Failure::bad_request(text));
            }
            let texts: Vec<String> = flat(name, datatype, data)?;
            let read = |(at, text): (usize, &String)| {
                from_base64(text).map_err(|reason| {
                    Failure::bad_request(format!("input {name:?}, element {at}: {reason}"))
                })
            };
            Data::Bytes(texts.iter().enumerate().map(read).collect::<Outcome<_>>()?)
        }
    })
}

/// Bytes of their base64 text, or of a `data:` address with such.
///
/// # Errors
/// Why it is none.
pub(super) fn from_base64(text: &str) -> Result<Bytes, String> {
    let text = match text.strip_prefix("data:") {
        Some(address) => {
            address
                .split_once(";base64,")
                .ok_or("a data: address without base64")?
                .1
        }
        None => text,
    };
    let bytes = BASE64_STANDARD.decode(text.trim());
    bytes
        .map(Bytes::from)
        .map_err(|error| format!("no good base64 ({error})"))
}

/// The values of nested arrays, row after row.
fn flat<T: for<'de> Deserialize<'de>>(
    name: &str,
    datatype: DataType,
    data: &RawValue,
) -> Outcome<Vec<T>> {
    let mut values = Vec::new();
    let mut reader = serde_json::Deserializer::from_str(data.get());
    let read = Flat(&mut values, DEPTH).deserialize(&mut reader);
    let bad = |error| {
        let kind = datatype.name();
        Failure::bad_request(format!(
            "input {name:?}: its data is no array of {kind} values: {error}"
        ))
    };
    read.map_err(bad)?;
    Ok(values)
}

/// Arrays within arrays: no tensor here has more than four dimensions.
const DEPTH: usize = 8;

/// Reads an array of values or of such arrays, so many deep at most: each level is read once more for every level above.
struct Flat<'a, T>(&'a mut Vec<T>, usize);

impl<'de, T: Deserialize<'de>> DeserializeSeed<'de> for Flat<'_, T> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_seq(self)
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Flat<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        while let Some(value) = array.next_element::<&RawValue>()? {
            let text = value.get();
            let failed = |error: serde_json::Error| serde::de::Error::custom(error);
            if self.1 == 0 {
                return Err(serde::de::Error::custom("too many arrays within arrays"));
            }
            match text.starts_with('[') {
                true => {
                    let mut inner = serde_json::Deserializer::from_str(text);
                    Flat(&mut *self.0, self.1 - 1)
                        .deserialize(&mut inner)
                        .map_err(failed)?;
                }
                false => self.0.push(serde_json::from_str(text).map_err(failed)?),
            }
        }
        Ok(())
    }
}

impl Parsed {
    /// The request, and how its answer is to be written.
    pub(super) fn split(self) -> (InferRequest, Format) {
        let Self {
            request,
            binary,
            each,
        } = self;
        (request, Format { binary, each })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Outcome<Parsed> {
        parse(&Bytes::copy_from_slice(text.as_bytes()), None)
    }

    #[test]
    fn nested_and_flat_data_are_the_same() {
        for data in [
            "[1, 2.5, -3, 4e0]",
            "[[1, 2.5], [-3, 4e0]]",
            "[[[1], [2.5]], [[-3], [4]]]",
        ] {
            let text = format!(
                r#"{{"inputs": [{{"name": "tensor", "shape": [2, 2], "datatype": "FP32", "data": {data}}}]}}"#
            );
            let parsed = read(&text).unwrap();
            assert_eq!(
                parsed.request.inputs[0].data,
                Data::Fp32(vec![1.0, 2.5, -3.0, 4.0]),
                "{data}"
            );
        }
    }

    #[test]
    fn what_is_null_is_not_there() {
        let input =
            r#"{"name": "a", "shape": [1], "datatype": "FP32", "parameters": null, "data": [1]}"#;
        let more = r#""id": null, "parameters": null, "outputs""#;
        let parsed = read(&format!(r#"{{"inputs": [{input}], {more}: null}}"#)).unwrap();
        assert_eq!(parsed.request.id, None);
        let output = r#"[{"name": "logits", "parameters": null}]"#;
        let parsed = read(&format!(r#"{{"inputs": [{input}], {more}: {output}}}"#)).unwrap();
        assert_eq!(parsed.request.outputs[0].name, "logits");
    }

    #[test]
    fn binary_data_is_taken_in_the_order_of_the_inputs() {
        let json = br#"{"inputs": [
            {"name": "a", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": 13}},
            {"name": "b", "shape": [1], "datatype": "FP32", "parameters": {"binary_data_size": 4}}],
            "parameters": {"binary_data_output": true},
            "outputs": [{"name": "logits", "parameters": {"binary_data": false, "classification": 3}}]}"#;
        let mut body = json.to_vec();
        body.extend([2, 0, 0, 0, b'h', b'i', 3, 0, 0, 0, b'y', b'o', b'u']);
        body.extend(1.5f32.to_le_bytes());
        let parsed = parse(&body.clone().into(), Some(json.len())).unwrap();
        let data = |at: usize| parsed.request.inputs[at].data.clone();
        assert_eq!(data(0), Data::Bytes(vec!["hi".into(), "you".into()]));
        assert_eq!(data(1), Data::Fp32(vec![1.5]));
        assert_eq!(parsed.request.outputs[0].classification, Some(3));
        assert!(parsed.binary && parsed.each == [("logits".to_owned(), Some(false))]);
        // A byte too few, a byte too many, a header longer than the body or within the JSON.
        assert!(parse(&body[..body.len() - 1].to_vec().into(), Some(json.len())).is_err());
        assert!(parse(&[&body[..], b"x"].concat().into(), Some(json.len())).is_err());
        assert!(parse(&body.clone().into(), Some(body.len() + 1)).is_err());
        assert!(parse(&body.into(), Some(json.len() - 1)).is_err());
    }

    #[test]
    fn every_malformed_kind_names_what_is_wrong() {
        let input =
            |fields: &str| format!(r#"{{"inputs": [{{"name": "x", "shape": [1], {fields}}}]}}"#);
        for (text, says) in [
            ("", "EOF"),
            ("[]", "not a request"),
            (r#"["1", {}, [], []]"#, "expected an object"),
            (
                r#"{"inputs": [["x", [1], "FP32", {}, [1]]]}"#,
                "expected an object",
            ),
            ("{}", "inputs"),
            (&input(r#""datatype": "FP32""#), "neither"),
            (&input(r#""datatype": "FP64", "data": [1]"#), "FP64"),
            (
                &input(r#""datatype": "FP32", "data": ["a"]"#),
                "array of FP32",
            ),
            (
                &input(r#""datatype": "FP32", "data": [null]"#),
                "array of FP32",
            ),
            (&input(r#""datatype": "FP32", "data": 1"#), "array of FP32"),
            (
                &input(r#""datatype": "UINT8", "data": [256]"#),
                "array of UINT8",
            ),
            (
                &input(r#""datatype": "UINT8", "data": [-1]"#),
                "array of UINT8",
            ),
            (
                &input(r#""datatype": "BYTES", "data": ["a b"]"#),
                "element 0",
            ),
            (
                &input(
                    r#""datatype": "BYTES", "data": ["YQ"], "parameters": {"content_type": "str"}"#,
                ),
                "base64",
            ),
            (
                &input(r#""datatype": "FP32", "parameters": {"binary_data_size": -1}"#),
                "binary_data_size",
            ),
            (
                &input(r#""datatype": "FP32", "parameters": {"binary_data_size": 4}"#),
                "0 bytes are left",
            ),
            (
                &input(r#""datatype": "FP32", "data": [1], "parameters": {"binary_data_size": 4}"#),
                "both",
            ),
            (
                &input(r#""datatype": "FP32", "parameters": {"shared_memory_region": "a"}"#),
                "shared memory",
            ),
            (
                r#"{"inputs": [], "parameters": {"binary_data_output": 1}}"#,
                "true or false",
            ),
            (
                r#"{"inputs": [], "outputs": [{"name": "a", "parameters": {"classification": "b"}}]}"#,
                "classification",
            ),
        ] {
            let failure = read(text).unwrap_err();
            assert!(failure.message.contains(says), "{text}: {failure}");
        }
        let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
        assert!(read(&input(&format!(r#""datatype": "FP32", "data": {deep}"#))).is_err());
    }
}
