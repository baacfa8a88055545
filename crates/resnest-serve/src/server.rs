//! A server from its first connection to its last.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;

use crate::failure::Kind;
use crate::{Failure, Outcome, State, connections, grpc, http};

/// A server with its doors open, yet to be run.
#[derive(Debug)]
pub struct Server {
    state: Arc<State>,
    http: TcpListener,
    grpc: Option<TcpListener>,
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct CannotListen {
    /// The address.
    pub address: String,
    /// What the system said.
    pub source: io::Error,
}

impl Server {
    /// Listens where the options say. Until its models are loaded, it answers that they are not.
    ///
    /// # Errors
    /// An address that is no address, not of this machine, or in use.
    pub async fn bind(state: &Arc<State>) -> Result<Self, CannotListen> {
        Ok(Self {
            http: listen(&state.options.http).await?,
            grpc: match &state.options.grpc {
                Some(address) => Some(listen(address).await?),
                None => None,
            },
            state: state.clone(),
        })
    }

    /// Where HTTP is answered.
    ///
    /// # Errors
    /// What the system says.
    pub fn http_address(&self) -> io::Result<SocketAddr> {
        self.http.local_addr()
    }

    /// Where gRPC is answered.
    ///
    /// # Errors
    /// What the system says.
    pub fn grpc_address(&self) -> io::Result<Option<SocketAddr>> {
        self.grpc.as_ref().map(TcpListener::local_addr).transpose()
    }

    /// Answers until the server drains ([`crate::Life::drain`]) and what was in flight is answered, or the time for that
    /// is over: then it says so.
    ///
    /// # Errors
    /// Requests were left without an answer.
    pub async fn run(self) -> Outcome<()> {
        let Self { state, http, grpc } = self;
        let (stop, stopped) = watch::channel(false);
        let mut doors = tokio::task::JoinSet::new();
        doors.spawn(connections::serve(
            http,
            http::router(&state),
            state.clone(),
            stopped.clone(),
        ));
        if let Some(grpc) = grpc {
            doors.spawn(connections::serve(
                grpc,
                grpc::router(&state),
                state.clone(),
                stopped,
            ));
        }
        state.life.drained().await;
        let limit = state.options.drain_timeout;
        let end = async {
            state.life.idle().await;
            stop.send_replace(true);
            while doors.join_next().await.is_some() {}
        };
        let late = |_| {
            let text = format!(
                "requests were left without an answer after {:.0} s",
                limit.as_secs_f64()
            );
            Failure::new(Kind::Timeout, text)
        };
        tokio::time::timeout(limit, end).await.map_err(late)
    }
}

/// Connections that may wait to be accepted, if the system lets them: one too many, and its client tries again a second
/// later. tokio's own 1,024 are too few for the thousands that come at once after a restart.
const BACKLOG: u32 = 4096;

async fn listen(address: &str) -> Result<TcpListener, CannotListen> {
    first_that_listens(address)
        .await
        .map_err(|source| CannotListen {
            address: address.to_owned(),
            source,
        })
}

async fn first_that_listens(address: &str) -> io::Result<TcpListener> {
    let mut failed = io::Error::new(io::ErrorKind::InvalidInput, "it names no address");
    for one in tokio::net::lookup_host(address).await? {
        match listen_at(one) {
            Ok(listener) => return Ok(listener),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

fn listen_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Elsewhere it would let two servers have the same address.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
