//! Bodies of requests to the server.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::CONTENT_TYPE;
use resnest_serve::http::{tensors, upload};
use resnest_serve::infer::tensor::{Data, InferRequest, InputTensor};
use serde_json::{Value, json};

/// Bytes of a message, with room for an ellipsis.
const MESSAGE: usize = 2100;

/// A body of the protocol after two bytes that say how long its JSON is: all of it (0xffff), or so many bytes.
///
/// What is accepted has all of its binary data in its tensors, and reads the same if every tensor is written as binary data,
/// and if every tensor of finite numbers and every list of files is written as JSON.
pub fn tensors(data: &[u8]) {
    let Some((length, body)) = data.split_first_chunk::<2>() else {
        return;
    };
    let body = Bytes::copy_from_slice(body);
    let header = match u16::from_le_bytes(*length) {
        u16::MAX => None,
        length => Some(usize::from(length)),
    };
    let request = match tensors::parse(&body, header) {
        Ok(parsed) => parsed.request,
        Err(failure) => return assert!(failure.message.len() <= MESSAGE),
    };
    if let Some(binary) = header.filter(|length| *length > 0).map(|n| body.len() - n) {
        let all: usize = request
            .inputs
            .iter()
            .map(|input| input.data.to_raw().len())
            .sum();
        assert!(all >= binary, "{binary} bytes of binary data became {all}");
    }
    let mut binary = Vec::new();
    let mut as_binary = |input: &InputTensor| {
        let raw = input.data.to_raw();
        binary.extend_from_slice(&raw);
        json!({ "parameters": { "binary_data_size": raw.len() } })
    };
    let text = written(&request, &mut as_binary);
    let length = text.len();
    let again = Bytes::from([text.as_bytes(), &binary].concat());
    let again =
        tensors::parse(&again, Some(length)).expect("what was written from an accepted one");
    same(&request, &again.request);
    if request.inputs.iter().all(|input| finite(&input.data)) {
        let text = written(
            &request,
            &mut |input| json!({ "data": values(&input.data) }),
        );
        let again = tensors::parse(&text.into(), None).expect("the same in JSON");
        same(&request, &again.request);
    }
}

fn finite(data: &Data) -> bool {
    match data {
        Data::Fp32(values) => values.iter().all(|value| value.is_finite()),
        _ => true,
    }
}

fn values(data: &Data) -> Value {
    match data {
        Data::Fp32(values) => json!(values),
        Data::Uint8(values) => json!(values.as_ref()),
        Data::Bytes(files) => files
            .iter()
            .map(|file| BASE64_STANDARD.encode(file))
            .collect(),
    }
}

/// The request again, with each tensor's values as `how` writes them.
fn written(request: &InferRequest, how: &mut dyn FnMut(&InputTensor) -> Value) -> String {
    let mut input = |input: &InputTensor| {
        let mut value = how(input);
        value["name"] = json!(input.name);
        value["shape"] = json!(input.shape);
        value["datatype"] = json!(input.data.datatype().name());
        value
    };
    let inputs: Vec<Value> = request.inputs.iter().map(&mut input).collect();
    let outputs = request.outputs.iter().map(|output| {
        let parameters = match output.classification {
            Some(count) => json!({ "classification": count }),
            None => json!({}),
        };
        json!({ "name": output.name, "parameters": parameters })
    });
    let outputs: Vec<Value> = outputs.collect();
    json!({ "id": request.id, "inputs": inputs, "outputs": outputs }).to_string()
}

/// As requests are equal, with numbers by their bits.
fn same(one: &InferRequest, other: &InferRequest) {
    assert_eq!((&one.id, &one.outputs), (&other.id, &other.outputs));
    assert_eq!(one.inputs.len(), other.inputs.len());
    for (a, b) in one.inputs.iter().zip(&other.inputs) {
        assert_eq!((&a.name, &a.shape), (&b.name, &b.shape));
        assert_eq!(a.data.datatype(), b.data.datatype());
        assert_eq!(a.data.to_raw(), b.data.to_raw());
    }
}

fn read(kind: &str, body: Bytes) -> Option<upload::Upload> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, kind.parse().expect("a kind"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    match runtime.block_on(upload::read(&headers, body)) {
        Ok(upload) => Some(upload),
        Err(failure) => {
            assert!(failure.message.len() <= MESSAGE);
            None
        }
    }
}

const FORM: &str = "multipart/form-data; boundary=edge";
const JSON: &str = "application/json";

/// A body after a byte that says what it is: a form, JSON, or a file.
pub fn upload(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else {
        return;
    };
    let kind = [FORM, JSON, "image/png"][usize::from(*kind) % 3];
    let body = Bytes::copy_from_slice(body);
    let Some(read_once) = read(kind, body.clone()) else {
        return;
    };
    let images = &read_once.images;
    assert!(!images.is_empty());
    if kind != JSON {
        // No byte is made up, and none is there twice.
        let all: usize = images.iter().map(Bytes::len).sum();
        assert!(all <= body.len() && images.iter().all(|image| !image.is_empty()));
        let mut rest = &body[..];
        for image in images {
            let at = rest.windows(image.len()).position(|part| part == image);
            rest =
                &rest[at.expect("an image of the body, after the one before it") + image.len()..];
        }
    }
    let texts: Vec<String> = images
        .iter()
        .map(|image| BASE64_STANDARD.encode(image))
        .collect();
    let list = json!({ "inputs": texts }).to_string();
    let again = read(JSON, list.into()).expect("the images as a list");
    assert_eq!(*images, again.images);
    if kind == FORM {
        let edge = "another-edge-than-that-one";
        let mut form = Vec::new();
        for image in images {
            let head = format!("--{edge}\r\ncontent-disposition: form-data; name=\"x\"\r\n\r\n");
            form.extend([head.as_bytes(), image, b"\r\n"].concat());
        }
        form.extend(format!("--{edge}--\r\n").bytes());
        let kind = format!("multipart/form-data; boundary={edge}");
        let again = read(&kind, form.into()).expect("the images as a form");
        assert_eq!(*images, again.images);
    }
}
