//! Whether the server lives and answers, in everybody's words; and what it counts.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::errors::Errors;
use crate::{Outcome, State as Server};

/// Both of the protocol's answers at once: some clients read one, some the other, some the status alone.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    live: bool,
    ready: bool,
}

/// Whether the server works: a real image through the network decides where the last batch failed or does not end
#[utoipa::path(get, path = "/v2/health/live", tag = "health", responses((status = 200, body = Health), Errors))]
pub(super) async fn live(State(server): State<Arc<Server>>) -> Outcome<Json<Health>> {
    server.alive().await?;
    let ready = server.ready().is_ok();
    Ok(Json(Health { live: true, ready }))
}

/// Whether requests are answered
#[utoipa::path(get, path = "/v2/health/ready", tag = "health", responses((status = 200, body = Health), Errors))]
pub(super) async fn ready(State(server): State<Arc<Server>>) -> Outcome<Json<Health>> {
    server.ready()?;
    server.alive().await?;
    Ok(Json(Health {
        live: true,
        ready: true,
    }))
}

/// The same as `/v2/health/ready`
#[utoipa::path(get, path = "/health", tag = "health", responses((status = 200, body = Health), Errors))]
pub(super) async fn health(server: State<Arc<Server>>) -> Outcome<Json<Health>> {
    ready(server).await
}

/// The same as `/v2/health/ready`
#[utoipa::path(get, path = "/ping", tag = "health", responses((status = 200, body = Health), Errors))]
pub(super) async fn ping(server: State<Arc<Server>>) -> Outcome<Json<Health>> {
    ready(server).await
}

const OPENMETRICS: &str = "application/openmetrics-text";

/// What the server counts, for Prometheus
#[utoipa::path(
    get, path = "/metrics", tag = "health",
    responses((status = 200, body = String, content_type = "text/plain"), Errors)
)]
pub(super) async fn metrics(State(server): State<Arc<Server>>, headers: HeaderMap) -> Response {
    let mut waiting = 0;
    for model in server.models.ready() {
        let depth = server.engine.depth(model.id);
        server.metrics.queue_depth(&model.name, depth);
        waiting += model.queue.saturating_sub(model.places.available_permits());
    }
    server.metrics.in_flight(waiting);
    // To those who read Prometheus' older format alone it is that: the rest of it are comments there.
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    let kind = match accept.is_some_and(|kinds| kinds.contains(OPENMETRICS)) {
        true => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        false => "text/plain; version=0.0.4; charset=utf-8",
    };
    ([(header::CONTENT_TYPE, kind)], server.metrics.text()).into_response()
}
