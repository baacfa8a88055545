use super::*;
use crate::Kind;
use crate::engine::Times;
use crate::grpc::generated::ModelInferRequest;

fn input(
    name: &str,
    datatype: &str,
    shape: &[i64],
    contents: Option<InferTensorContents>,
) -> InferInputTensor {
    InferInputTensor {
        name: name.to_owned(),
        datatype: datatype.to_owned(),
        shape: shape.to_vec(),
        parameters: Parameters::new(),
        contents,
    }
}

fn message(inputs: Vec<InferInputTensor>, raw: &[&'static [u8]]) -> ModelInferRequest {
    ModelInferRequest {
        model_name: "demo".to_owned(),
        inputs,
        raw_input_contents: raw.iter().map(|raw| Bytes::from_static(raw)).collect(),
        ..Default::default()
    }
}

fn parameter(choice: ParameterChoice) -> InferParameter {
    InferParameter {
        parameter_choice: Some(choice),
    }
}

fn requested(name: &str, key: &str, choice: ParameterChoice) -> InferRequestedOutputTensor {
    InferRequestedOutputTensor {
        name: name.to_owned(),
        parameters: Parameters::from([(key.to_owned(), parameter(choice))]),
    }
}

fn bytes_contents(values: &[&'static [u8]]) -> Option<InferTensorContents> {
    Some(InferTensorContents {
        bytes_contents: values
            .iter()
            .map(|value| Bytes::from_static(value))
            .collect(),
        ..Default::default()
    })
}

/// What is said of a message that is refused.
fn refusal(message: ModelInferRequest) -> String {
    let failure = read_request(message).unwrap_err();
    assert_eq!(failure.kind, Kind::BadRequest);
    failure.message
}

/// What is said of one raw input.
fn raw_refusal(datatype: &str, raw: &'static [u8]) -> String {
    refusal(message(vec![input("image", datatype, &[1], None)], &[raw]))
}

/// What is said of one input with contents.
fn typed_refusal(datatype: &str, contents: Option<InferTensorContents>) -> String {
    refusal(message(
        vec![input("pixels", datatype, &[1], contents)],
        &[],
    ))
}

#[test]
fn raw_values_of_every_type() {
    let inputs = vec![
        input("image", "BYTES", &[2], None),
        input("pixels", "UINT8", &[1, 1, 1, 3], None),
        input("tensor", "FP32", &[1, 1, 1, 2], None),
    ];
    let raw: [&'static [u8]; 3] = [
        b"\x03\0\0\0abc\0\0\0\0",
        &[7, 8, 255],
        b"\0\0\x80\x3f\0\0\0\xc0",
    ];
    let request = read_request(message(inputs, &raw)).unwrap();
    let data: Vec<Data> = request
        .inputs
        .iter()
        .map(|input| input.data.clone())
        .collect();
    assert_eq!(
        data[0],
        Data::Bytes(vec![Bytes::from_static(b"abc"), Bytes::new()])
    );
    assert_eq!(data[1], Data::Uint8(Bytes::from_static(&[7, 8, 255])));
    assert_eq!(data[2], Data::Fp32(vec![1.0, -2.0]));
    assert_eq!(request.inputs[1].shape, [1, 1, 1, 3]);
    assert_eq!(request.inputs[1].name, "pixels");
}

#[test]
fn typed_values_of_every_type() {
    let pixels = InferTensorContents {
        uint_contents: vec![0, 128, 255],
        ..Default::default()
    };
    let numbers = InferTensorContents {
        fp32_contents: vec![0.5, -1.0],
        ..Default::default()
    };
    let inputs = vec![
        input("image", "BYTES", &[1], bytes_contents(&[b"abc"])),
        input("pixels", "UINT8", &[3], Some(pixels)),
        input("tensor", "FP32", &[2], Some(numbers)),
    ];
    let request = read_request(message(inputs, &[])).unwrap();
    let data: Vec<Data> = request.inputs.into_iter().map(|input| input.data).collect();
    assert_eq!(data[0], Data::Bytes(vec![Bytes::from_static(b"abc")]));
    assert_eq!(data[1], Data::Uint8(Bytes::from_static(&[0, 128, 255])));
    assert_eq!(data[2], Data::Fp32(vec![0.5, -1.0]));
}

#[test]
fn empty_texts_are_left_out() {
    let mut message = message(Vec::new(), &[]);
    let request = read_request(message.clone()).unwrap();
    assert_eq!(
        (request.model.as_str(), request.version, request.id),
        ("demo", None, None)
    );
    message.model_version = "1".to_owned();
    message.id = "mine".to_owned();
    let request = read_request(message).unwrap();
    assert_eq!(
        (request.version.as_deref(), request.id.as_deref()),
        (Some("1"), Some("mine"))
    );
}

#[test]
fn outputs_with_and_without_classes() {
    let mut message = message(Vec::new(), &[]);
    message.outputs = vec![
        requested("logits", "classification", ParameterChoice::Int64Param(3)),
        requested("logits", "classification", ParameterChoice::Uint64Param(4)),
        requested("logits", "classification", ParameterChoice::Int64Param(0)),
        requested(
            "embeddings",
            "binary_data",
            ParameterChoice::BoolParam(true),
        ),
    ];
    let request = read_request(message).unwrap();
    let classes: Vec<_> = request
        .outputs
        .iter()
        .map(|output| output.classification)
        .collect();
    assert_eq!(classes, [Some(3), Some(4), None, None]);
    assert_eq!(request.outputs[3].name, "embeddings");
}

#[test]
fn an_answer_is_raw() {
    let tensor = |name: &str, shape: &[usize], data| OutputTensor {
        name: name.to_owned(),
        shape: shape.to_vec(),
        data,
    };
    let message = write_response(InferResponse {
        model: "demo".to_owned(),
        version: "1".to_owned(),
        id: Some("mine".to_owned()),
        outputs: vec![
            tensor("logits", &[1, 2], Data::Fp32(vec![1.0, -2.0])),
            tensor(
                "errors",
                &[2],
                Data::Bytes(vec![Bytes::new(), Bytes::from_static(b"no")]),
            ),
        ],
        times: Times::default(),
    });
    assert_eq!(
        (
            message.model_name.as_str(),
            message.model_version.as_str(),
            message.id.as_str()
        ),
        ("demo", "1", "mine")
    );
    let described: Vec<_> = message
        .outputs
        .iter()
        .map(|output| (&*output.name, &*output.datatype, &*output.shape))
        .collect();
    assert_eq!(
        described,
        [
            ("logits", "FP32", &[1, 2][..]),
            ("errors", "BYTES", &[2][..])
        ]
    );
    assert!(
        message
            .outputs
            .iter()
            .all(|output| output.contents.is_none())
    );
    assert_eq!(
        message.raw_output_contents[0],
        &b"\0\0\x80\x3f\0\0\0\xc0"[..]
    );
    assert_eq!(message.raw_output_contents[1], &b"\0\0\0\0\x02\0\0\0no"[..]);
}

#[test]
fn an_unknown_datatype() {
    let text = raw_refusal("FP16", b"ab");
    assert!(
        text.contains("\"image\"") && text.contains("FP16"),
        "{text}"
    );
}

#[test]
fn values_twice() {
    let text = refusal(message(
        vec![input("image", "BYTES", &[1], bytes_contents(&[b"a"]))],
        &[b"\x01\0\0\0a"],
    ));
    assert!(
        text.contains("\"image\"") && text.contains("both"),
        "{text}"
    );
}

#[test]
fn empty_contents_beside_raw_values_are_none() {
    let inputs = vec![input(
        "image",
        "BYTES",
        &[1],
        Some(InferTensorContents::default()),
    )];
    assert!(read_request(message(inputs, &[b"\x01\0\0\0a"])).is_ok());
}

#[test]
fn fewer_raw_values_than_inputs() {
    let inputs = vec![
        input("image", "BYTES", &[1], None),
        input("pixels", "UINT8", &[1], None),
    ];
    let text = refusal(message(inputs, &[b"\x01\0\0\0a"]));
    assert!(text.contains("1 given for 2 inputs"), "{text}");
}

#[test]
fn more_raw_values_than_inputs() {
    let text = refusal(message(
        vec![input("image", "BYTES", &[1], None)],
        &[b"\x01\0\0\0a", b""],
    ));
    assert!(text.contains("2 given for 1 inputs"), "{text}");
}

#[test]
fn raw_numbers_that_end_within_one() {
    let text = raw_refusal("FP32", &[0; 7]);
    assert!(text.contains("\"image\"") && text.contains('7'), "{text}");
}

#[test]
fn raw_strings_that_end_within_a_length() {
    let text = raw_refusal("BYTES", b"\x01\0\0\0a\x05\0");
    assert!(text.contains("the length of element 1"), "{text}");
}

#[test]
fn raw_strings_that_end_within_an_element() {
    let text = raw_refusal("BYTES", b"\xff\xff\xff\xffabc");
    assert!(text.contains("the bytes of element 0"), "{text}");
}

#[test]
fn no_values_at_all() {
    let text = typed_refusal("UINT8", None);
    assert!(
        text.contains("\"pixels\"") && text.contains("no values"),
        "{text}"
    );
}

#[test]
fn values_in_another_types_list() {
    let text = typed_refusal("UINT8", bytes_contents(&[b"a"]));
    assert!(
        text.contains("uint_contents") && text.contains("bytes_contents"),
        "{text}"
    );
}

#[test]
fn values_in_two_lists() {
    let both = InferTensorContents {
        uint_contents: vec![1],
        bool_contents: vec![true],
        ..Default::default()
    };
    let text = typed_refusal("UINT8", Some(both));
    assert!(text.contains("bool_contents"), "{text}");
}

#[test]
fn a_pixel_over_255() {
    let pixels = InferTensorContents {
        uint_contents: vec![255, 256],
        ..Default::default()
    };
    let text = typed_refusal("UINT8", Some(pixels));
    assert!(text.contains("256"), "{text}");
}

#[test]
fn classes_that_are_no_number() {
    for choice in [
        ParameterChoice::StringParam("3".to_owned()),
        ParameterChoice::Int64Param(-1),
        ParameterChoice::BoolParam(true),
    ] {
        let mut message = message(Vec::new(), &[]);
        message.outputs = vec![requested("logits", "classification", choice)];
        let text = refusal(message);
        assert!(
            text.contains("\"logits\"") && text.contains("classification"),
            "{text}"
        );
    }
}

#[test]
fn shared_memory() {
    let region = || ParameterChoice::StringParam("region".to_owned());
    let mut asked = message(Vec::new(), &[]);
    asked.outputs = vec![requested("logits", "shared_memory_region", region())];
    assert!(refusal(asked).contains("output \"logits\": shared memory"));

    let mut tensor = input("image", "BYTES", &[1], None);
    tensor
        .parameters
        .insert("shared_memory_region".to_owned(), parameter(region()));
    assert!(refusal(message(vec![tensor], &[])).contains("input \"image\": shared memory"));
}

/// Whatever comes is read or refused: 20,000 messages of which some bytes are others, or which end early.
#[test]
fn damaged_messages_do_no_harm() {
    use prost::Message;
    let typed = Some(InferTensorContents {
        uint_contents: vec![1, 200, 300],
        bytes_contents: vec![Bytes::from_static(b"ab")],
        ..Default::default()
    });
    let mut raw = message(vec![input("image", "BYTES", &[1], None)], &[b"\x01\0\0\0a"]);
    raw.outputs = vec![requested(
        "logits",
        "classification",
        ParameterChoice::Int64Param(3),
    )];
    let wholes = [
        raw.encode_to_vec(),
        message(vec![input("pixels", "UINT8", &[3], typed)], &[]).encode_to_vec(),
    ];
    let mut random = 1u64;
    let mut next = |below: usize| {
        random = random
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (random >> 33) as usize % below
    };
    let mut read = 0;
    for _ in 0..20_000 {
        let mut damaged = wholes[next(2)].clone();
        for _ in 0..=next(3) {
            let at = next(damaged.len());
            damaged[at] = next(256) as u8;
        }
        if next(8) == 0 {
            damaged.truncate(next(damaged.len()));
        }
        if let Ok(message) = ModelInferRequest::decode(&damaged[..]) {
            read += usize::from(read_request(message).is_ok());
        }
    }
    assert!(
        read > 1000,
        "{read} were read: the others were damaged beyond being a message"
    );
}
