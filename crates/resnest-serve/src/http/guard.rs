//! What every request passes on its way in and out: its id, the key, the end of the server's life, times, log, metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument;

use super::leftover;
use super::served::{Served, add_times};
use crate::failure::Kind;
use crate::{Failure, Outcome, State as Server};

pub(crate) const ID: HeaderName = HeaderName::from_static("x-request-id");
const KEY: HeaderName = HeaderName::from_static("x-api-key");
pub(crate) const TRACE: HeaderName = HeaderName::from_static("traceparent");

/// Around everything else.
pub(super) async fn guard(
    State(server): State<Arc<Server>>,
    request: Request,
    next: Next,
) -> Response {
    let start = Instant::now();
    let about = About::of(&request, &server);
    let id = request_id(request.headers());
    let trace = request.headers().get(TRACE).cloned();
    let span = tracing::info_span!(
        "request",
        id = id.to_str().unwrap_or_default(),
        method = %request.method(),
        path = request.uri().path(),
        trace = trace.as_ref().and_then(|t| t.to_str().ok()).unwrap_or_default(),
    );
    crate::telemetry::set_parent(&span, request.headers());
    let version = request.version();
    let in_flight = server.life.enter();
    let (request, leftover) = leftover::lend(request);
    let mut response = async {
        match admit(&server, &about, request.headers()) {
            Ok(()) => next.run(request).await,
            Err(failure) => failure.into_response(),
        }
    }
    .instrument(span.clone())
    .await;
    response = in_json(response);
    let headers = response.headers_mut();
    headers.insert(ID, id);
    if let Some(trace) = trace {
        headers.insert(TRACE, trace);
    }
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    let reusable = match leftover {
        Some(leftover) => leftover.read().await,
        None => true,
    };
    let ends = !reusable || server.life.draining();
    if ends && version < Version::HTTP_2 {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let served = response.extensions().get::<Served>().copied();
    add_times(response.headers_mut(), start, served.as_ref());
    span.in_scope(|| about.report(&server, &response, start, served));
    drop(in_flight);
    response
}

/// What a request is about, as metrics are labelled: names that clients make up are not kept.
struct About {
    endpoint: &'static str,
    model: String,
    open: bool,
    health: bool,
}

impl About {
    fn of(request: &Request, server: &Server) -> Self {
        let route = request.extensions().get::<MatchedPath>();
        let route = route.map_or("", MatchedPath::as_str);
        let endpoint = endpoint(route, request.method() == axum::http::Method::GET);
        let model = match endpoint {
            "classify" | "infer" | "model" => {
                named(request.uri().path(), request.uri().query(), server)
            }
            _ => String::new(),
        };
        Self {
            endpoint,
            model,
            open: matches!(endpoint, "health" | "page"),
            health: endpoint == "health",
        }
    }

    fn report(&self, server: &Server, response: &Response, start: Instant, served: Option<Served>) {
        let (took, status) = (start.elapsed(), response.status().as_u16());
        server
            .metrics
            .request(&self.model, self.endpoint, status, took);
        let ms = took.as_secs_f64() * 1e3;
        let batch = served.map_or(0, |Served(times)| times.batch);
        let error = response
            .extensions()
            .get::<Failure>()
            .map(|failure| failure.message.as_str());
        match error {
            // What is asked every few seconds is not worth a line.
            None if self.health || self.endpoint == "metrics" => {
                tracing::debug!(status, ms, "answered")
            }
            None => tracing::info!(status, ms, batch, model = self.model, "answered"),
            Some(error) if status >= 500 => {
                tracing::warn!(status, ms, model = self.model, error, "failed")
            }
            Some(error) => tracing::info!(status, ms, model = self.model, error, "refused"),
        }
    }
}

fn endpoint(route: &str, get: bool) -> &'static str {
    match route {
        "/v2/health/live" | "/v2/health/ready" | "/health" | "/ping" => "health",
        "/metrics" => "metrics",
        "/" if get => "page",
        "/assets/{name}" | "/samples/{name}" | "/openapi.json" => "page",
        route if route.starts_with("/docs") => "page",
        "/" | "/classify" | "/invocations" | "/models/{model}" | "/v1/models/{call}" => "classify",
        route if route.ends_with("/infer") => "infer",
        route if route.starts_with("/v2/repository") => "repository",
        route if route.starts_with("/v2/models/{model}") => "model",
        _ => "other",
    }
}

/// The model that an address means, if there is one.
fn named(path: &str, query: Option<&str>, server: &Server) -> String {
    let after = ["/v2/models/", "/v1/models/", "/models/"];
    let segment = after.iter().find_map(|start| path.strip_prefix(start));
    let segment = segment.map(|rest| rest.split(['/', ':']).next().unwrap_or_default());
    let asked = query.and_then(|query| {
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix("model="))
    });
    match segment.or(asked) {
        Some(name) => server.models.known(name).unwrap_or_default().to_owned(),
        None => server
            .options
            .models
            .first()
            .map(|spec| spec.name.clone())
            .unwrap_or_default(),
    }
}

/// Whether the request may go on.
fn admit(server: &Server, about: &About, headers: &HeaderMap) -> Outcome<()> {
    if !about.open {
        server.check_key(key(headers))?;
    }
    match about.health {
        true => Ok(()),
        false => server.not_draining(),
    }
}

pub(crate) fn key(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| {
        let (scheme, key) = value.as_bytes().split_at_checked(7)?;
        scheme.eq_ignore_ascii_case(b"bearer ").then_some(key)
    });
    bearer.or_else(|| headers.get(KEY).map(HeaderValue::as_bytes))
}

/// The client's id if it is one that can be shown, else one of our own.
pub(crate) fn request_id(headers: &HeaderMap) -> HeaderValue {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let fits = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=128).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
    };
    headers.get(ID).filter(fits).cloned().unwrap_or_else(|| {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let text = format!("{:x}-{:x}-{number:x}", now.as_micros(), std::process::id());
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("none"))
    })
}

/// What the router answers by itself is in JSON too.
fn in_json(response: Response) -> Response {
    let status = response.status();
    let known = response.extensions().get::<Failure>().is_some();
    if known || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let kind = match status.as_u16() {
        404 => Kind::NotFound,
        405 => Kind::MethodNotAllowed,
        413 => Kind::TooLarge,
        415 => Kind::UnsupportedMedia,
        400..500 => Kind::BadRequest,
        _ => Kind::Internal,
    };
    let reason = status.canonical_reason().unwrap_or("an error");
    Failure::new(kind, reason).into_response()
}
