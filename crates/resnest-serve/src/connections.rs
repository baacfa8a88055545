//! Connections: accepted up to a limit, read within limits, closed when their requests are answered.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::State;
use crate::socket;

/// Bytes of a request's head.
const MOST_HEAD: usize = 64 << 10;
/// Fields in it.
const MOST_FIELDS: usize = 100;
/// After a connection could not be accepted for want of file descriptors or memory.
const PAUSE: Duration = Duration::from_millis(50);
/// For what was accepted last to be read and answered, before connections without a request are closed.
const LAST_WORDS: Duration = Duration::from_millis(300);
/// For clients to read the last answers, after that.
const GOODBYE: Duration = Duration::from_secs(2);

/// Serves connections until `stop` says so, then answers what is on its way and returns.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    state: Arc<State>,
    mut stop: watch::Receiver<bool>,
) {
    let limit = Arc::new(Semaphore::new(state.options.limits.max_connections.max(1)));
    let graceful = GracefulShutdown::new();
    let builder = Arc::new(builder());
    let start = |stream, permit| {
        let connection = Connection {
            state: state.clone(),
            permit,
        };
        connection.start(stream, &builder, &router, &graceful);
    };
    loop {
        // Where as many are open as may be, that is no reason to go on for ever.
        let permit = tokio::select! {
            permit = limit.clone().acquire_owned() => permit,
            () = stopped(&mut stop) => break,
        };
        let Ok(permit) = permit else {
            break;
        };
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => start(stream, permit),
                Err(error) if is_one_connection_s(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "no connection can be accepted now");
                    tokio::time::sleep(PAUSE).await;
                }
            },
            () = stopped(&mut stop) => break,
        }
    }
    for stream in waiting(listener) {
        let Ok(permit) = limit.clone().try_acquire_owned() else {
            break;
        };
        start(stream, permit);
    }
    let _ = tokio::time::timeout(LAST_WORDS, limit.acquire_many(all(&state))).await;
    graceful.shutdown().await;
    let _ = tokio::time::timeout(GOODBYE, limit.acquire_many(all(&state))).await;
}

/// Those who are connected already, though nobody has looked yet: they are answered too. The system is asked and not tokio,
/// which may not have heard of them; who comes between its last answer and the door's closing is turned away unheard.
fn waiting(listener: TcpListener) -> impl Iterator<Item = TcpStream> {
    let listener = listener.into_std().ok();
    std::iter::from_fn(move || {
        let (stream, _) = listener.as_ref()?.accept().ok()?;
        stream.set_nonblocking(true).ok()?;
        TcpStream::from_std(stream).ok()
    })
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error is that nobody can say stop any more.
    let _ = stop.wait_for(|stop| *stop).await;
}

fn all(state: &State) -> u32 {
    u32::try_from(state.options.limits.max_connections.max(1)).unwrap_or(u32::MAX)
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // `socket.rs` keeps the time.
        .header_read_timeout(None)
        .max_headers(MOST_FIELDS)
        .max_buf_size(MOST_HEAD.max(8 << 10));
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20))
        .max_header_list_size(64 << 10)
        .max_concurrent_streams(256)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20);
    builder
}

/// Whether it is about a connection that is gone, not about the next ones.
fn is_one_connection_s(error: &std::io::Error) -> bool {
    use std::io::ErrorKind as E;
    matches!(
        error.kind(),
        E::ConnectionAborted | E::ConnectionRefused | E::ConnectionReset | E::Interrupted
    )
}

/// Counts while it is there.
struct Connection {
    state: Arc<State>,
    permit: OwnedSemaphorePermit,
}

impl Connection {
    fn start(
        self,
        stream: TcpStream,
        builder: &Arc<Builder<TokioExecutor>>,
        router: &Router,
        graceful: &GracefulShutdown,
    ) {
        // Answers are small and whole.
        let _ = stream.set_nodelay(true);
        let (socket, line) = socket::split(stream);
        let router = TowerToHyperService::new(router.clone());
        let activity = line.activity().clone();
        let service = service_fn(move |request| {
            let answering = activity.answering();
            let answer = router.call(request);
            async move {
                let answer = answer.await;
                drop(answering);
                answer
            }
        });
        let connection = builder
            .serve_connection(TokioIo::new(socket), service)
            .into_owned();
        let connection = graceful.watch(connection);
        self.state.metrics.connections.inc();
        tokio::spawn(async move {
            let crowded = || self.permit.semaphore().available_permits() == 0;
            let late = tokio::select! {
                ended = connection => {
                    // What goes wrong with a connection is its client's, who knows.
                    if let Err(error) = ended {
                        tracing::debug!(error, "a connection ended");
                    }
                    None
                }
                late = line.late(&self.state.options.limits, crowded) => Some(late),
            };
            line.close(late, self.state.life.draining()).await;
            drop(self);
        });
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.state.metrics.connections.dec();
    }
}
