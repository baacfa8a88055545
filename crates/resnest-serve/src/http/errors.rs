//! What every address may answer instead, as OpenAPI describes it.

use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

/// Why there is no answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorBody {
    /// What is wrong with which part of the request, and the way out
    pub(super) error: String,
}

/// The answers that are none.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "only described; failure.rs makes them")]
pub(super) enum Errors {
    /// The request makes no sense
    #[response(status = 400, content_type = "application/json")]
    BadRequest(#[to_schema] ErrorBody),
    /// No API key, or none that is known
    #[response(status = 401, content_type = "application/json")]
    Unauthorized(#[to_schema] ErrorBody),
    /// Not allowed on this server
    #[response(status = 403, content_type = "application/json")]
    Forbidden(#[to_schema] ErrorBody),
    /// No such model or version
    #[response(status = 404, content_type = "application/json")]
    NotFound(#[to_schema] ErrorBody),
    /// The address takes another method
    #[response(status = 405, content_type = "application/json")]
    MethodNotAllowed(#[to_schema] ErrorBody),
    /// The body did not come in time
    #[response(status = 408, content_type = "application/json")]
    SlowBody(#[to_schema] ErrorBody),
    /// More bytes or images than are taken
    #[response(status = 413, content_type = "application/json")]
    TooLarge(#[to_schema] ErrorBody),
    /// A content encoding that is not read here
    #[response(status = 415, content_type = "application/json")]
    UnsupportedMedia(#[to_schema] ErrorBody),
    /// The image is broken, of no known format, or over the limits
    #[response(status = 422, content_type = "application/json")]
    BadImage(#[to_schema] ErrorBody),
    /// As much waits as may wait: try again after the seconds that `retry-after` says
    #[response(status = 429, content_type = "application/json")]
    Overloaded(#[to_schema] ErrorBody),
    /// A fault of the server
    #[response(status = 500, content_type = "application/json")]
    Internal(#[to_schema] ErrorBody),
    /// Not now: loading, shutting down, or a model that could not be had
    #[response(status = 503, content_type = "application/json")]
    Unavailable(#[to_schema] ErrorBody),
    /// No answer in time
    #[response(status = 504, content_type = "application/json")]
    Timeout(#[to_schema] ErrorBody),
}
