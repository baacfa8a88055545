//! Mirrors that tell no hash, or tell it in another way, and what must not be kept of their answers.

use std::fs;

use resnest_loader::hub::HubError;

use crate::common::{REPO, WEIGHTS, World, noise};
use crate::server::{COMMIT, Fault, sha256};

/// An answer of exactly these bytes.
fn raw(head: &str, body: &[u8]) -> Fault {
    let head = head.replace('\n', "\r\n");
    Fault::Raw([head.as_bytes(), body].concat().leak())
}

/// What a mirror says of a file when it knows neither hash nor length.
fn vague_head() -> Fault {
    let head = format!(
        "HTTP/1.1 200 OK\nX-Repo-Commit: {COMMIT}\nETag: \"mirror-7\"\nConnection: close\n\n"
    );
    raw(&head, b"")
}

/// A body with nothing but the connection's end behind it.
fn until_closed(body: &[u8]) -> Fault {
    raw("HTTP/1.1 200 OK\nConnection: close\n\n", body)
}

fn chunked(body: &[u8], last: bool) -> Fault {
    let mut bytes = Vec::new();
    for chunk in body.chunks(1000) {
        bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
    }
    bytes.extend(if last { &b"0\r\n\r\n"[..] } else { b"" });
    raw(
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nConnection: close\n\n",
        &bytes,
    )
}

fn with_length(body: &[u8], length: usize, kind: &str) -> Fault {
    let head = format!(
        "HTTP/1.1 200 OK\nContent-Type: {kind}\nContent-Length: {length}\nConnection: close\n\n"
    );
    raw(&head, body)
}

/// A safetensors file of 10 000 bytes.
fn weights() -> Vec<u8> {
    let header = br#"{"a":{"dtype":"U8","shape":[9936],"data_offsets":[0,9936]}}     "#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.extend(noise(9936 - 8));
    bytes
}

/// What becomes of a file of which `HEAD` says nothing and `GET` answers so, once or for ever.
fn fetched(name: &str, answers: Vec<Fault>) -> (World, Result<Vec<u8>, HubError>) {
    let world = World::new();
    world.server.fault("HEAD", name, vec![vague_head(); 9]);
    world.server.fault("GET", name, answers);
    let hub = world.hub_with(|options| options.retries = 1);
    let found = hub
        .file(REPO, None, name)
        .map(|path| fs::read(path).unwrap());
    (world, found)
}

fn assert_nothing_kept(world: &World) {
    let kept: Vec<_> = world
        .tree()
        .into_iter()
        .filter(|path| !path.starts_with("refs/"))
        .collect();
    assert!(kept.is_empty(), "{kept:?}");
}

#[test]
fn a_body_whose_end_does_not_show_is_not_kept() {
    let whole = weights();
    for body in [&whole[..5000], &whole] {
        let (world, found) = fetched(WEIGHTS, vec![until_closed(body); 9]);
        let error = found.unwrap_err();
        assert!(matches!(error, HubError::Unverifiable { .. }), "{error}");
        assert!(error.to_string().contains("HF_ENDPOINT"), "{error}");
        assert_nothing_kept(&world);
    }
    // with a hash, the end need not show
    let world = World::new();
    world.server.without_cdn();
    let unsaid = Fault::Without(&["X-Linked-Size", "Content-Length"]);
    world.server.fault("HEAD", WEIGHTS, vec![unsaid; 9]);
    let answers = [
        until_closed(&world.weights[..5000]),
        until_closed(&world.weights),
    ];
    world.server.fault("GET", WEIGHTS, answers);
    let path = world.hub().file(REPO, None, WEIGHTS).unwrap();
    assert_eq!(fs::read(path).unwrap(), world.weights);
}

#[test]
fn a_body_in_chunks_is_whole_with_its_last_chunk_only() {
    let whole = weights();
    let (world, found) = fetched(WEIGHTS, vec![chunked(&whole, true)]);
    assert_eq!(found.unwrap(), whole);
    assert!(world.tree().contains(&"blobs/mirror-7".to_owned()));
    for cut in [chunked(&whole[..5000], false), chunked(&whole, false)] {
        let (world, found) = fetched(WEIGHTS, vec![cut.clone(); 9]);
        let error = found.unwrap_err();
        assert!(matches!(error, HubError::Cut { .. }), "{error}");
        assert!(!world.tree().contains(&"blobs/mirror-7".to_owned()));
    }
}

#[test]
fn a_length_that_only_the_body_comes_with_is_held_to() {
    let whole = weights();
    let kind = "application/octet-stream";
    let (_, found) = fetched(WEIGHTS, vec![with_length(&whole, whole.len(), kind)]);
    assert_eq!(found.unwrap(), whole);
    let cut = with_length(&whole[..5000], whole.len(), kind);
    let (world, found) = fetched(WEIGHTS, vec![cut; 9]);
    assert!(matches!(found.unwrap_err(), HubError::Cut { .. }));
    assert!(!world.tree().contains(&"blobs/mirror-7".to_owned()));
}

#[test]
fn a_page_with_the_hubs_headers_is_not_kept() {
    let page = b"<!DOCTYPE html>\n<html><title>Welcome to the airport</title></html>";
    let message = br#"{"error": "Access restricted", "statusCode": 403}"#;
    for (name, body, kind, says) in [
        (
            WEIGHTS,
            &page[..],
            "text/html; charset=utf-8",
            "an HTML page",
        ),
        (WEIGHTS, page, "application/octet-stream", "an HTML page"),
        (WEIGHTS, message, "application/json", "JSON text"),
        ("config.json", page, "text/html", "an HTML page"),
        (
            "config.json",
            message,
            "application/json",
            "an error message",
        ),
        (
            "config.json",
            br#"{"architecture":"#,
            "application/json",
            "no whole JSON",
        ),
    ] {
        let answer = with_length(body, body.len(), kind);
        let (world, found) = fetched(name, vec![answer; 9]);
        let error = found.unwrap_err();
        assert!(matches!(error, HubError::Page { .. }), "{error}");
        let text = error.to_string();
        assert!(
            text.contains(says) && text.contains("log-in page"),
            "{text}"
        );
        assert_nothing_kept(&world);
    }
}

#[test]
fn a_page_in_the_place_of_a_hashed_file_is_called_one() {
    let page = b"<html>log in</html>\n";
    let world = World::new();
    let answer = with_length(page, page.len(), "text/html");
    world
        .server
        .fault("GET", &sha256(&world.weights), vec![answer; 2]);
    let error = world.hub().file(REPO, None, WEIGHTS).unwrap_err();
    assert!(matches!(error, HubError::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("log-in page"), "{error}");

    let world = World::new();
    let answer = with_length(page, page.len(), "text/html");
    world.server.fault("HEAD", WEIGHTS, vec![answer; 2]);
    let error = world.hub().file(REPO, None, WEIGHTS).unwrap_err();
    assert!(matches!(error, HubError::Protocol { .. }), "{error}");
    assert!(error.to_string().contains("log-in page"), "{error}");
}

#[test]
fn a_hash_in_capitals_is_a_hash() {
    let capitals = |world: &World| {
        let etag = format!("\"{}\"", sha256(&world.weights).to_uppercase());
        world.server.without_cdn();
        world.server.fault(
            "HEAD",
            WEIGHTS,
            vec![Fault::With("X-Linked-ETag", etag.leak()); 9],
        );
    };
    let world = World::new();
    capitals(&world);
    let path = world.hub().file(REPO, None, WEIGHTS).unwrap();
    assert_eq!(fs::read(path).unwrap(), world.weights);

    let world = World::new();
    capitals(&world);
    world
        .server
        .fault("GET", WEIGHTS, vec![Fault::WrongBytes; 9]);
    let error = world.hub().file(REPO, None, WEIGHTS).unwrap_err();
    assert!(
        matches!(
            error,
            HubError::Corrupt {
                check: "sha256",
                ..
            }
        ),
        "{error}"
    );
    assert_nothing_kept(&world);
}
