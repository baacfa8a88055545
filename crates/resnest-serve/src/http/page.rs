//! The page to look at, and what belongs to it: all of it in the binary.

use axum::extract::Path;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use resnest::demo::PHOTOS;

use crate::failure::Kind;
use crate::{Failure, Outcome};

const HTML: &str = include_str!("../page/index.html");
const SCRIPT: &str = "text/javascript; charset=utf-8";
const FILES: [(&str, &str, &str); 6] = [
    (
        "page.css",
        "text/css; charset=utf-8",
        include_str!("../page/page.css"),
    ),
    ("page.js", SCRIPT, include_str!("../page/page.js")),
    ("map.js", SCRIPT, include_str!("../page/map.js")),
    ("photo.js", SCRIPT, include_str!("../page/photo.js")),
    ("code.js", SCRIPT, include_str!("../page/code.js")),
    (
        "icon.svg",
        "image/svg+xml",
        include_str!("../page/icon.svg"),
    ),
];

/// Nothing from elsewhere, nothing inline, in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
    connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

pub(super) async fn page() -> Response {
    let mut response = file("text/html; charset=utf-8", HTML);
    let policy = HeaderValue::from_static(POLICY);
    response
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}

pub(super) async fn asset(Path(name): Path<String>) -> Outcome<Response> {
    let found = FILES.into_iter().find(|(file, ..)| *file == name);
    match found {
        Some((_, kind, text)) => Ok(file(kind, text)),
        None => Err(missing(&name)),
    }
}

pub(super) async fn sample(Path(name): Path<String>) -> Outcome<Response> {
    let found = PHOTOS.into_iter().find(|(file, _)| *file == name);
    let (_, bytes) = found.ok_or_else(|| missing(&name))?;
    Ok(([(header::CONTENT_TYPE, "image/png")], bytes).into_response())
}

fn file(kind: &'static str, text: &'static str) -> Response {
    let fresh = (header::CACHE_CONTROL, "no-cache");
    ([(header::CONTENT_TYPE, kind), fresh], text).into_response()
}

fn missing(name: &str) -> Failure {
    Failure::new(Kind::NotFound, format!("there is no file {name:?} here"))
}
