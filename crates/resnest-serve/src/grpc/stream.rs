//! Calls that go on: requests one after another over a stream, each answered in its turn.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::Frame;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::generated::{ModelInferRequest, ModelInferResponse, ModelStreamInferResponse};
use super::guard::{blame, refuse};
use super::service::infer;
use crate::http::body::room;
use crate::{Failure, Kind, Outcome, State};

/// Room is taken in pieces of this size.
const PIECE: usize = 64 << 10;

/// A stream's share of the memory that all bodies may take: for the message that is coming or being answered.
#[derive(Debug, Default)]
pub(super) struct Rooms(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    arrived: usize,
    room: usize,
    permits: Option<OwnedSemaphorePermit>,
}

impl Rooms {
    fn taken(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many bytes have arrived.
    fn add(&self, server: &State, bytes: usize) -> Outcome<()> {
        let mut taken = self.taken();
        taken.arrived += bytes;
        if taken.arrived > taken.room {
            let more = (taken.arrived - taken.room).max(PIECE);
            let permit = room(server, more)?;
            taken.room += more;
            match &mut taken.permits {
                Some(permits) => permits.merge(permit),
                permits => *permits = Some(permit),
            }
        }
        Ok(())
    }

    /// They were answered.
    fn clear(&self) {
        *self.taken() = Taken::default();
    }

    fn is_empty(&self) -> bool {
        self.taken().arrived == 0
    }
}

/// The body of a call that goes on: it ends when the server does, and takes room as it comes.
pub(super) struct Flow {
    body: Body,
    server: Arc<State>,
    rooms: Option<Arc<Rooms>>,
    drained: Pin<Box<dyn Future<Output = ()> + Send>>,
    over: bool,
}

impl Flow {
    pub(super) fn new(server: &Arc<State>, body: Body, rooms: Option<Arc<Rooms>>) -> Self {
        let life = server.clone();
        Self {
            body,
            server: server.clone(),
            rooms,
            drained: Box::pin(async move { life.life.drained().await }),
            over: false,
        }
    }

    fn fail(&mut self, failure: Failure) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.over = true;
        Poll::Ready(Some(Err(refuse(failure))))
    }
}

impl HttpBody for Flow {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if this.over {
            return Poll::Ready(None);
        }
        if this.drained.as_mut().poll(context).is_ready() {
            return this.fail(Failure::new(
                Kind::Unavailable,
                "the server is shutting down",
            ));
        }
        let frame = std::task::ready!(Pin::new(&mut this.body).poll_frame(context));
        let frame = frame
            .transpose()
            .map_err(|error| Status::cancelled(error.to_string()))?;
        let bytes = frame
            .as_ref()
            .and_then(Frame::data_ref)
            .map_or(0, Bytes::len);
        if let Some(rooms) = &this.rooms
            && let Err(failure) = rooms.add(&this.server, bytes)
        {
            return this.fail(failure);
        }
        Poll::Ready(frame.map(Ok))
    }
}

type Answers = mpsc::Sender<Result<ModelStreamInferResponse, Status>>;

/// Answers the requests of a stream until it ends.
pub(super) fn answers(
    server: &Arc<State>,
    requests: Streaming<ModelInferRequest>,
    compressed: bool,
    rooms: Arc<Rooms>,
) -> ReceiverStream<Result<ModelStreamInferResponse, Status>> {
    let (answers, stream) = mpsc::channel(1);
    let server = server.clone();
    tokio::spawn(async move {
        if let Err(status) = answer_all(&server, requests, compressed, &rooms, &answers).await {
            let _ = answers.send(Err(status)).await;
        }
    });
    ReceiverStream::new(stream)
}

async fn answer_all(
    server: &State,
    mut requests: Streaming<ModelInferRequest>,
    compressed: bool,
    rooms: &Rooms,
    answers: &Answers,
) -> Result<(), Status> {
    while let Some(request) = next(server, &mut requests, rooms).await? {
        let in_flight = server.life.enter();
        let answer = tokio::select! {
            answer = answer(server, request, compressed) => answer,
            () = answers.closed() => return Ok(()),
        };
        drop(in_flight);
        rooms.clear();
        if answers.send(Ok(answer)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// The next request: the stream may rest as long as it likes, but not in the midst of a message.
async fn next(
    server: &State,
    requests: &mut Streaming<ModelInferRequest>,
    rooms: &Rooms,
) -> Result<Option<ModelInferRequest>, Status> {
    let limit = server.options.limits.body_timeout;
    loop {
        let nothing_yet = rooms.is_empty();
        match tokio::time::timeout(limit, requests.message()).await {
            Ok(request) => return request.map_err(blame),
            Err(_) if nothing_yet => {}
            Err(_) => {
                let text = format!(
                    "the message was not there within {:.0} s",
                    limit.as_secs_f64()
                );
                return Err(refuse(Failure::new(Kind::SlowBody, text)));
            }
        }
    }
}

async fn answer(
    server: &State,
    request: ModelInferRequest,
    compressed: bool,
) -> ModelStreamInferResponse {
    let start = Instant::now();
    let id = request.id.clone();
    let model = server
        .models
        .known(&request.model_name)
        .unwrap_or_default()
        .to_owned();
    // Each message is a new request, though the call was let in long ago.
    let outcome = match server.not_draining() {
        Ok(()) => infer(server, request, compressed).await,
        Err(failure) => Err(failure),
    };
    let status = outcome
        .as_ref()
        .map_or_else(|failure| failure.kind.status().as_u16(), |_| 200);
    server
        .metrics
        .request(&model, "grpc_infer", status, start.elapsed());
    match outcome {
        Ok((response, _)) => ModelStreamInferResponse {
            error_message: String::new(),
            infer_response: Some(response),
        },
        Err(failure) => ModelStreamInferResponse {
            error_message: failure.message,
            infer_response: Some(ModelInferResponse {
                id,
                ..ModelInferResponse::default()
            }),
        },
    }
}
