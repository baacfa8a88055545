//! Who may come in, from where, and by what name a request goes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::server::Server;

const ORIGIN: (&str, &str) = ("origin", "https://example.org");

#[test]
fn a_request_keeps_its_id_or_is_given_one() {
    let server = Server::demo(&["--log-format", "json"]);
    let id = |headers: &[(&str, &str)]| {
        let answer = server.ask("GET", "/v2", headers, b"");
        assert_eq!(answer.status, 200);
        answer.header("x-request-id").unwrap().to_owned()
    };
    assert_eq!(
        id(&[("x-request-id", "a-7/ü")]).len(),
        id(&[]).len(),
        "not ASCII: ours"
    );
    assert_eq!(id(&[("x-request-id", "a-7/b.c:d")]), "a-7/b.c:d");
    assert_eq!(id(&[("x-request-id", &"x".repeat(128))]), "x".repeat(128));
    for unfit in ["a b", "", &"x".repeat(129)] {
        let made = id(&[("x-request-id", unfit)]);
        assert!(made != unfit && !made.is_empty(), "{made}");
    }
    assert_ne!(id(&[]), id(&[]));
    // Refusals have one too, and the log names them by it.
    let refused = server.ask("GET", "/nowhere", &[("x-request-id", "lost-1")], b"");
    assert!(refused.error(404).contains("/nowhere"));
    assert_eq!(refused.header("x-request-id"), Some("lost-1"));
    server.signal("TERM");
    let (status, log) = server.ended();
    assert!(status.success());
    let lines = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect(line));
    let lines: Vec<Value> = lines.collect();
    let about = |id: &str| lines.iter().any(|line| line.to_string().contains(id));
    assert!(about("lost-1") && about("a-7/b.c:d"), "{log}");
}

/// A client that keeps its connections sends its next request on the one that brought it a refusal.
#[test]
fn an_early_refusal_leaves_the_connection_as_it_is_or_says_that_it_ends() {
    let server = Server::demo(&[]);
    let ask = |length: usize, pause: bool| {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        let head = "POST /v2/models/absent/infer HTTP/1.1\r\nhost: a\r\ncontent-length";
        write!(stream, "{head}: {length}\r\n\r\n").unwrap();
        let body = vec![0; length.min(1 << 20)];
        if pause {
            std::thread::sleep(Duration::from_millis(50));
        }
        stream.write_all(&body).unwrap();
        let next = "GET /v2 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        stream.write_all(next.as_bytes()).unwrap();
        let mut answers = Vec::new();
        // What was sent in vain may end it with an error.
        let _ = stream.read_to_end(&mut answers);
        String::from_utf8_lossy(&answers).into_owned()
    };
    for (length, pause) in [(1, false), (1, true), (1 << 20, false), (1 << 20, true)] {
        let answers = ask(length, pause);
        assert!(answers.starts_with("HTTP/1.1 404"), "{answers}");
        assert!(
            answers.contains("HTTP/1.1 200"),
            "{length} {pause}: {answers}"
        );
    }
    // More than is read for nothing.
    let mut stream = TcpStream::connect(&server.address).unwrap();
    let head =
        "POST /v2/models/absent/infer HTTP/1.1\r\nhost: a\r\ncontent-length: 9000000\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
}

#[test]
fn a_trace_goes_on() {
    let server = Server::demo(&[]);
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    for path in ["/v2", "/nowhere"] {
        let answer = server.ask("GET", path, &[("traceparent", trace)], b"");
        assert_eq!(answer.header("traceparent"), Some(trace));
        assert_eq!(server.get(path).header("traceparent"), None);
    }
}

#[test]
fn with_keys_nobody_comes_in_without_one() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    std::fs::write(&keys, "first-key\n\n  second-key  \n").unwrap();
    let server = Server::demo(&["--api-key-file", keys.to_str().unwrap()]);
    for path in [
        "/",
        "/assets/page.js",
        "/samples/horse.png",
        "/health",
        "/ping",
        "/v2/health/ready",
        "/v2/health/live",
        "/openapi.json",
        "/docs/",
    ] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    let refused: [&[(&str, &str)]; 7] = [
        &[],
        &[("authorization", "Bearer first-ke")],
        &[("authorization", "Bearer first-key2")],
        &[("authorization", "Bearer ")],
        &[("authorization", "first-key")],
        &[("authorization", "Basic first-key")],
        &[("x-api-key", "")],
    ];
    for path in ["/v2", "/v2/models/demo", "/metrics", "/nowhere"] {
        for headers in refused {
            let answer = server.ask("GET", path, headers, b"");
            assert!(answer.error(401).contains("API key"), "{path} {headers:?}");
        }
        for header in [
            ("authorization", "Bearer first-key"),
            ("authorization", "bearer second-key"),
            ("x-api-key", "second-key"),
        ] {
            let expected = if path == "/nowhere" { 404 } else { 200 };
            assert_eq!(
                server.ask("GET", path, &[header], b"").status,
                expected,
                "{path} {header:?}"
            );
        }
    }
    let classify = |headers: &[_]| server.ask("POST", "/classify", headers, b"x").status;
    assert_eq!(
        (classify(&[]), classify(&[("x-api-key", "first-key")])),
        (401, 422)
    );
}

#[test]
fn other_pages_are_told_nothing_unless_they_were_named() {
    let closed = Server::demo(&[]);
    for method in ["GET", "OPTIONS"] {
        let asked = [ORIGIN, ("access-control-request-method", "POST")];
        let answer = closed.ask(method, "/v2", &asked, b"");
        assert_eq!(answer.headers("access-control"), [""; 0], "{answer:?}");
        assert_eq!(answer.status, if method == "GET" { 200 } else { 405 });
    }
}

#[test]
fn pages_that_were_named_may_call_with_a_key_and_read_refusals() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    std::fs::write(&keys, "key").unwrap();
    let key = ("x-api-key", "key");
    let server = Server::demo(&[
        "--cors-origin",
        ORIGIN.1,
        "--api-key-file",
        keys.to_str().unwrap(),
    ]);
    // A browser asks without the key whether it may send it.
    let asked = [
        ORIGIN,
        ("access-control-request-method", "POST"),
        (
            "access-control-request-headers",
            "authorization,content-type,x-request-id",
        ),
    ];
    let may = server.ask("OPTIONS", "/classify", &asked, b"");
    assert_eq!(
        (may.status, may.header("access-control-allow-origin")),
        (200, Some(ORIGIN.1))
    );
    assert!(
        may.header("access-control-allow-methods")
            .unwrap()
            .contains("POST")
    );
    let headers = may.header("access-control-allow-headers").unwrap();
    assert!(
        headers.contains("authorization") && headers.contains("content-type"),
        "{headers}"
    );
    for (headers, status) in [(&[ORIGIN, key][..], 200), (&[ORIGIN], 401)] {
        let answer = server.ask("GET", "/v2", headers, b"");
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN.1));
        let shown = answer.header("access-control-expose-headers").unwrap();
        assert!(shown.contains("x-request-id"), "{shown}");
    }
    let other = ("origin", "https://example.org.evil.example");
    assert_eq!(
        server
            .ask("GET", "/v2", &[other, key], b"")
            .header("access-control-allow-origin"),
        None
    );
}
