//! The Open Inference Protocol over HTTP: metadata, readiness, inference, and Triton's configuration and statistics.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::body::{reading, receive};
use super::classify::File;
use super::errors::Errors;
use super::served::Served;
use super::{answer, tensors};
use crate::infer::metadata::{self, EXTENSIONS, PLATFORM, SERVER, TensorMetadata};
use crate::models::{Model, Stand, VERSION};
use crate::{Failure, Outcome, State as Server};

const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// A model in an address, with or without its version.
#[derive(Debug, Deserialize)]
pub(super) struct Named {
    model: String,
    version: Option<String>,
}

impl Named {
    fn find(&self, server: &Server) -> Outcome<Arc<Model>> {
        server
            .models
            .get(Some(&self.model), self.version.as_deref())
    }
}

/// What the server is
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ServerMetadata {
    name: &'static str,
    version: &'static str,
    extensions: [&'static str; 5],
}

/// Server metadata
#[utoipa::path(get, path = "/v2", tag = "protocol", responses((status = 200, body = ServerMetadata), Errors))]
pub(super) async fn server() -> Json<ServerMetadata> {
    Json(ServerMetadata {
        name: SERVER,
        version: env!("CARGO_PKG_VERSION"),
        extensions: EXTENSIONS,
    })
}

/// A model as a menu has it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Listed {
    name: String,
    ready: bool,
    /// Classes it tells apart; absent unless it is ready, as is its input size
    #[serde(skip_serializing_if = "Option::is_none")]
    classes: Option<usize>,
    /// Height and width in pixels
    #[serde(skip_serializing_if = "Option::is_none")]
    input_size: Option<[usize; 2]>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct List {
    models: Vec<Listed>,
}

/// The models of this server
#[utoipa::path(get, path = "/v2/models", tag = "protocol", responses((status = 200, body = List), Errors))]
pub(super) async fn list(State(server): State<Arc<Server>>) -> Json<List> {
    let listed = |(name, stand): (String, Stand)| {
        let model = match stand {
            Stand::Ready(model) => Some(model),
            _ => None,
        };
        Listed {
            name,
            ready: model.is_some(),
            classes: model.as_ref().map(|model| model.classes()),
            input_size: model.map(|model| {
                let [_, height, width] = model.input_shape();
                [height, width]
            }),
        }
    };
    Json(List {
        models: server.models.all().into_iter().map(listed).collect(),
    })
}

/// A tensor that a model takes or gives
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Tensor {
    name: &'static str,
    /// BYTES, UINT8 or FP32
    datatype: &'static str,
    /// Sizes, -1 for any
    shape: Vec<i64>,
}

impl From<TensorMetadata> for Tensor {
    fn from(tensor: TensorMetadata) -> Self {
        Self {
            name: tensor.name,
            datatype: tensor.datatype.name(),
            shape: tensor.shape,
        }
    }
}

/// What a model takes and gives
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ModelMetadata {
    name: String,
    versions: [&'static str; 1],
    platform: &'static str,
    /// A request gives one of them
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
}

/// Model metadata
#[utoipa::path(
    get, path = "/v2/models/{model}", tag = "protocol", params(("model" = String, Path, example = "demo")),
    responses((status = 200, body = ModelMetadata), Errors)
)]
pub(super) async fn model(
    State(server): State<Arc<Server>>,
    Path(named): Path<Named>,
) -> Outcome<Json<ModelMetadata>> {
    let model = named.find(&server)?;
    Ok(Json(ModelMetadata {
        name: model.name.clone(),
        versions: [VERSION],
        platform: PLATFORM,
        inputs: metadata::inputs(&model)
            .into_iter()
            .map(Tensor::from)
            .collect(),
        outputs: metadata::outputs(&model)
            .into_iter()
            .map(Tensor::from)
            .collect(),
    }))
}

/// Whether a model answers
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ModelReady {
    name: String,
    ready: bool,
}

/// Model readiness
#[utoipa::path(
    get, path = "/v2/models/{model}/ready", tag = "protocol", params(("model" = String, Path, example = "demo")),
    responses((status = 200, body = ModelReady), Errors)
)]
pub(super) async fn ready(
    State(server): State<Arc<Server>>,
    Path(named): Path<Named>,
) -> Outcome<Json<ModelReady>> {
    let name = named.find(&server)?.name.clone();
    server.not_draining()?;
    Ok(Json(ModelReady { name, ready: true }))
}

/// Model configuration
///
/// As Triton has it. Images are batched by the server itself, so `max_batch_size` is 0 and shapes have the number of images.
#[utoipa::path(
    get, path = "/v2/models/{model}/config", tag = "protocol", params(("model" = String, Path, example = "demo")),
    responses((status = 200, body = Object), Errors)
)]
pub(super) async fn config(
    State(server): State<Arc<Server>>,
    Path(named): Path<Named>,
) -> Outcome<Json<Value>> {
    let model = named.find(&server)?;
    let kind = |tensor: &TensorMetadata| match tensor.datatype.name() {
        "BYTES" => "TYPE_STRING".to_owned(),
        name => format!("TYPE_{name}"),
    };
    let input = |tensor: TensorMetadata| json!({"name": tensor.name, "data_type": kind(&tensor), "dims": tensor.shape, "optional": true});
    let output = |tensor: TensorMetadata| json!({"name": tensor.name, "data_type": kind(&tensor), "dims": tensor.shape});
    let inputs: Vec<Value> = metadata::inputs(&model).into_iter().map(input).collect();
    let outputs: Vec<Value> = metadata::outputs(&model).into_iter().map(output).collect();
    Ok(Json(json!({
        "name": model.name,
        "platform": PLATFORM,
        "backend": SERVER,
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": 0,
        "input": inputs,
        "output": outputs,
    })))
}

/// Model statistics
///
/// As Triton has them: of every image and batch since the model was loaded.
#[utoipa::path(
    get, path = "/v2/models/{model}/stats", tag = "protocol", params(("model" = String, Path, example = "demo")),
    responses((status = 200, body = Object), Errors)
)]
pub(super) async fn stats(
    State(server): State<Arc<Server>>,
    Path(named): Path<Named>,
) -> Outcome<Json<Value>> {
    let model = named.find(&server)?;
    Ok(Json(json!({ "model_stats": [statistics(&model)] })))
}

/// Statistics of all models
#[utoipa::path(
    get, path = "/v2/models/stats", tag = "protocol", responses((status = 200, body = Object), Errors)
)]
pub(super) async fn all_stats(State(server): State<Arc<Server>>) -> Json<Value> {
    let models = server.models.ready();
    let all: Vec<Value> = models.iter().map(|model| statistics(model)).collect();
    Json(json!({ "model_stats": all }))
}

fn statistics(model: &Model) -> Value {
    let totals = model.metrics.totals();
    let sum = |count: u64, time: Duration| json!({"count": count, "ns": nanoseconds(time)});
    let none = || sum(0, Duration::ZERO);
    let well = totals.well;
    let batches = totals.batches.iter().map(|(size, (count, took))| {
        json!({
            "batch_size": size,
            "compute_input": sum(*count, Duration::ZERO),
            "compute_infer": sum(*count, *took),
            "compute_output": sum(*count, Duration::ZERO),
        })
    });
    let batches: Vec<Value> = batches.collect();
    let last = totals
        .last
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    json!({
        "name": model.name,
        "version": VERSION,
        "last_inference": last.map_or(0, |time| time.as_millis() as u64),
        "inference_count": well,
        "execution_count": totals.batches.values().map(|(count, _)| count).sum::<u64>(),
        "inference_stats": {
            "success": sum(well, totals.queue + totals.decode + totals.inference),
            "fail": sum(totals.failed, Duration::ZERO),
            "queue": sum(well, totals.queue),
            "compute_input": sum(well, totals.decode),
            "compute_infer": sum(well, totals.inference),
            // perf_analyzer wants one for each request, even of no length.
            "compute_output": sum(well, Duration::ZERO),
            "cache_hit": none(),
            "cache_miss": none(),
        },
        "batch_stats": batches,
    })
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A request of the protocol
#[derive(ToSchema)]
#[schema(example = json!({
    "inputs": [{
        "name": "image",
        "shape": [1],
        "datatype": "BYTES",
        "data": ["iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEUlEQVR42mNwaDiAFTEMLQkAYvNgAQlPC90AAAAASUVORK5CYII="],
    }],
    "outputs": [{"name": "probabilities"}],
}))]
#[allow(dead_code, reason = "only described; tensors.rs reads it")]
pub(super) struct InferenceRequest {
    /// Sent back as it is
    id: Option<String>,
    /// `binary_data_output`
    #[schema(value_type = Option<Object>)]
    parameters: Option<Value>,
    /// One of `image`, `pixels` and `tensor`
    inputs: Vec<RequestInput>,
    /// All, if none are named
    outputs: Option<Vec<RequestOutput>>,
}

#[derive(ToSchema)]
#[allow(dead_code, reason = "only described; tensors.rs reads it")]
pub(super) struct RequestInput {
    #[schema(example = "image")]
    name: String,
    #[schema(example = json!([1]))]
    shape: Vec<i64>,
    /// BYTES, UINT8 or FP32
    #[schema(example = "BYTES")]
    datatype: String,
    /// `content_type`, `binary_data_size`
    #[schema(value_type = Option<Object>)]
    parameters: Option<Value>,
    /// Values, nested or flat; of BYTES, base64; absent of a binary tensor
    #[schema(value_type = Vec<Value>, required = false)]
    data: Option<Value>,
}

#[derive(ToSchema)]
#[allow(dead_code, reason = "only described; tensors.rs reads it")]
pub(super) struct RequestOutput {
    #[schema(example = "probabilities")]
    name: String,
    /// `classification`, `binary_data`
    #[schema(value_type = Option<Object>)]
    parameters: Option<Value>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "only described; header_length reads it")]
struct InferenceHeaders {
    /// Bytes of JSON before binary tensors; 0 if the whole body is one image's file
    #[param(rename = "inference-header-content-length")]
    length: Option<usize>,
}

/// An answer of the protocol
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described; tensors.rs writes it")]
pub(super) struct InferenceResponse {
    model_name: String,
    model_version: String,
    /// The request's
    #[schema(nullable = false)]
    id: Option<String>,
    outputs: Vec<ResponseOutput>,
}

#[derive(ToSchema)]
#[allow(dead_code, reason = "only described; tensors.rs writes it")]
pub(super) struct ResponseOutput {
    name: String,
    shape: Vec<usize>,
    /// FP32 or BYTES
    datatype: String,
    /// `binary_data_size`, of a binary tensor
    #[schema(value_type = Object, required = false)]
    parameters: Option<Value>,
    /// Values in a row, of a tensor that is not binary; `null` where an image has no answer
    #[schema(value_type = Vec<Value>, required = false)]
    data: Option<Value>,
}

/// Infer
///
/// JSON, or JSON and binary tensors behind it (the binary tensor data extension), in gzip, deflate or as it is. Images of
/// which some are broken have NaN (`null`) in their rows, and the output `errors` says why.
#[utoipa::path(
    post, path = "/v2/models/{model}/infer", tag = "protocol",
    params(("model" = String, Path, example = "demo"), InferenceHeaders),
    request_body(content((InferenceRequest = "application/json"), (File = "application/octet-stream"))),
    responses(
        (status = 200, content((InferenceResponse = "application/json"), (File = "application/octet-stream"))),
        Errors
    )
)]
pub(super) async fn infer(
    State(server): State<Arc<Server>>,
    Path(named): Path<Named>,
    headers: HeaderMap,
    body: Body,
) -> Outcome<Response> {
    // Before a large body is read for nothing.
    named.find(&server)?;
    let length = header_length(&headers)?;
    let received = receive(&server, &headers, body).await?;
    let bytes = received.bytes.clone();
    let parsed = reading(bytes.len(), move || tensors::parse(&bytes, length)).await?;
    let (mut request, format) = parsed.split();
    request.model = named.model;
    request.version = named.version;
    let answer = server.infer(request).await?;
    let (body, length) = answer::write(&format, &answer)?;
    let mut response = body.into_response();
    let kind = match length {
        Some(length) => {
            response
                .headers_mut()
                .insert(HEADER_LENGTH, HeaderValue::from(length));
            "application/octet-stream"
        }
        None => "application/json",
    };
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.extensions_mut().insert(Served(answer.times));
    Ok(response)
}

fn header_length(headers: &HeaderMap) -> Outcome<Option<usize>> {
    let mut values = headers.get_all(HEADER_LENGTH).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Failure::bad_request(format!(
            "{HEADER_LENGTH} is there twice"
        )));
    }
    let digits = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
    let text = value.to_str().ok().map(str::trim).filter(digits);
    let number = text.and_then(|text| text.parse().ok());
    let bad = || {
        Failure::bad_request(format!(
            "{HEADER_LENGTH} is {value:?}: it must be a number of bytes"
        ))
    };
    number.map(Some).ok_or_else(bad)
}
