//! Requests whose lengths are right and whose contents are not.

use crate::client::{Answer, form, infer, post};
use crate::images::HORSE;
use crate::server::Server;
use crate::together;

/// A request of one input.
fn json(shape: &str, datatype: &str, name: &str, data: &str) -> String {
    format!(
        r#"{{"inputs":[{{"name":"{name}","shape":{shape},"datatype":"{datatype}","data":{data}}}]}}"#
    )
}

fn refused(answer: &Answer, what: &str) {
    assert_eq!(answer.status, 400, "{what}: {}", answer.text());
    let error = answer.error();
    assert!(error.len() < 2100, "{what}: {} bytes of error", error.len());
}

#[test]
fn json_is_read_with_care() {
    let _together = together();
    let server = Server::start(&[]);
    let ask = |text: &str| server.ask(&post("/v2/models/demo/infer", &[], text.as_bytes()));
    let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let tensor = |data: &str| json("[1,3,48,48]", "FP32", "tensor", data);
    let filled = |value: &str| tensor(&format!("[{}]", vec![value; 3 * 48 * 48].join(",")));
    assert_eq!(ask(&filled("0.5")).status, 200);
    for (what, text) in [
        ("100 deep", tensor(&deep(100))),
        ("100,000 deep", tensor(&deep(100_000))),
        ("5,000,000 open", tensor(&"[".repeat(5_000_000))),
        ("a deep object", format!(r#"{{"inputs":[],"parameters":{{"a":{}}}}}"#, deep(100_000))),
        ("a number beyond", filled("1e400")),
        ("a number beyond f32", filled("1e39")),
        ("digits", filled(&"9".repeat(400))),
        ("NaN", filled("NaN")),
        ("null", filled("null")),
        ("texts", filled("\"1\"")),
        ("a pixel of 256", json("[1,1,1,3]", "UINT8", "pixels", "[256,0,0]")),
        ("a pixel of -1", json("[1,1,1,3]", "UINT8", "pixels", "[-1,0,0]")),
        ("half a pixel", json("[1,1,1,3]", "UINT8", "pixels", "[0.5,0,0]")),
        ("a shape too large", json("[4611686018427387904,4]", "UINT8", "pixels", "[1]")),
        ("a shape below zero", json("[-1,-1]", "BYTES", "image", "[\"aGk=\"]")),
        ("a shape beyond", json("[99999999999999999999]", "BYTES", "image", "[\"aGk=\"]")),
        ("an empty shape", json("[]", "BYTES", "image", "[\"aGk=\"]")),
        ("a long shape", json(&format!("[{}1]", "1,".repeat(100_000)), "BYTES", "image", "[\"aGk=\"]")),
        ("zero images", json("[0]", "BYTES", "image", "[]")),
        ("no base64", json("[1]", "BYTES", "image", "[\"no, this is none\"]")),
        ("a key twice", r#"{"inputs":[],"inputs":[]}"#.into()),
        ("a name twice", r#"{"inputs":[{"name":"image","name":"image","shape":[1],"datatype":"BYTES","data":["aGk="]}]}"#.into()),
        ("a long name", json("[1]", "BYTES", &"n".repeat(1 << 20), "[\"aGk=\"]")),
        ("a long type", json("[1]", &"t".repeat(1 << 20), "image", "[\"aGk=\"]")),
        ("a long value", format!(r#"{{"inputs":[{{"name":"image","shape":[1],"datatype":"BYTES","parameters":{{"binary_data_size":"{}"}}}}]}}"#, "v".repeat(1 << 20))),
        ("many inputs", format!(r#"{{"inputs":[{}]}}"#, vec![r#"{"name":"image","shape":[1],"datatype":"BYTES","data":["aGk="]}"#; 20_000].join(","))),
        ("many outputs", format!(r#"{{"inputs":[{{"name":"image","shape":[1],"datatype":"BYTES","data":["aGk="]}}],"outputs":[{}]}}"#, vec![r#"{"name":"logits"}"#; 50_000].join(","))),
        ("another output", r#"{"inputs":[{"name":"image","shape":[1],"datatype":"BYTES","data":["aGk="]}],"outputs":[{"name":"x"}]}"#.into()),
        ("shared memory", r#"{"inputs":[{"name":"image","shape":[1],"datatype":"BYTES","parameters":{"shared_memory_region":"x"}}]}"#.into()),
        ("no inputs", "{}".into()),
        ("an array", "[]".into()),
        ("nothing", String::new()),
        ("half", r#"{"inputs":[{"na"#.into()),
        ("bytes that are no text", "\u{0}\u{1}".into()),
    ] {
        refused(&ask(&text), what);
    }
    let bad = server.ask(&post(
        "/v2/models/demo/infer",
        &[],
        b"{\"id\":\"\xff\xfe\",\"inputs\":[]}",
    ));
    refused(&bad, "no UTF-8");
    server.is_well();
    server.has_a_clean_log();
}

/// Numbers that a binary tensor can have and JSON cannot.
#[test]
fn a_tensor_of_odd_numbers_is_refused_or_answered_with_numbers() {
    let _together = together();
    let server = Server::start(&[]);
    let count = 3 * 48 * 48;
    for value in [
        f32::NAN,
        f32::INFINITY,
        f32::MAX,
        f32::MIN_POSITIVE / 2.0,
        -0.0,
    ] {
        let data: Vec<u8> = std::iter::repeat_n(value.to_le_bytes(), count)
            .flatten()
            .collect();
        let head = format!(
            r#"{{"inputs":[{{"name":"tensor","shape":[1,3,48,48],"datatype":"FP32","parameters":{{"binary_data_size":{}}}}}],"outputs":[{{"name":"probabilities"}}]}}"#,
            data.len()
        );
        let answer = server.ask(&infer(&head, &data));
        match answer.status {
            200 => {
                let json = answer.json();
                let numbers = json["outputs"][0]["data"].as_array().unwrap().iter();
                let sum: f64 = numbers.map(|n| n.as_f64().unwrap()).sum();
                assert!((sum - 1.0).abs() < 1e-3, "{value}: {json}");
            }
            _ => refused(&answer, &value.to_string()),
        }
    }
    server.is_well();
    server.has_a_clean_log();
}

#[test]
fn forms_and_lists_have_an_end() {
    let _together = together();
    let server = Server::start(&["--max-body", "8M"]);
    let tiny = crate::pictures::png(1, 1, [1, 2, 3]);
    let ask = |count: usize| {
        let (kind, body) = form(&vec![&tiny[..]; count]);
        server.ask(&post("/classify", &[("content-type", &kind)], &body))
    };
    let most = ask(1024);
    assert_eq!(most.status, 200, "{}", most.text());
    assert_eq!(most.json().as_array().unwrap().len(), 1024);
    let over = ask(1025);
    assert_eq!(over.status, 413, "{}", over.text());
    assert!(over.error().contains("1025"));
    let element = crate::client::element(&tiny);
    let data = element.repeat(1025);
    let head = format!(
        r#"{{"inputs":[{{"name":"image","shape":[1025],"datatype":"BYTES","parameters":{{"binary_data_size":{}}}}}]}}"#,
        data.len()
    );
    assert_eq!(server.ask(&infer(&head, &data)).status, 413);
    let texts = vec!["\"aGk=\""; 200_000].join(",");
    let list = format!(r#"{{"inputs":[{texts}]}}"#);
    let kind = [("content-type", "application/json")];
    assert_eq!(
        server
            .ask(&post("/classify", &kind, list.as_bytes()))
            .status,
        413
    );
    for (kind, body) in [
        ("multipart/form-data", &b"--edge--"[..]),
        ("multipart/form-data; boundary=edge", b""),
        ("multipart/form-data; boundary=edge", b"--edge\r\n"),
        (
            "multipart/form-data; boundary=edge",
            b"--edge\r\n\r\n\r\n--edge--",
        ),
        ("multipart/form-data; boundary=\"\"", b"----"),
        (
            "multipart/form-data; boundary=edge",
            b"--edge\r\ncontent-disposition: form-data; name=\"a\"\r\n\r\nnever ends",
        ),
        ("application/json", b"{"),
        ("application/json", b"{\"inputs\": \"aGk\"}"),
    ] {
        let answer = server.ask(&post("/classify", &[("content-type", kind)], body));
        refused(&answer, kind);
    }
    let long = format!("multipart/form-data; boundary={}", "b".repeat(40_000));
    let answer = server.ask(&post("/classify", &[("content-type", &long)], HORSE));
    refused(&answer, "a long boundary");
    server.is_well();
    server.has_a_clean_log();
}
