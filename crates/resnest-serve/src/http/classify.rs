//! An image in, its best classes out: what people reach for first.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use resnest::explain::{ActivationMap, BlockSplits};
use resnest::{Prediction, top_k};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::{SMALL, on_another_thread, receive};
use super::errors::Errors;
use super::served::Served;
use super::upload::{self, Function, Upload};
use crate::engine::{Answer, Done, Explanation, Times, Wants};
use crate::models::Model;
use crate::{Failure, Outcome, State as Server};

/// How many classes, unless a request says otherwise.
const TOP_K: usize = 5;

/// What an address may ask for.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(super) struct Asked {
    /// How many of the best classes
    #[serde(alias = "top_k")]
    #[param(example = 5, minimum = 0)]
    topk: Option<usize>,
    /// Where each class was seen, as a class activation map
    cam: bool,
    /// How each block weighed its splits
    splits: bool,
    /// Which model; the first by default
    #[param(example = "demo")]
    model: Option<String>,
}

/// One class of an answer.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Class {
    /// Its name: a WordNet synset for ImageNet
    label: String,
    /// Its name in words, where known
    description: Option<String>,
    /// By default its probability
    score: f32,
    /// Its index, from 0
    index: usize,
    /// Where it was seen, if that was asked for
    #[serde(skip_serializing_if = "Option::is_none")]
    cam: Option<Cam>,
}

/// Where a class was seen: a value from 0 to 1 for each cell of the last map, rows in a row.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Cam {
    rows: usize,
    columns: usize,
    values: Vec<f32>,
}

/// An image's answer beside others, or with its reasons.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Detailed {
    /// The best classes, best first
    predictions: Vec<Class>,
    /// The decoded image's size in pixels
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<Size>,
    /// The part of the image that the model was shown, in its pixels; it may reach beyond
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<Window>,
    /// How each block weighed its splits
    #[serde(skip_serializing_if = "Option::is_none")]
    splits: Option<Vec<Splits>>,
    /// How long it took
    times: Milliseconds,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Size {
    width: u32,
    height: u32,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Window {
    x: f64,
    y: f64,
    width: f64,
    height: f64,
}

/// The weights a block gave its splits, over its channels.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Splits {
    /// The block, as the checkpoint has it
    block: String,
    /// Each split's mean
    means: Vec<f32>,
    /// Below which a tenth of each split's channels lies
    low: Vec<f32>,
    /// Above which a tenth of each split's channels lies
    high: Vec<f32>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Milliseconds {
    decode_ms: f64,
    queue_ms: f64,
    inference_ms: f64,
}

/// A list of classes for one image; an object for one with its reasons; a list of objects for several.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum Classified {
    /// One image
    Classes(Vec<Class>),
    /// One image, with its reasons
    Detailed(Box<Detailed>),
    /// Several images, in their order
    Several(Vec<OneOfSeveral>),
}

/// One of several images.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(super) enum OneOfSeveral {
    /// Its answer
    Answer(Box<Detailed>),
    /// Why it has none: the others have
    Failed {
        /// What is wrong with it
        error: String,
        /// The status that it would have had alone
        status: u16,
    },
}

/// Classify images
///
/// The body is an image's bytes as they are, a form with one or several files, or `{"inputs": base64 or a list of such,
/// "parameters": {"top_k", "function_to_apply"}}` as the Hugging Face API has it. A broken image among several has an error
/// of its own.
#[utoipa::path(
    post,
    path = "/classify",
    tag = "classify",
    params(Asked),
    request_body(
        content(
            (File = "application/octet-stream"),
            (Files = "multipart/form-data"),
            (Inference = "application/json"),
        ),
        description = "Images"
    ),
    responses((status = 200, body = Classified, content_type = "application/json"), Errors)
)]
pub(super) async fn classify(
    State(server): State<Arc<Server>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Outcome<Response> {
    answer(&server, None, &uri, &headers, body).await
}

/// A file's bytes as they are.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[allow(dead_code, reason = "only described")]
pub(super) struct File(Vec<u8>);

/// A form with files, whatever they are called.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only described")]
pub(super) struct Files {
    #[schema(required = false)]
    image: Vec<File>,
}

/// The Hugging Face API's image classification.
#[derive(ToSchema)]
#[schema(example = json!({
    "inputs": "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEUlEQVR42mNwaDiAFTEMLQkAYvNgAQlPC90AAAAASUVORK5CYII=",
    "parameters": {"top_k": 3},
}))]
#[allow(dead_code, reason = "only described; upload.rs reads it")]
pub(super) struct Inference {
    inputs: Inputs,
    parameters: Option<InferenceParameters>,
}

/// Images in base64, or `data:` addresses with such.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "only described; upload.rs reads it")]
pub(super) enum Inputs {
    /// One
    One(String),
    /// Several
    Several(Vec<String>),
}

#[derive(ToSchema)]
#[allow(dead_code, reason = "only described; upload.rs reads it")]
pub(super) struct InferenceParameters {
    top_k: Option<usize>,
    /// softmax, sigmoid or none
    function_to_apply: Option<String>,
}

/// The same of a named model, at the address that the Hugging Face client is given: `/models/{model}`.
pub(super) async fn of_model(
    State(server): State<Arc<Server>>,
    Path(model): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Outcome<Response> {
    answer(&server, Some(&model), &uri, &headers, body).await
}

/// The same at Google's kind of address, `/v1/models/{model}:classify`.
pub(super) async fn verb(
    State(server): State<Arc<Server>>,
    Path(call): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Outcome<Response> {
    let Some(model) = call.strip_suffix(":classify") else {
        let text = format!("{call:?} is none of this server's: use /v1/models/MODEL:classify");
        return Err(Failure::new(crate::Kind::NotFound, text));
    };
    answer(&server, Some(model), &uri, &headers, body).await
}

async fn answer(
    server: &Server,
    named: Option<&str>,
    uri: &Uri,
    headers: &HeaderMap,
    body: Body,
) -> Outcome<Response> {
    let asked = Query::<Asked>::try_from_uri(uri);
    let Query(asked) = asked.map_err(|error| Failure::bad_request(error.body_text()))?;
    let model = server.models.get(named.or(asked.model.as_deref()), None)?;
    model.classifier.check_classes()?;
    let received = receive(server, headers, body).await?;
    let upload = read(headers, received.bytes.clone()).await?;
    let Upload {
        images,
        several,
        top_k,
        function,
    } = upload;
    let k = asked.topk.or(top_k).unwrap_or(TOP_K).min(model.classes());
    let wants = wants(&model, &asked, k)?;
    let inputs = images
        .into_iter()
        .map(crate::engine::Input::Encoded)
        .collect();
    let done = server.answer(&model, inputs, wants).await?;
    let served = Served(
        done.iter()
            .fold(Times::default(), |t, image| t.max(image.times)),
    );
    let form = Form {
        model: &model,
        k,
        function,
    };
    let classified = match several {
        true => Classified::Several(
            done.into_iter()
                .map(|image| form.one_of_several(image))
                .collect(),
        ),
        false => form.single(done)?,
    };
    let mut response = Json(classified).into_response();
    response.extensions_mut().insert(served);
    Ok(response)
}

/// A large form or text is read elsewhere, as [`reading`](super::body::reading) does.
async fn read(headers: &HeaderMap, body: Bytes) -> Outcome<Upload> {
    if body.len() <= SMALL {
        return upload::read(headers, body).await;
    }
    let (headers, here) = (headers.clone(), tokio::runtime::Handle::current());
    on_another_thread(move || here.block_on(upload::read(&headers, body))).await
}

fn wants(model: &Model, asked: &Asked, k: usize) -> Outcome<Wants> {
    if !asked.cam && !asked.splits {
        return Ok(Wants::Outputs {
            logits: true,
            embeddings: false,
        });
    }
    if asked.cam {
        model.classifier.check_maps()?;
    }
    Ok(Wants::Explanation {
        k,
        maps: asked.cam,
        splits: asked.splits,
    })
}

/// How answers are written.
struct Form<'a> {
    model: &'a Model,
    k: usize,
    function: Function,
}

impl Form<'_> {
    fn single(&self, mut done: Vec<Done>) -> Outcome<Classified> {
        let lost = || Failure::internal("the image has no answer: please report this");
        let Done { answer, times } = done.pop().ok_or_else(lost)?;
        Ok(match answer? {
            answer @ Answer::Output(_) => {
                Classified::Classes(self.detailed(answer, times)?.predictions)
            }
            answer => Classified::Detailed(self.detailed(answer, times)?),
        })
    }

    fn one_of_several(&self, image: Done) -> OneOfSeveral {
        let answer = image
            .answer
            .and_then(|answer| self.detailed(answer, image.times));
        match answer {
            Ok(detailed) => OneOfSeveral::Answer(detailed),
            Err(failure) => OneOfSeveral::Failed {
                status: failure.kind.status().as_u16(),
                error: failure.message,
            },
        }
    }

    fn detailed(&self, answer: Answer, times: Times) -> Outcome<Box<Detailed>> {
        let times = milliseconds(times);
        let detailed = match answer {
            Answer::Output(output) => {
                let best = top_k(&output.logits, self.k, self.model.classifier.labels())?;
                Detailed {
                    predictions: best.into_iter().map(|p| self.class(p, None)).collect(),
                    image: None,
                    window: None,
                    splits: None,
                    times,
                }
            }
            Answer::Explanation(explanation) => self.explained(*explanation, times),
        };
        Ok(Box::new(detailed))
    }

    fn explained(&self, explanation: Explanation, times: Milliseconds) -> Detailed {
        let Explanation {
            predictions,
            maps,
            splits,
            photo,
        } = explanation;
        let mut maps = maps.iter();
        let class = |p| {
            let map = maps.next();
            self.class(p, map)
        };
        Detailed {
            predictions: predictions.into_iter().map(class).collect(),
            image: photo.map(|(width, height, _)| Size { width, height }),
            window: photo.map(|(_, _, window)| Window {
                x: window.x,
                y: window.y,
                width: window.width,
                height: window.height,
            }),
            splits: Some(splits.iter().map(block).collect()),
            times,
        }
    }

    fn class(&self, prediction: Prediction, map: Option<&ActivationMap>) -> Class {
        let score = match self.function {
            Function::Softmax => prediction.probability,
            Function::Sigmoid => 1.0 / (1.0 + (-prediction.logit).exp()),
            Function::None => prediction.logit,
        };
        let cam = map.map(|map| {
            let (rows, columns) = map.size();
            let values = map.scaled();
            Cam {
                rows,
                columns,
                values,
            }
        });
        Class {
            label: prediction.label,
            description: prediction.description,
            score,
            index: prediction.index,
            cam,
        }
    }
}

fn block(splits: &BlockSplits) -> Splits {
    let quantiles = |share| {
        let each = (0..splits.radix()).filter_map(|split| splits.quantile(split, share));
        each.collect()
    };
    Splits {
        block: splits.block.clone(),
        means: splits.means(),
        low: quantiles(0.1),
        high: quantiles(0.9),
    }
}

fn milliseconds(times: Times) -> Milliseconds {
    let ms = |time: std::time::Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
    Milliseconds {
        decode_ms: ms(times.decode),
        queue_ms: ms(times.queue),
        inference_ms: ms(times.inference),
    }
}
