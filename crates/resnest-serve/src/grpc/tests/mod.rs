//! The door as a client in the same process sees it: the messages are real, the connection is not.

mod limits;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::uri::PathAndQuery;
use prost::Message;
use tokio_stream::StreamExt;
use tonic::client::Grpc;
use tonic::codec::{CompressionEncoding, Streaming};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_prost::ProstCodec;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

use super::generated::model_infer_request::InferInputTensor;
use super::generated::*;
use crate::{Options, State};

/// A door whose model has not been loaded, and what the options shall be.
fn door(change: impl FnOnce(&mut Options)) -> (Arc<State>, Router) {
    let mut options = Options {
        models: vec!["demo".parse().unwrap()],
        ..Options::default()
    };
    change(&mut options);
    let state = State::new(options).unwrap();
    let router = super::router(&state);
    (state, router)
}

fn path(method: &str) -> PathAndQuery {
    let path = match method.starts_with('/') {
        true => method.to_owned(),
        false => format!("/{}/{method}", super::SERVICE_NAME),
    };
    PathAndQuery::from_maybe_shared(path).unwrap()
}

async fn send<Q, A>(
    router: &Router,
    method: &str,
    request: Request<Q>,
) -> Result<Response<A>, Status>
where
    Q: Message + 'static,
    A: Message + Default + 'static,
{
    let mut client = Grpc::new(router.clone());
    client.ready().await.unwrap();
    client
        .unary(request, path(method), ProstCodec::default())
        .await
}

async fn call<Q, A>(router: &Router, method: &str, message: Q) -> Result<Response<A>, Status>
where
    Q: Message + 'static,
    A: Message + Default + 'static,
{
    send(router, method, Request::new(message)).await
}

async fn code<Q: Message + 'static>(router: &Router, method: &str, message: Q) -> Code {
    // Every answer can be read as a message without fields.
    let answer: Result<Response<()>, Status> = call(router, method, message).await;
    answer.map_or_else(|status| status.code(), |_| Code::Ok)
}

async fn stream<Q, A>(
    router: &Router,
    method: &str,
    requests: Vec<Q>,
) -> Result<Streaming<A>, Status>
where
    Q: Message + 'static,
    A: Message + Default + 'static,
{
    let mut client = Grpc::new(router.clone());
    client.ready().await.unwrap();
    let requests = tokio_stream::iter(requests);
    let answers = client.streaming(Request::new(requests), path(method), ProstCodec::default());
    Ok(answers.await?.into_inner())
}

async fn health(router: &Router, service: &str) -> Result<ServingStatus, Code> {
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let answer: Result<Response<HealthCheckResponse>, _> =
        call(router, "/grpc.health.v1.Health/Check", request).await;
    answer
        .map(|answer| answer.get_ref().status())
        .map_err(|status| status.code())
}

/// A request with these files.
fn images(files: &[&[u8]]) -> ModelInferRequest {
    let mut raw = Vec::new();
    for file in files {
        raw.extend(u32::try_from(file.len()).unwrap().to_le_bytes());
        raw.extend_from_slice(file);
    }
    let input = InferInputTensor {
        name: "image".to_owned(),
        datatype: "BYTES".to_owned(),
        shape: vec![files.len() as i64],
        ..InferInputTensor::default()
    };
    ModelInferRequest {
        model_name: "demo".to_owned(),
        id: "mine".to_owned(),
        inputs: vec![input],
        raw_input_contents: vec![raw.into()],
        ..ModelInferRequest::default()
    }
}

#[tokio::test]
async fn before_its_model_is_loaded() {
    let (state, router) = door(|_| {});
    let live: Response<ServerLiveResponse> = call(&router, "ServerLive", ServerLiveRequest {})
        .await
        .unwrap();
    assert!(live.get_ref().live);
    let ready: Response<ServerReadyResponse> = call(&router, "ServerReady", ServerReadyRequest {})
        .await
        .unwrap();
    assert!(!ready.get_ref().ready);
    let model = |name: &str| ModelReadyRequest {
        name: name.to_owned(),
        ..ModelReadyRequest::default()
    };
    let ready: Response<ModelReadyResponse> =
        call(&router, "ModelReady", model("demo")).await.unwrap();
    assert!(!ready.get_ref().ready);
    assert_eq!(
        code(&router, "ModelReady", model("nobody")).await,
        Code::NotFound
    );
    for service in ["", super::SERVICE_NAME] {
        assert_eq!(
            health(&router, service).await,
            Ok(ServingStatus::NotServing)
        );
    }
    assert_eq!(health(&router, "nobody").await, Err(Code::NotFound));
    assert_eq!(
        code(&router, "ModelInfer", images(&[b"x"])).await,
        Code::Unavailable
    );

    // As HTTP counts, and without names that clients make up.
    let mut other = images(&[b"x"]);
    other.model_name = "made-up".to_owned();
    assert_eq!(code(&router, "ModelInfer", other).await, Code::NotFound);
    let text = state.metrics.text();
    for labels in [
        "model=\"demo\",endpoint=\"grpc_infer\",status=\"503\"",
        "model=\"\",endpoint=\"grpc_infer\",status=\"404\"",
    ] {
        assert!(
            text.contains(&format!("resnest_requests_total{{{labels}}} 1")),
            "{text}"
        );
    }
    assert!(!text.contains("made-up"), "{text}");
}

#[tokio::test]
async fn with_a_key() {
    let (_, router) = door(|options| options.api_keys = vec!["secret".to_owned()]);
    let with = async |name: &'static str, value: &str| {
        let mut request = Request::new(ServerMetadataRequest {});
        request.metadata_mut().insert(name, value.parse().unwrap());
        let answer: Result<Response<()>, Status> = send(&router, "ServerMetadata", request).await;
        answer.map_or_else(|status| status.code(), |_| Code::Ok)
    };
    assert_eq!(
        code(&router, "ServerMetadata", ServerMetadataRequest {}).await,
        Code::Unauthenticated
    );
    assert_eq!(with("x-api-key", "secreT").await, Code::Unauthenticated);
    assert_eq!(with("x-api-key", "secret").await, Code::Ok);
    assert_eq!(with("authorization", "Bearer secret").await, Code::Ok);
    assert_eq!(
        code(&router, "ModelInfer", images(&[b"x"])).await,
        Code::Unauthenticated
    );
    let answers =
        stream::<_, ModelStreamInferResponse>(&router, "ModelStreamInfer", vec![images(&[b"x"])])
            .await;
    assert_eq!(answers.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(
        code(&router, "ServerReady", ServerReadyRequest {}).await,
        Code::Ok
    );
    assert_eq!(health(&router, "").await, Ok(ServingStatus::NotServing));
}

#[tokio::test]
async fn while_it_shuts_down() {
    let (state, router) = door(|_| {});
    let mut client = Grpc::new(router.clone());
    client.ready().await.unwrap();
    let watch = path("/grpc.health.v1.Health/Watch");
    let request = Request::new(HealthCheckRequest::default());
    let codec = ProstCodec::<_, HealthCheckResponse>::default();
    let mut news = client
        .server_streaming(request, watch, codec)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        news.next().await.unwrap().unwrap().status(),
        ServingStatus::NotServing
    );

    // A stream on which nothing is sent.
    let codec = ProstCodec::<ModelInferRequest, ModelStreamInferResponse>::default();
    let silent = Request::new(tokio_stream::pending());
    let answers = client
        .streaming(silent, path("ModelStreamInfer"), codec)
        .await
        .unwrap();
    let mut answers = answers.into_inner();

    state.life.drain();
    let end = Duration::from_secs(20);
    assert!(
        tokio::time::timeout(end, news.next())
            .await
            .unwrap()
            .is_none(),
        "those who watch are let go"
    );
    let last = tokio::time::timeout(end, answers.next())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(last.unwrap_err().code(), Code::Unavailable);
    assert_eq!(
        code(&router, "ModelInfer", images(&[b"x"])).await,
        Code::Unavailable
    );
    assert_eq!(health(&router, "").await, Ok(ServingStatus::NotServing));
    assert_eq!(
        code(&router, "ServerLive", ServerLiveRequest {}).await,
        Code::Ok
    );
}

#[tokio::test]
async fn ids_go_back() {
    let (_, router) = door(|_| {});
    for name in ["x-request-id", "triton-request-id"] {
        let mut request = Request::new(ServerLiveRequest {});
        request
            .metadata_mut()
            .insert(name, "mine-7".parse().unwrap());
        let answer: Response<ServerLiveResponse> =
            send(&router, "ServerLive", request).await.unwrap();
        assert_eq!(answer.metadata().get("x-request-id").unwrap(), "mine-7");
    }
    let answer: Response<ServerLiveResponse> = call(&router, "ServerLive", ServerLiveRequest {})
        .await
        .unwrap();
    assert!(
        !answer.metadata().get("x-request-id").unwrap().is_empty(),
        "one is made"
    );
}

#[tokio::test]
async fn what_is_not_served() {
    let (state, router) = door(|_| {});
    assert_eq!(code(&router, "LogSettings", ()).await, Code::Unimplemented);
    assert_eq!(
        code(&router, "/other.Service/Call", ()).await,
        Code::Unimplemented
    );
    let load = RepositoryModelLoadRequest {
        model_name: "demo".to_owned(),
        ..RepositoryModelLoadRequest::default()
    };
    assert_eq!(
        code(&router, "RepositoryModelLoad", load.clone()).await,
        Code::PermissionDenied
    );
    assert_eq!(
        code(&router, "RepositoryModelUnload", load).await,
        Code::PermissionDenied
    );
    let text = state.metrics.text();
    assert!(
        text.contains("endpoint=\"grpc_other\",status=\"501\"} 2"),
        "{text}"
    );
    assert!(
        text.contains("endpoint=\"grpc_repository\",status=\"403\"} 2"),
        "{text}"
    );
}

#[tokio::test]
async fn reflection_knows_the_service() {
    let (_, router) = door(|options| options.api_keys = vec!["secret".to_owned()]);
    let ask = |message| ServerReflectionRequest {
        host: String::new(),
        message_request: Some(message),
    };
    let symbol = MessageRequest::FileContainingSymbol("inference.ModelInferRequest".to_owned());
    let requests = vec![
        ask(MessageRequest::ListServices(String::new())),
        ask(symbol),
    ];
    for version in ["v1", "v1alpha"] {
        let method = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let answers = stream::<_, ServerReflectionResponse>(&router, &method, requests.clone())
            .await
            .unwrap();
        let answers: Vec<_> = answers
            .map(|answer| answer.unwrap().message_response.unwrap())
            .collect()
            .await;
        let [
            MessageResponse::ListServicesResponse(list),
            MessageResponse::FileDescriptorResponse(file),
        ] = &answers[..]
        else {
            panic!("{answers:?}");
        };
        let names: Vec<&str> = list
            .service
            .iter()
            .map(|service| service.name.as_str())
            .collect();
        assert!(
            names.contains(&super::SERVICE_NAME) && names.contains(&"grpc.health.v1.Health"),
            "{names:?}"
        );
        assert_eq!(file.file_descriptor_proto.len(), 1);
    }
}

/// The one test with a network in it.
#[tokio::test(flavor = "multi_thread")]
async fn photos_are_answered() {
    let photo = |name: &str| {
        std::fs::read(format!(
            "{}/../resnest/demo/photos/{name}.png",
            env!("CARGO_MANIFEST_DIR")
        ))
    };
    let (cat, horse) = (photo("chelsea").unwrap(), photo("horse").unwrap());
    let (state, router) = door(|_| {});
    state.load_model("demo").await.unwrap();
    let both = images(&[&cat, &horse]);
    let answer: Response<ModelInferResponse> =
        call(&router, "ModelInfer", both.clone()).await.unwrap();
    assert!(answer.metadata().contains_key("x-inference-time"));
    assert_eq!(best(answer.get_ref()), [3, 7]);
    assert_eq!(answer.get_ref().id, "mine");

    let mut client = Grpc::new(router.clone()).send_compressed(CompressionEncoding::Gzip);
    client.ready().await.unwrap();
    let codec = ProstCodec::<_, ModelInferResponse>::default();
    let packed = client
        .unary(Request::new(both.clone()), path("ModelInfer"), codec)
        .await
        .unwrap();
    assert_eq!(
        packed.get_ref().raw_output_contents,
        answer.get_ref().raw_output_contents
    );

    let requests = vec![images(&[&cat]), images(&[b"no image"]), images(&[&horse])];
    let answers = stream::<_, ModelStreamInferResponse>(&router, "ModelStreamInfer", requests)
        .await
        .unwrap();
    let answers: Vec<_> = answers.map(Result::unwrap).collect().await;
    let inner: Vec<_> = answers
        .iter()
        .map(|answer| answer.infer_response.as_ref().unwrap())
        .collect();
    assert_eq!((best(inner[0]), best(inner[2])), (vec![3], vec![7]));
    assert!(answers[0].error_message.is_empty() && !answers[1].error_message.is_empty());
    assert!(inner.iter().all(|answer| answer.id == "mine"));

    let stats: Response<ModelStatisticsResponse> = call(
        &router,
        "ModelStatistics",
        ModelStatisticsRequest::default(),
    )
    .await
    .unwrap();
    let demo = &stats.get_ref().model_stats[0];
    assert_eq!((demo.name.as_str(), demo.inference_count), ("demo", 6));
    assert_eq!(
        health(&router, super::SERVICE_NAME).await,
        Ok(ServingStatus::Serving)
    );
}

/// The class of the largest logit of each image.
fn best(answer: &ModelInferResponse) -> Vec<usize> {
    let at = answer
        .outputs
        .iter()
        .position(|output| output.name == "logits")
        .unwrap();
    let values = answer.raw_output_contents[at].chunks_exact(4);
    let values: Vec<f32> = values
        .map(|value| f32::from_le_bytes(value.try_into().unwrap()))
        .collect();
    let rows = values.chunks_exact(10);
    rows.map(|row| (0..10).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap())
        .collect()
}
