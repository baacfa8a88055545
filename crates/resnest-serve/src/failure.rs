//! Why a request has no answer, and the status that says so: the one place where errors become HTTP and gRPC codes.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tonic::Code;

/// Whose fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A request that makes no sense.
    BadRequest,
    /// No API key, or none that is known.
    Unauthorized,
    /// What may not be asked of this server, such as loading models unless that was switched on.
    Forbidden,
    /// No such model, version or address.
    NotFound,
    /// The address takes another method.
    MethodNotAllowed,
    /// The body did not come in time.
    SlowBody,
    /// More bytes than are taken.
    TooLarge,
    /// An encoding or type of content that is not read here.
    UnsupportedMedia,
    /// An image that is broken, of no known format or over the limits.
    BadImage,
    /// As much is waiting as may wait.
    Overloaded,
    /// A fault of this server.
    Internal,
    /// Not now: loading, shutting down, a model that could not be had.
    Unavailable,
    /// The answer did not come in time.
    Timeout,
}

impl Kind {
    /// The HTTP status.
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMedia => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BadImage => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Overloaded => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The gRPC code.
    pub fn code(self) -> Code {
        match self {
            Self::BadRequest | Self::TooLarge | Self::UnsupportedMedia | Self::BadImage => {
                Code::InvalidArgument
            }
            Self::Unauthorized => Code::Unauthenticated,
            Self::Forbidden => Code::PermissionDenied,
            Self::NotFound => Code::NotFound,
            Self::MethodNotAllowed => Code::Unimplemented,
            Self::Overloaded => Code::ResourceExhausted,
            Self::Internal => Code::Internal,
            Self::Unavailable => Code::Unavailable,
            Self::SlowBody | Self::Timeout => Code::DeadlineExceeded,
        }
    }

    /// The label of the metric that counts answers which are no answers for lack of room or time.
    pub(crate) fn rejection(self) -> Option<&'static str> {
        match self {
            Self::Overloaded => Some("overloaded"),
            Self::Unavailable => Some("unavailable"),
            Self::Timeout => Some("timeout"),
            _ => None,
        }
    }
}

/// Why a request, or one image of it, has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Whose fault it is.
    pub kind: Kind,
    /// What is wrong with which part of the request, and the way out.
    pub message: String,
    /// Seconds after which it may work, where that is known.
    pub retry_after: Option<u64>,
}

/// The result of anything that a request may fail at.
pub type Outcome<T> = Result<T, Failure>;

impl Failure {
    /// A failure of this kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let message = shortened(message.into());
        let retry_after = match kind {
            Kind::Overloaded | Kind::Unavailable => Some(1),
            _ => None,
        };
        Self {
            kind,
            message,
            retry_after,
        }
    }

    /// A request that makes no sense.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Kind::BadRequest, message)
    }

    /// A fault of this server.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Kind::Internal, message)
    }
}

/// Bytes of a message: it may quote what a client sent, which may be as long as a body.
const LONGEST: usize = 2000;

fn shortened(mut text: String) -> String {
    if text.len() > LONGEST {
        let mut end = LONGEST;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

impl From<resnest::Error> for Failure {
    fn from(error: resnest::Error) -> Self {
        let kind = match &error {
            error if error.is_bad_image() => Kind::BadImage,
            resnest::Error::NotFinite { .. }
            | resnest::Error::NoClasses { .. }
            | resnest::Error::TensorShape { .. }
            | resnest::Error::ClassIndex { .. }
            // A head of which there is no class activation map.
            | resnest::Error::Model(_) => Kind::BadRequest,
            _ => Kind::Internal,
        };
        Self::new(kind, error.with_causes())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response =
            (self.kind.status(), Json(json!({ "error": self.message }))).into_response();
        if let Some(seconds) = self.retry_after {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Failure> for tonic::Status {
    fn from(failure: Failure) -> Self {
        Self::new(failure.kind.code(), failure.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_quotes_no_more_than_a_screenful() {
        for sign in ["x", "ü", "€", "😀"] {
            let failure = Failure::bad_request(sign.repeat(1 << 20));
            assert!(failure.message.len() <= LONGEST + 3, "{sign}");
            assert!(failure.message.ends_with('…'));
        }
        assert_eq!(Failure::bad_request("short").message, "short");
    }
}
