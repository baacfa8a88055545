//! The service's calls: each asks of what both doors share what HTTP asks, and says the answer in messages.

use std::sync::Arc;

use prost::Message;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use super::describe;
use super::generated::grpc_inference_service_server::GrpcInferenceService;
use super::generated::*;
use super::guard::{About, refuse};
use super::tensors::{given, read_request, write_response};
use crate::engine::Times;
use crate::http::body::room;
use crate::http::served::Served;
use crate::infer::metadata::{EXTENSIONS, SERVER};
use crate::models::Model;
use crate::{Failure, Kind, Outcome, State};

/// The service over what the doors share.
#[derive(Debug)]
pub(super) struct Service {
    server: Arc<State>,
}

impl Service {
    pub(super) fn new(server: &Arc<State>) -> Self {
        Self {
            server: server.clone(),
        }
    }

    /// The model that a message names; the guard learns which one it is.
    fn model<T>(&self, request: &Request<T>, name: &str, version: &str) -> Outcome<Arc<Model>> {
        self.note(request, name);
        self.server.models.get(Some(name), Some(version))
    }

    fn note<T>(&self, request: &Request<T>, name: &str) {
        if let Some(about) = request.extensions().get::<Arc<About>>() {
            about.model(&self.server, name);
        }
    }
}

/// A request's answer, and how long its images took.
pub(super) async fn infer(
    server: &State,
    message: ModelInferRequest,
    compressed: bool,
) -> Outcome<(ModelInferResponse, Times)> {
    // Its body had room for what came; unpacked it takes this in its stead.
    let unpacked = compressed
        .then(|| room(server, message.encoded_len()))
        .transpose()?;
    let answer = server.infer(read_request(message)?).await?;
    drop(unpacked);
    let times = answer.times;
    Ok((write_response(answer), times))
}

fn compressed(metadata: &MetadataMap) -> bool {
    metadata
        .get("grpc-encoding")
        .is_some_and(|coding| coding != "identity")
}

fn answered<T>(outcome: Outcome<T>) -> Result<Response<T>, Status> {
    outcome.map(Response::new).map_err(refuse)
}

#[tonic::async_trait]
impl GrpcInferenceService for Service {
    async fn model_infer(
        &self,
        request: Request<ModelInferRequest>,
    ) -> Result<Response<ModelInferResponse>, Status> {
        self.note(&request, &request.get_ref().model_name);
        let compressed = compressed(request.metadata());
        let outcome = infer(&self.server, request.into_inner(), compressed).await;
        let (message, times) = outcome.map_err(refuse)?;
        let mut response = Response::new(message);
        response.extensions_mut().insert(Served(times));
        Ok(response)
    }

    type ModelStreamInferStream = ReceiverStream<Result<ModelStreamInferResponse, Status>>;

    async fn model_stream_infer(
        &self,
        request: Request<Streaming<ModelInferRequest>>,
    ) -> Result<Response<Self::ModelStreamInferStream>, Status> {
        let compressed = compressed(request.metadata());
        let rooms = request.extensions().get().cloned().unwrap_or_default();
        let answers = super::stream::answers(&self.server, request.into_inner(), compressed, rooms);
        Ok(Response::new(answers))
    }

    async fn server_live(
        &self,
        _: Request<ServerLiveRequest>,
    ) -> Result<Response<ServerLiveResponse>, Status> {
        let live = self.server.alive().await.is_ok();
        Ok(Response::new(ServerLiveResponse { live }))
    }

    async fn server_ready(
        &self,
        _: Request<ServerReadyRequest>,
    ) -> Result<Response<ServerReadyResponse>, Status> {
        let ready = self.server.ready().is_ok() && self.server.alive().await.is_ok();
        Ok(Response::new(ServerReadyResponse { ready }))
    }

    async fn model_ready(
        &self,
        request: Request<ModelReadyRequest>,
    ) -> Result<Response<ModelReadyResponse>, Status> {
        let ModelReadyRequest { name, version } = request.get_ref();
        let ready = match self.model(&request, name, version) {
            Ok(_) => true,
            // It is one of this server's, and that is the answer.
            Err(failure) if failure.kind == Kind::Unavailable => false,
            Err(failure) => return Err(refuse(failure)),
        };
        Ok(Response::new(ModelReadyResponse { ready }))
    }

    async fn server_metadata(
        &self,
        _: Request<ServerMetadataRequest>,
    ) -> Result<Response<ServerMetadataResponse>, Status> {
        Ok(Response::new(ServerMetadataResponse {
            name: SERVER.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            extensions: EXTENSIONS.map(str::to_owned).to_vec(),
        }))
    }

    async fn model_metadata(
        &self,
        request: Request<ModelMetadataRequest>,
    ) -> Result<Response<ModelMetadataResponse>, Status> {
        let ModelMetadataRequest { name, version } = request.get_ref();
        answered(
            self.model(&request, name, version)
                .map(|model| describe::metadata(&model)),
        )
    }

    async fn model_config(
        &self,
        request: Request<ModelConfigRequest>,
    ) -> Result<Response<ModelConfigResponse>, Status> {
        let ModelConfigRequest { name, version } = request.get_ref();
        let model = self.model(&request, name, version);
        answered(model.map(|model| ModelConfigResponse {
            config: Some(describe::config(&model)),
        }))
    }

    async fn model_statistics(
        &self,
        request: Request<ModelStatisticsRequest>,
    ) -> Result<Response<ModelStatisticsResponse>, Status> {
        let ModelStatisticsRequest { name, version } = request.get_ref();
        let models = match given(name.clone()) {
            Some(name) => self
                .model(&request, &name, version)
                .map(|model| vec![model]),
            None => Ok(self.server.models.ready()),
        };
        answered(models.map(|models| {
            ModelStatisticsResponse {
                model_stats: models
                    .iter()
                    .map(|model| describe::statistics(model))
                    .collect(),
            }
        }))
    }

    async fn repository_index(
        &self,
        request: Request<RepositoryIndexRequest>,
    ) -> Result<Response<RepositoryIndexResponse>, Status> {
        let ready = request.get_ref().ready;
        let models = self.server.models.all().into_iter();
        let all = models.map(|(name, stand)| describe::indexed(name, stand));
        Ok(Response::new(RepositoryIndexResponse {
            models: all
                .filter(|model| !ready || model.state == "READY")
                .collect(),
        }))
    }

    async fn repository_model_load(
        &self,
        request: Request<RepositoryModelLoadRequest>,
    ) -> Result<Response<RepositoryModelLoadResponse>, Status> {
        self.note(&request, &request.get_ref().model_name);
        let RepositoryModelLoadRequest {
            model_name,
            parameters,
            ..
        } = request.into_inner();
        self.server.clients_may_load().map_err(refuse)?;
        if let Some(name) = parameters.keys().next() {
            let text = format!(
                "parameter {name:?}: models are loaded as the server was told, without parameters"
            );
            return Err(refuse(Failure::bad_request(text)));
        }
        let loaded = self.server.load_model(&model_name).await;
        answered(loaded.map(|()| RepositoryModelLoadResponse {}))
    }

    async fn repository_model_unload(
        &self,
        request: Request<RepositoryModelUnloadRequest>,
    ) -> Result<Response<RepositoryModelUnloadResponse>, Status> {
        let name = &request.get_ref().model_name;
        self.note(&request, name);
        self.server.clients_may_load().map_err(refuse)?;
        let unloaded = self.server.unload_model(name).await;
        answered(unloaded.map(|()| RepositoryModelUnloadResponse {}))
    }
}
