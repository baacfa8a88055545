//! timm's ResNet-family image classifiers behind an address: the Open Inference Protocol over HTTP and gRPC, images in,
//! classes out, batches that form themselves.
//!
//! ```no_run
//! use resnest_serve::{Options, Server, State};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let mut options = Options::default();
//! options.models = vec!["demo".parse()?];
//! let state = State::new(options)?;
//! let server = Server::bind(&state).await?;
//! println!("http://{}", server.http_address()?);
//! let answers = tokio::spawn(server.run());
//! state.load_model("demo").await?;
//! // Until somebody calls `state.life.drain()`:
//! answers.await??;
//! # Ok(())
//! # }
//! ```
//!
//! A request becomes one internal type, whichever door it came through, and is answered by one function:
//! [`State::infer`]. `http/` and `grpc/` are the doors, `infer/` is from tensors to images and back, `engine/` has the
//! threads and the queues, `models/` knows the models by name. `server.rs`, `connections.rs` and `socket.rs` are about
//! sockets, `life.rs` about beginning and end, `failure.rs` is where errors become statuses. Nothing in here prints.
#![forbid(unsafe_code)]

mod connections;
pub mod engine;
mod failure;
pub mod grpc;
pub mod http;
pub mod infer;
mod life;
pub mod metrics;
pub mod models;
pub mod options;
mod process;
mod server;
mod socket;
mod state;
pub mod telemetry;

pub use failure::{Failure, Kind, Outcome};
pub use life::{InFlight, Life};
pub use options::{ModelControl, ModelSpec, Options, RequestLimits};
pub use server::{CannotListen, Server};
pub use state::State;
