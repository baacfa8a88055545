//! The HTTP door: every address, and what all of them share.
//!
//! `oip.rs` is the protocol, `classify.rs` what people reach for first, `repository.rs` and `health.rs` what operators
//! need, `page.rs` what they look at. `tensors.rs` and `upload.rs` read bodies, `answer.rs` writes them, `body.rs` receives
//! them, `leftover.rs` sees to what nobody read. `guard.rs` is around all.

mod answer;
pub(crate) mod body;
mod classify;
mod errors;
pub(crate) mod guard;
mod health;
mod leftover;
mod object;
mod oip;
mod page;
pub(crate) mod repository;
pub(crate) mod served;
pub mod tensors;
pub mod upload;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::routing::{get, post};
use tower_http::cors::{Any, CorsLayer};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
#[cfg(feature = "docs")]
use utoipa_swagger_ui::SwaggerUi;

use crate::failure::Kind;
use crate::{Failure, State};

#[derive(OpenApi)]
#[openapi(info(
    title = "resnest",
    description = "timm's ResNet-family image classifiers: the Open Inference Protocol, and images in, classes out.",
    license(name = "MIT OR Apache-2.0")
))]
struct Api;

/// The description of every address, as `/openapi.json` has it.
pub fn openapi() -> utoipa::openapi::OpenApi {
    documented().split_for_parts().1
}

fn documented() -> OpenApiRouter<Arc<State>> {
    OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(classify::classify))
        .routes(routes!(oip::server))
        .routes(routes!(oip::list))
        .routes(routes!(oip::all_stats))
        .routes(routes!(oip::model))
        .routes(routes!(oip::ready))
        .routes(routes!(oip::config))
        .routes(routes!(oip::stats))
        .routes(routes!(oip::infer))
        .routes(routes!(repository::index))
        .routes(routes!(repository::load))
        .routes(routes!(repository::unload))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(health::health))
        .routes(routes!(health::ping))
        .routes(routes!(health::metrics))
}

/// Every address.
pub fn router(state: &Arc<State>) -> Router {
    let (documented, openapi) = documented().split_for_parts();
    let versioned = "/v2/models/{model}/versions/{version}";
    let at = |rest: &str| format!("{versioned}{rest}");
    // The same under other addresses: with a version, with a slash behind, under others' names.
    let others = Router::new()
        .route("/v2/", get(oip::server))
        .route("/v2/models/{model}/", get(oip::model))
        .route(versioned, get(oip::model))
        .route(&at("/"), get(oip::model))
        .route(&at("/ready"), get(oip::ready))
        .route(&at("/config"), get(oip::config))
        .route(&at("/stats"), get(oip::stats))
        .route(&at("/infer"), post(oip::infer))
        .route("/", get(page::page).post(classify::classify))
        .route("/invocations", post(classify::classify))
        .route("/models/{model}", post(classify::of_model))
        .route("/v1/models/{call}", post(classify::verb))
        .route("/assets/{name}", get(page::asset))
        .route("/samples/{name}", get(page::sample));
    let router = documented
        .merge(others)
        .with_state(state.clone())
        .merge(documentation(openapi))
        .fallback(nothing)
        .method_not_allowed_fallback(another_method)
        .layer(axum::middleware::from_fn_with_state(
            state.clone(),
            guard::guard,
        ));
    // Around the guard: browsers ask first, without a key, and other pages may read why they were refused.
    match cors(&state.options.cors_origins) {
        Some(cors) => router.layer(cors),
        None => router,
    }
}

/// `/openapi.json`, and a page that shows it.
#[cfg(feature = "docs")]
fn documentation(openapi: utoipa::openapi::OpenApi) -> Router {
    SwaggerUi::new("/docs").url("/openapi.json", openapi).into()
}

/// `/openapi.json`; in place of the page it is what `/docs` shows.
#[cfg(not(feature = "docs"))]
fn documentation(openapi: utoipa::openapi::OpenApi) -> Router {
    let json = move || std::future::ready(axum::Json(openapi.clone()));
    Router::new()
        .route("/openapi.json", get(json.clone()))
        .route("/docs", get(json.clone()))
        .route("/docs/", get(json))
}

async fn nothing(uri: axum::http::Uri) -> Failure {
    let path: String = uri.path().chars().take(200).collect();
    Failure::new(
        Kind::NotFound,
        format!("there is nothing at {path}: /docs lists the addresses"),
    )
}

async fn another_method(method: Method, uri: axum::http::Uri) -> Failure {
    let path: String = uri.path().chars().take(200).collect();
    let text =
        format!("{path} does not take {method}: the header `allow` and /docs say what it takes");
    Failure::new(Kind::MethodNotAllowed, text)
}

/// Other sites' pages may call this server only where they were named; without one, nothing is said to browsers.
fn cors(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let ours = [
        "x-request-id",
        "x-decode-time",
        "x-queue-time",
        "x-inference-time",
        "x-total-time",
        "x-batch-size",
    ];
    let layer = CorsLayer::new()
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([
            header::CONTENT_TYPE,
            header::CONTENT_ENCODING,
            header::AUTHORIZATION,
            HeaderName::from_static("x-api-key"),
            HeaderName::from_static("x-request-id"),
            HeaderName::from_static("traceparent"),
            HeaderName::from_static("inference-header-content-length"),
        ])
        .expose_headers(ours.map(HeaderName::from_static));
    if origins.iter().any(|origin| origin == "*") {
        return Some(layer.allow_origin(Any));
    }
    let origins = origins
        .iter()
        .filter_map(|origin| HeaderValue::from_str(origin).ok());
    Some(layer.allow_origin(origins.collect::<Vec<_>>()))
}
