//! gRPC's own health checks: what load balancers and Kubernetes' probes ask.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::SERVICE_NAME;
use crate::State;

/// How often there may be news for those who watch; that the server shuts down they learn at once.
const OFTEN: Duration = Duration::from_secs(1);

/// The server's readiness, asked for at each check: nothing has to be told when it changes.
#[derive(Debug)]
pub(super) struct Readiness {
    server: Arc<State>,
}

impl Readiness {
    pub(super) fn new(server: &Arc<State>) -> Self {
        Self {
            server: server.clone(),
        }
    }
}

/// How it stands with a service; none for one that there is not.
async fn status(server: &State, service: &str) -> Option<ServingStatus> {
    if !matches!(service, "" | SERVICE_NAME) {
        return None;
    }
    let serves = server.ready().is_ok() && server.alive().await.is_ok();
    Some(match serves {
        true => ServingStatus::Serving,
        false => ServingStatus::NotServing,
    })
}

fn message(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}

#[tonic::async_trait]
impl Health for Readiness {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        match status(&self.server, &service).await {
            Some(status) => Ok(Response::new(message(status))),
            None => Err(Status::not_found(format!(
                "there is no service {service:?} here"
            ))),
        }
    }

    type WatchStream = ReceiverStream<Result<HealthCheckResponse, Status>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (news, stream) = mpsc::channel(1);
        tokio::spawn(watch(
            self.server.clone(),
            request.into_inner().service,
            news,
        ));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// Tells of each change, until the client leaves or the server ends: it would wait for those who watch.
async fn watch(
    server: Arc<State>,
    service: String,
    news: mpsc::Sender<Result<HealthCheckResponse, Status>>,
) {
    let mut told = None;
    loop {
        let last = server.life.draining();
        // The protocol wants this said, not an end of the call.
        let now = status(&server, &service)
            .await
            .unwrap_or(ServingStatus::ServiceUnknown);
        if told != Some(now) {
            if news.send(Ok(message(now))).await.is_err() {
                return;
            }
            told = Some(now);
        }
        if last {
            return;
        }
        tokio::select! {
            () = news.closed() => return,
            () = server.life.drained() => {}
            () = tokio::time::sleep(OFTEN) => {}
        }
    }
}
