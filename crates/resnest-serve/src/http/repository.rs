//! Triton's model repository: which models there are, and loading and unloading them.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::body::receive;
use super::errors::Errors;
use super::object::Object;
use crate::models::{Stand, VERSION};
use crate::{Failure, Outcome, State as Server};

/// How it stands with a model
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Indexed {
    name: String,
    version: &'static str,
    /// READY, LOADING or UNAVAILABLE
    state: &'static str,
    /// Why it does not answer
    reason: String,
}

/// Which models to list
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
pub(super) struct IndexRequest {
    /// Those only that answer
    ready: bool,
}

/// All models and how it stands with them
#[utoipa::path(
    post, path = "/v2/repository/index", tag = "repository",
    request_body(content = Option<IndexRequest>, content_type = "application/json"),
    responses((status = 200, body = Vec<Indexed>), Errors)
)]
pub(super) async fn index(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    body: Body,
) -> Outcome<Json<Vec<Indexed>>> {
    let received = receive(&server, &headers, body).await?;
    let asked = match received.bytes.is_empty() {
        true => IndexRequest::default(),
        false => {
            let bad = |error| {
                Failure::bad_request(format!(
                    "the body is not {{\"ready\": true or false}}: {error}"
                ))
            };
            let asked: Option<Object<IndexRequest>> =
                serde_json::from_slice(&received.bytes).map_err(bad)?;
            asked.map(|Object(asked)| asked).unwrap_or_default()
        }
    };
    let models = server.models.all().into_iter();
    let all = models.map(|(name, stand)| indexed(name, stand));
    Ok(Json(
        all.filter(|model| !asked.ready || model.state == "READY")
            .collect(),
    ))
}

fn indexed(name: String, stand: Stand) -> Indexed {
    let (state, reason) = stand_in_words(stand);
    Indexed {
        name,
        version: VERSION,
        state,
        reason,
    }
}

/// The protocol's name for how it stands with a model, and why it does not answer.
pub(crate) fn stand_in_words(stand: Stand) -> (&'static str, String) {
    match stand {
        Stand::Ready(_) => ("READY", String::new()),
        Stand::Loading => ("LOADING", String::new()),
        Stand::Failed(reason) => ("UNAVAILABLE", reason),
        Stand::Unloaded => ("UNAVAILABLE", "unloaded".into()),
    }
}

/// Load a model, or load it again: nothing that it was asked is lost
#[utoipa::path(
    post, path = "/v2/repository/models/{model}/load", tag = "repository", params(("model" = String, Path, example = "demo")),
    responses((status = 200, body = Object), Errors)
)]
pub(super) async fn load(
    State(server): State<Arc<Server>>,
    Path(model): Path<String>,
) -> Outcome<Json<Value>> {
    server.clients_may_load()?;
    server.load_model(&model).await?;
    Ok(Json(json!({})))
}

/// Unload a model: what it was asked it still answers
#[utoipa::path(
    post, path = "/v2/repository/models/{model}/unload", tag = "repository", params(("model" = String, Path, example = "demo")),
    responses((status = 200, body = Object), Errors)
)]
pub(super) async fn unload(
    State(server): State<Arc<Server>>,
    Path(model): Path<String>,
) -> Outcome<Json<Value>> {
    server.clients_may_load()?;
    server.unload_model(&model).await?;
    Ok(Json(json!({})))
}
