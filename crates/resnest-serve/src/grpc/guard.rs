//! What every call passes on its way in and out, as HTTP's requests do: its id, the key, the end of the server's
//! life, its time, its share of the memory, the log, the metrics.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName};
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::Limited;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use tracing::Instrument;

use super::SMALL;
use super::stream::Flow;
use crate::http::body::receive;
use crate::http::guard::{ID, TRACE, key, request_id};
use crate::http::served::{Served, add_times};
use crate::{Failure, Kind, Outcome, State as Server};

/// Triton's name for a request's id.
const TRITON_ID: HeaderName = HeaderName::from_static("triton-request-id");
/// When the client gives up, as gRPC's libraries send it.
const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// The model that a call is about, once its message was read; among a request's extensions.
#[derive(Debug, Default)]
pub(super) struct About(OnceLock<String>);

impl About {
    /// Notes the model, if there is one of this name: names that clients make up are not kept.
    pub(super) fn model(&self, server: &Server, name: &str) {
        if let Some(name) = server.models.known(name) {
            let _ = self.0.set(name.to_owned());
        }
    }

    fn name(&self) -> &str {
        self.0.get().map_or("", String::as_str)
    }
}

/// A failure as gRPC says it; the guard finds it in the answer again.
pub(super) fn refuse(failure: Failure) -> Status {
    let mut status = Status::from(failure.clone());
    if let Some(seconds) = failure.retry_after {
        // What gRPC's libraries wait before they try again, if they were told to.
        status.metadata_mut().insert(
            "grpc-retry-pushback-ms",
            MetadataValue::from(seconds * 1000),
        );
    }
    status.set_source(Arc::new(failure));
    status
}

/// A status that is not of this server's making is tonic's about a message that it could not read. Whoever sent it is
/// told so, rather than of a fault in here.
pub(super) fn blame(status: Status) -> Status {
    let tonic_s = failure(&status).is_none();
    match status.code() {
        Code::Internal | Code::Unknown | Code::OutOfRange if tonic_s => {
            Status::invalid_argument(format!("the message cannot be read: {}", status.message()))
        }
        _ => status,
    }
}

/// What [`refuse`] was given.
fn failure(status: &Status) -> Option<&Failure> {
    std::error::Error::source(status)?.downcast_ref()
}

/// Around everything else.
pub(super) async fn guard(
    State(server): State<Arc<Server>>,
    mut request: Request,
    next: Next,
) -> Response {
    let start = Instant::now();
    let call = Call::of(request.uri().path());
    let about = Arc::new(About::default());
    request.extensions_mut().insert(about.clone());
    adopt_triton_id(request.headers_mut());
    let id = request_id(request.headers());
    let trace = request.headers().get(TRACE).cloned();
    let span = tracing::info_span!(
        "request",
        id = id.to_str().unwrap_or_default(),
        path = request.uri().path(),
        trace = trace
            .as_ref()
            .and_then(|t| t.to_str().ok())
            .unwrap_or_default(),
    );
    crate::telemetry::set_parent(&span, request.headers());
    let in_flight = server.life.enter();
    let answer = in_time(&server, call, &about, request, next)
        .instrument(span.clone())
        .await;
    let mut response = answer.unwrap_or_else(|failure| refuse(failure).into_http());
    if let Some(status) = response.extensions_mut().remove::<Status>() {
        response = blame(status).into_http();
    }
    response.headers_mut().insert(ID, id);
    if let Some(trace) = trace {
        response.headers_mut().insert(TRACE, trace);
    }
    let served = response.extensions().get::<Served>().copied();
    add_times(response.headers_mut(), start, served.as_ref());
    span.in_scope(|| report(&server, call, about.name(), &response, start.elapsed()));
    drop(in_flight);
    response
}

/// The same under the name that everything else knows.
fn adopt_triton_id(headers: &mut HeaderMap) {
    if let Some(id) = headers.remove(TRITON_ID) {
        headers.entry(ID).or_insert(id);
    }
}

/// The answer, unless the client's own time for it is over first.
async fn in_time(
    server: &Arc<Server>,
    call: Call,
    about: &About,
    request: Request,
    next: Next,
) -> Outcome<Response> {
    let limit = request
        .headers()
        .get(TIMEOUT)
        .and_then(|value| timeout(value.to_str().ok()?));
    let limit = match call {
        // Small messages to calls that need no key.
        Call::Health => Some(
            limit
                .unwrap_or(Duration::MAX)
                .min(server.options.limits.body_timeout),
        ),
        _ => limit,
    };
    let answer = answer(server, call, request, next);
    let Some(limit) = limit else {
        return answer.await;
    };
    if let Ok(answer) = tokio::time::timeout(limit, answer).await {
        return answer;
    }
    server.metrics.rejected(about.name(), "timeout");
    let text = format!(
        "no answer within {} ms, which is all the time there was",
        limit.as_millis()
    );
    Err(Failure::new(Kind::Timeout, text))
}

async fn answer(
    server: &Arc<Server>,
    call: Call,
    request: Request,
    next: Next,
) -> Outcome<Response> {
    if !matches!(call, Call::Health | Call::Reflection) {
        server.check_key(key(request.headers()))?;
    }
    if call != Call::Health {
        server.not_draining()?;
    }
    let (mut parts, body) = request.into_parts();
    let body = match call {
        Call::Health | Call::Unknown => Body::new(Limited::new(body, SMALL)),
        Call::Reflection => Body::new(Flow::new(server, body, None)),
        Call::Stream => {
            let rooms = Arc::default();
            parts.extensions.insert(Arc::clone(&rooms));
            Body::new(Flow::new(server, body, Some(rooms)))
        }
        _ => {
            let mut received = receive(server, &parts.headers, body).await?;
            let body = Body::from(std::mem::take(&mut received.bytes));
            let response = next.run(Request::from_parts(parts, body)).await;
            // Until now the message was in memory.
            drop(received);
            return Ok(response);
        }
    };
    Ok(next.run(Request::from_parts(parts, body)).await)
}

/// The protocol's `10m`: at most eight digits and a unit.
fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// What kind of call it is: who may, what of its body, which label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Health,
    Reflection,
    Infer,
    Stream,
    Model,
    Repository,
    Server,
    Unknown,
}

impl Call {
    fn of(path: &str) -> Self {
        let Some((service, method)) = path.strip_prefix('/').and_then(|path| path.split_once('/'))
        else {
            return Self::Unknown;
        };
        match (service, method) {
            ("grpc.health.v1.Health", _) => Self::Health,
            (
                "grpc.reflection.v1.ServerReflection" | "grpc.reflection.v1alpha.ServerReflection",
                _,
            ) => Self::Reflection,
            (super::SERVICE_NAME, method) => match method {
                "ServerLive" | "ServerReady" => Self::Health,
                "ServerMetadata" => Self::Server,
                "ModelInfer" => Self::Infer,
                "ModelStreamInfer" => Self::Stream,
                "ModelReady" | "ModelMetadata" | "ModelConfig" | "ModelStatistics" => Self::Model,
                "RepositoryIndex" | "RepositoryModelLoad" | "RepositoryModelUnload" => {
                    Self::Repository
                }
                _ => Self::Unknown,
            },
            _ => Self::Unknown,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Health => "grpc_health",
            Self::Reflection => "grpc_reflection",
            Self::Infer => "grpc_infer",
            Self::Stream => "grpc_stream",
            Self::Model => "grpc_model",
            Self::Repository => "grpc_repository",
            Self::Server | Self::Unknown => "grpc_other",
        }
    }
}

fn report(server: &Server, call: Call, model: &str, response: &Response, took: Duration) {
    let refused = response.extensions().get::<Status>().cloned();
    // Of calls that there are not tonic leaves no more than the header.
    let refused = refused.or_else(|| Status::from_header_map(response.headers()));
    let status = refused.as_ref().map_or(200, http_status);
    server.metrics.request(model, call.label(), status, took);
    let ms = (took.as_secs_f64() * 1e6).round() / 1e3;
    match refused.as_ref().map(Status::message) {
        // What is asked every few seconds is not worth a line.
        None if call == Call::Health => tracing::debug!(status, ms, "answered"),
        None => {
            let batch = response
                .extensions()
                .get::<Served>()
                .map_or(0, |Served(times)| times.batch);
            tracing::info!(status, ms, batch, model, "answered");
        }
        Some(error) if status >= 500 => tracing::warn!(status, ms, model, error, "failed"),
        Some(error) => tracing::info!(status, ms, model, error, "refused"),
    }
}

/// The same in HTTP's numbers, so that one query of the metrics is about both doors.
fn http_status(status: &Status) -> u16 {
    match (failure(status), status.code()) {
        (Some(failure), _) => failure.kind.status().as_u16(),
        (None, Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition) => 400,
        (None, Code::Ok) => 200,
        (None, Code::NotFound) => 404,
        (None, Code::Cancelled) => 499,
        (None, Code::ResourceExhausted) => 413,
        (None, Code::Unimplemented) => 501,
        (None, Code::Unavailable) => 503,
        (None, Code::DeadlineExceeded) => 504,
        _ => 500,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_the_protocol_writes_them() {
        let ms = |text| timeout(text).map(|time| time.as_micros());
        assert_eq!(ms("10m"), Some(10_000));
        assert_eq!(ms("2S"), Some(2_000_000));
        assert_eq!(ms("1M"), Some(60_000_000));
        assert_eq!(ms("99999999H"), Some(99_999_999 * 3_600_000_000));
        assert_eq!(ms("7u"), Some(7));
        assert_eq!(ms("7000n"), Some(7));
        for bad in [
            "",
            "S",
            "10",
            "-1S",
            "+1S",
            "1.5S",
            "123456789S",
            "10s",
            "1ü",
        ] {
            assert_eq!(timeout(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_failure_is_found_in_its_status_again() {
        let status = refuse(Failure::new(Kind::BadImage, "x"));
        assert_eq!(
            (status.code(), http_status(&status)),
            (Code::InvalidArgument, 422)
        );
        let status = refuse(Failure::new(Kind::Overloaded, "x"));
        assert_eq!(
            (status.code(), http_status(&status)),
            (Code::ResourceExhausted, 429)
        );
        assert_eq!(
            status.metadata().get("grpc-retry-pushback-ms").unwrap(),
            "1000"
        );
        assert_eq!(http_status(&Status::unimplemented("x")), 501);
    }

    #[test]
    fn calls_by_their_paths() {
        assert_eq!(
            Call::of("/inference.GRPCInferenceService/ModelInfer"),
            Call::Infer
        );
        assert_eq!(
            Call::of("/inference.GRPCInferenceService/ServerReady"),
            Call::Health
        );
        assert_eq!(
            Call::of("/inference.GRPCInferenceService/LogSettings"),
            Call::Unknown
        );
        assert_eq!(Call::of("/grpc.health.v1.Health/Watch"), Call::Health);
        assert_eq!(Call::of("/grpc.health.v1.HealthX/Check"), Call::Unknown);
        assert_eq!(
            Call::of("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"),
            Call::Reflection
        );
        assert_eq!(Call::of("/"), Call::Unknown);
        assert_eq!(Call::of(""), Call::Unknown);
    }
}
