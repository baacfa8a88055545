//! Lengths that are wrong, wherever a length is said, and heads that are none.

use std::io::Write;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

use crate::client::{Answer, element, get, infer, post};
use crate::images::HORSE;
use crate::server::Server;
use crate::together;

pub fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn deflate(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn compressed_bodies_are_whole_or_refused() {
    let _together = together();
    let server = Server::start(&[]);
    let ask = |coding: &str, body: &[u8]| {
        server.ask(&post("/classify", &[("content-encoding", coding)], body))
    };
    let (gz, zlib) = (gzip(HORSE), deflate(HORSE));
    for (coding, whole) in [
        ("gzip", &gz),
        ("x-gzip", &gz),
        ("GZIP", &gz),
        ("deflate", &zlib),
    ] {
        let answer = ask(coding, whole);
        assert_eq!(answer.status, 200, "{coding}: {}", answer.text());
        assert_eq!(answer.json()[0]["label"], "horse");
        for length in [
            0,
            1,
            5,
            12,
            whole.len() / 2,
            whole.len() - 9,
            whole.len() - 1,
        ] {
            let answer = ask(coding, &whole[..length]);
            assert_eq!(answer.status, 400, "{coding} {length}: {}", answer.text());
            assert!(answer.error().contains("data"));
        }
        for at in [0, whole.len() / 2, whole.len() - 1, whole.len() - 5] {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            let answer = ask(coding, &damaged);
            assert_eq!(answer.status, 400, "{coding} {at}: {}", answer.text());
        }
        let answer = ask(coding, &[&whole[..], b"more"].concat());
        assert_eq!(answer.status, 400, "{coding}: {}", answer.text());
    }
    assert_eq!(ask("gzip", HORSE).status, 400);
    for coding in ["br", "zstd", "gzip, gzip", "compress", "\u{1}", "nonsense"] {
        let fields = [("content-encoding", coding)];
        let answer = server.connect().ask(&post("/classify", &fields, &gz));
        let expected = if coding == "\u{1}" { 400 } else { 415 };
        assert_eq!(answer.status, expected, "{coding:?}: {}", answer.text());
        answer.error();
    }
    let twice = [("content-encoding", "gzip"), ("content-encoding", "gzip")];
    assert_eq!(server.ask(&post("/classify", &twice, &gz)).status, 415);
    server.is_well();
    server.has_a_clean_log();
}

/// What comes back if this is all that the client ever sends; none if the connection is closed without a word.
fn all_there_is(server: &Server, bytes: &[u8]) -> Option<Answer> {
    let mut client = server.connect();
    client.send(bytes).unwrap();
    client.no_more();
    client.receive().unwrap()
}

#[test]
fn a_content_length_is_believed_only_if_it_is_one() {
    let _together = together();
    let server = Server::start(&["--body-timeout", "2"]);
    let with = |length: &str| post("/classify", &[("content-length", length)], HORSE);
    let whole = HORSE.len().to_string();
    assert_eq!(server.ask(&with(&whole)).status, 200);
    for length in [
        "-5",
        "+5",
        "abc",
        "1e3",
        "0x10",
        "5.0",
        "",
        " ",
        "1 2",
        "18446744073709551616",
        "99999999999999999999999999",
    ] {
        let answer = server.ask(&with(length));
        assert_eq!(answer.status, 400, "{length:?}");
        answer.error();
    }
    let huge = server.ask(&with("18446744073709551000"));
    assert!(matches!(huge.status, 400 | 413), "{}", huge.status);
    // Too long, and nothing more comes.
    let answer = server.ask(&with(&(HORSE.len() + 9).to_string()));
    assert_eq!(answer.status, 408, "{}", answer.text());
    if let Some(answer) = all_there_is(&server, &with(&(HORSE.len() + 9).to_string())) {
        assert_eq!(answer.status, 400, "{}", answer.text());
        answer.error();
    }
    // Too short: the image ends early, and what is left is no request.
    let mut client = server.connect();
    let first = client.ask(&with(&(HORSE.len() - 100).to_string()));
    assert_eq!(first.status, 422, "{}", first.text());
    if let Ok(Some(second)) = client.receive() {
        assert_eq!(second.status, 400);
        second.error();
    }
    let twice = |a: &str, b: &str| {
        let fields = [("content-length", a), ("content-length", b)];
        server.ask(&post("/classify", &fields, HORSE))
    };
    assert_eq!(twice(&whole, "12").status, 400);
    assert_eq!(twice("12", &whole).status, 400);
    assert!(matches!(twice(&whole, &whole).status, 200 | 400));
    server.is_well();
    server.has_a_clean_log();
}

fn chunked(parts: &[&[u8]]) -> Vec<u8> {
    let mut body = Vec::new();
    for part in parts {
        body.extend(format!("{:x}\r\n", part.len()).bytes());
        body.extend_from_slice(part);
        body.extend(b"\r\n");
    }
    body.extend(b"0\r\n\r\n");
    body
}

#[test]
fn chunks_are_chunks() {
    let _together = together();
    let server = Server::start(&["--body-timeout", "2"]);
    let te = [("transfer-encoding", "chunked")];
    let small: Vec<&[u8]> = HORSE.chunks(7).collect();
    for parts in [&small[..], &[HORSE]] {
        let answer = server.ask(&post("/classify", &te, &chunked(parts)));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()[0]["label"], "horse");
    }
    for body in [
        &b"ZZ\r\nno size\r\n0\r\n\r\n"[..],
        b"-5\r\nminus\r\n0\r\n\r\n",
        b"FFFFFFFFFFFFFFFFF\r\ntoo many\r\n",
        b"5\r\nlonger than five\r\n0\r\n\r\n",
        b"\r\n\r\n",
        b"5;ext\x00=1\r\nhello\r\nnonsense",
    ] {
        let answer = server.ask(&post("/classify", &te, body));
        assert!(
            matches!(answer.status, 400 | 408),
            "{body:?}: {} {}",
            answer.status,
            answer.text()
        );
        answer.error();
    }
    // A chunk larger than a body may be is refused as it grows, not as it is announced, and not believed.
    let answer = server.ask(&post("/classify", &te, b"FFFFFFFFFFFFFFF\r\nhello"));
    assert!(
        matches!(answer.status, 400 | 408 | 413),
        "{}",
        answer.status
    );
    for coding in ["gzip", "chunked, gzip", "identity", "chunkedx", "xchunked"] {
        let body = chunked(&[HORSE]);
        let answer = server.ask(&post("/classify", &[("transfer-encoding", coding)], &body));
        assert_eq!(answer.status, 400, "{coding}");
        answer.error();
    }
    // Both lengths: one of them is believed, never both, so that no second request can hide in the first.
    for (a, b) in [
        ("transfer-encoding", "content-length"),
        ("content-length", "transfer-encoding"),
    ] {
        let value = |name: &str| {
            if name == "content-length" {
                "4"
            } else {
                "chunked"
            }
        };
        let body = chunked(&[HORSE]);
        let mut client = server.connect();
        let fields = [(a, value(a)), (b, value(b))];
        let answer = client.ask(&post("/classify", &fields, &body));
        assert!(matches!(answer.status, 200 | 400), "{}", answer.text());
        client.patience(std::time::Duration::from_millis(500));
        if let Ok(Some(other)) = client.receive() {
            panic!("a second answer: {other:?}");
        }
    }
    server.is_well();
    server.has_a_clean_log();
}

#[test]
fn the_json_s_length_is_within_the_body_and_around_the_json() {
    let _together = together();
    let server = Server::start(&[]);
    let data = element(HORSE);
    let json = |size: &str| {
        format!(
            r#"{{"inputs":[{{"name":"image","shape":[1],"datatype":"BYTES","parameters":{{"binary_data_size":{size}}}}}],"outputs":[{{"name":"probabilities","parameters":{{"classification":1}}}}]}}"#
        )
    };
    let right = json(&data.len().to_string());
    let answer = server.ask(&infer(&right, &data));
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains(":7:horse"), "{}", answer.text());
    let body = [right.as_bytes(), &data].concat();
    let ask = |lengths: &[&str]| {
        let name = "inference-header-content-length";
        let fields: Vec<_> = lengths.iter().map(|length| (name, *length)).collect();
        server.ask(&post("/v2/models/demo/infer", &fields, &body))
    };
    let (beyond, within) = ((body.len() + 1).to_string(), (right.len() - 3).to_string());
    let right_length = right.len().to_string();
    let after = (right.len() + 3).to_string();
    for lengths in [
        &[beyond.as_str()][..],
        &[&within],
        &[&after],
        &["1"],
        &["-1"],
        &["+5"],
        &["abc"],
        &[""],
        &["1.5"],
        &["99999999999999999999999999"],
        &["18446744073709551615"],
        &[&right_length, "12"],
        &[&right_length, &right_length],
        &[],
    ] {
        let answer = ask(lengths);
        assert_eq!(answer.status, 400, "{lengths:?}: {}", answer.text());
        answer.error();
    }
    // A length of 0 says that all is one image: here it is none.
    assert_eq!(ask(&["0"]).status, 422);
    let (short, long) = (data.len() - 1, data.len() + 1);
    for size in [
        &short.to_string(),
        &long.to_string(),
        "0",
        "3",
        "-1",
        "1.5",
        "\"12\"",
        "null",
        "true",
        "1e999",
        "18446744073709551615",
        "18446744073709551616",
        "[1]",
        "{}",
    ] {
        let answer = server.ask(&infer(&json(size), &data));
        assert_eq!(answer.status, 400, "{size}: {}", answer.text());
        answer.error();
    }
    for (name, damaged) in [
        ("longer", [&u32::MAX.to_le_bytes(), HORSE].concat()),
        ("cut", data[..data.len() - 1].to_vec()),
        ("half a length", [&data[..], b"\x01\0"].concat()),
        ("two", [&data[..], &data].concat()),
        ("an empty one too", [&data[..], &[0; 4]].concat()),
    ] {
        let answer = server.ask(&infer(&json(&damaged.len().to_string()), &damaged));
        assert_eq!(answer.status, 400, "{name}: {}", answer.text());
        answer.error();
    }
    let empty = server.ask(&infer(&json("4"), &[0; 4]));
    assert_eq!(empty.status, 422, "an image of no bytes: {}", empty.text());
    server.is_well();
    server.has_a_clean_log();
}

#[test]
fn heads_that_are_none_are_refused_in_words() {
    let _together = together();
    let server = Server::start(&[]);
    let many: String = (0..150).map(|n| format!("x-{n}: 1\r\n")).collect();
    let cases: [(&str, Vec<u8>, &[u16]); 10] = [
        (
            "fields",
            format!("GET /v2 HTTP/1.1\r\n{many}\r\n").into(),
            &[431],
        ),
        (
            "a field",
            format!("GET /v2 HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(1 << 20)).into(),
            &[431],
        ),
        (
            "an address",
            format!("GET /{} HTTP/1.1\r\n\r\n", "y".repeat(1 << 20)).into(),
            &[414, 431],
        ),
        (
            "a name",
            format!("GET /v2 HTTP/1.1\r\n{}: 1\r\n\r\n", "y".repeat(70_000)).into(),
            &[400, 431],
        ),
        ("a method", b"G\0T /v2 HTTP/1.1\r\n\r\n".to_vec(), &[400]),
        ("a version", b"GET /v2 HTTP/9.9\r\n\r\n".to_vec(), &[400]),
        (
            "no HTTP",
            b"hello, is anybody there?\r\n\r\n".to_vec(),
            &[400],
        ),
        (
            "TLS",
            b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03 hello\r\n\r\n".to_vec(),
            &[400],
        ),
        (
            "a space",
            b"GET /v2 HTTP/1.1\r\nbad name: 1\r\n\r\n".to_vec(),
            &[400],
        ),
        (
            "a NUL",
            b"GET /v2 HTTP/1.1\r\nx: a\0b\r\n\r\n".to_vec(),
            &[400],
        ),
    ];
    for (name, bytes, expected) in cases {
        let mut client = server.connect();
        // The server need not read it to its end.
        let _ = client.send(&bytes);
        let answer = client.receive().unwrap().expect(name);
        assert!(expected.contains(&answer.status), "{name}: {}", answer.head);
        assert!(answer.closes(), "{name}: {}", answer.head);
        answer.error();
        assert!(client.receive().unwrap().is_none(), "{name}");
    }
    for (request, status) in [
        (get("/nothing"), 404),
        (get("/classify"), 405),
        (post("/v2", &[], b""), 405),
        (b"BREW /classify HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), 405),
        (get("/v2/models/demo/versions/9"), 404),
        (get("/v2/models/%ff%fe"), 400),
        (get("/../../etc/passwd"), 404),
        (get("/assets/..%2f..%2fetc%2fpasswd"), 404),
        (post("/classify?topk=-1", &[], HORSE), 400),
        (post("/classify?nonsense=1", &[], HORSE), 400),
        (post("/classify?model=other", &[], HORSE), 404),
        (post("/classify", &[], b""), 400),
    ] {
        let head = String::from_utf8_lossy(&request[..40.min(request.len())]).into_owned();
        let answer = server.ask(&request);
        assert_eq!(answer.status, status, "{head}: {}", answer.text());
        answer.error();
    }
    server.is_well();
    server.has_a_clean_log();
}
