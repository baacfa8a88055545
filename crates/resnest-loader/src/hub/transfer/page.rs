//! Pages in a file's place: what a network's log-in, a proxy or a mirror sends with status 200.
//!
//! A hash shows that they are not the file. These are the rules for files that come without one.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use ureq::http::HeaderMap;

use super::http::text;

/// Bytes that are looked at of a file that is no JSON.
const HEAD: u64 = 512;
/// JSON files up to this size are read as a whole; configurations and indices are far smaller.
const MAX_JSON: u64 = 64 << 20;
/// All that an error's object has; no configuration has only these.
const ERROR_KEYS: [&str; 8] = [
    "error",
    "errors",
    "message",
    "detail",
    "status",
    "statusCode",
    "code",
    "request_id",
];

/// Whether the headers announce an HTML page.
pub(super) fn is_announced(headers: &HeaderMap) -> bool {
    let kind = text(headers, "content-type").unwrap_or_default();
    kind.to_ascii_lowercase().starts_with("text/html")
}

/// What the bytes of `file` are, if they cannot be those of a file called `name`.
pub(super) fn mistaken(
    file: &mut File,
    name: &str,
    announced: bool,
) -> io::Result<Option<&'static str>> {
    let name = name.to_ascii_lowercase();
    let ends = |endings: &[&str]| endings.iter().any(|end| name.ends_with(end));
    if ends(&[".html", ".htm", ".xml", ".svg"]) {
        return Ok(None);
    }
    let head = head(file)?;
    if head.is_empty() {
        return Ok(Some("an empty body"));
    }
    if ends(&[".safetensors", ".bin", ".pth", ".pt", ".pth.tar", ".ckpt"]) {
        return Ok((!is_checkpoint(&head)).then(|| kind(&head)));
    }
    if ends(&[".json"]) {
        return judge_json(file, &head);
    }
    let page = announced || is_page(&head);
    Ok(page.then_some("an HTML page"))
}

/// What a message calls bytes that are not the file's: nothing when they are not known either.
pub(super) fn note(file: &mut File) -> &'static str {
    match head(file) {
        Ok(head) if is_page(&head) => " (an HTML page: the log-in page of this network?)",
        _ => "",
    }
}

fn head(file: &mut File) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(HEAD).read_to_end(&mut head)?;
    Ok(head)
}

/// A zip archive, a pickle, or a length and the beginning of a JSON object.
fn is_checkpoint(head: &[u8]) -> bool {
    let header = trimmed(head.get(8..).unwrap_or_default());
    head.starts_with(b"PK\x03\x04") || head.starts_with(b"\x80") || header.starts_with(b"{")
}

fn is_page(head: &[u8]) -> bool {
    let start = trimmed(head);
    let lower = start
        .get(..start.len().min(16))
        .unwrap_or_default()
        .to_ascii_lowercase();
    [
        &b"<!doctype html"[..],
        b"<html",
        b"<head",
        b"<body",
        b"<script",
        b"<?xml",
    ]
    .iter()
    .any(|tag| lower.starts_with(tag))
}

fn kind(head: &[u8]) -> &'static str {
    match trimmed(head).first() {
        Some(b'<') => "an HTML page",
        Some(b'{' | b'[') => "JSON text",
        _ => "no checkpoint",
    }
}

fn judge_json(file: &mut File, head: &[u8]) -> io::Result<Option<&'static str>> {
    if trimmed(head).starts_with(b"<") {
        return Ok(Some("an HTML page"));
    }
    let mut all = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(MAX_JSON + 1).read_to_end(&mut all)?;
    if all.len() as u64 > MAX_JSON {
        return Ok(None); // refused when it is used
    }
    Ok(match serde_json::from_slice::<serde_json::Value>(&all) {
        Err(_) => Some("no whole JSON text"),
        Ok(serde_json::Value::Object(object)) => {
            let known = |key: &String| ERROR_KEYS.contains(&key.as_str());
            let is_error = !object.is_empty() && object.keys().all(known);
            is_error.then_some("an error message in JSON")
        }
        Ok(_) => None,
    })
}

/// Without a byte order mark and blanks in front.
fn trimmed(bytes: &[u8]) -> &[u8] {
    bytes
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(bytes)
        .trim_ascii_start()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn judged(name: &str, bytes: &[u8], announced: bool) -> Option<&'static str> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        mistaken(&mut file, name, announced).unwrap()
    }

    #[test]
    fn pages_and_messages_are_told_from_files() {
        let page = b"\xef\xbb\xbf\n <!DOCTYPE HTML><html><title>Log in</title>";
        let error = br#"{"error": "Repository not found", "statusCode": 404}"#;
        for (name, bytes, wanted) in [
            ("model.safetensors", &page[..], Some("an HTML page")),
            ("model.safetensors", error, Some("JSON text")),
            (
                "model.safetensors",
                b"error code: 1020",
                Some("no checkpoint"),
            ),
            ("model.safetensors", b"", Some("an empty body")),
            ("pytorch_model.bin", page, Some("an HTML page")),
            ("x/model.pth.tar", b"Not Found", Some("no checkpoint")),
            ("config.json", page, Some("an HTML page")),
            ("config.json", error, Some("an error message in JSON")),
            (
                "config.json",
                br#"{"architecture": "resn"#,
                Some("no whole JSON text"),
            ),
            ("labels.txt", page, Some("an HTML page")),
            // a header of 123 bytes has a length that begins with `{`
            ("model.safetensors", b"{\0\0\0\0\0\0\0{\"a\":", None),
            ("model.safetensors", b"\x10\0\0\0\0\0\0\0{\"a\":", None),
            ("pytorch_model.bin", b"PK\x03\x04...", None),
            ("pytorch_model.bin", b"\x80\x02\x8a\x0a", None),
            (
                "config.json",
                br#"{"architecture": "resnest50d", "error": 1}"#,
                None,
            ),
            ("config.json", b"{}", None),
            ("labels.txt", b"cat\ndog\n", None),
            ("index.html", page, None),
        ] {
            assert_eq!(judged(name, bytes, false), wanted, "{name} {bytes:?}");
        }
        // a mirror may call everything a page; what proves itself is believed
        assert_eq!(judged("config.json", b"{}", true), None);
        assert_eq!(judged("pytorch_model.bin", b"PK\x03\x04...", true), None);
        assert_eq!(judged("labels.txt", b"cat\n", true), Some("an HTML page"));
    }
}
