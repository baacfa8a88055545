//! The gRPC door: the Open Inference Protocol with what Triton's clients expect beside it, health, reflection.
//!
//! `service.rs` has the calls; `describe.rs` and `tensors.rs` turn what both doors share into messages; `stream.rs`
//! is the call that goes on. `guard.rs` is around all, `bounded.rs` around every message. `generated.rs` and
//! `descriptor.bin` come from `proto/inference.proto`; `tests/generated.rs` holds them to it.

mod bounded;
mod describe;
// What prost and tonic write is documented where the protocol is, and is not as clippy or rustfmt would have it.
#[allow(missing_docs, clippy::all, reason = "generated")]
#[rustfmt::skip]
mod generated;
mod guard;
mod health;
mod service;
mod stream;
mod tensors;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tonic_health::pb::health_server::HealthServer;
use tonic_reflection::server::Builder;

use crate::State;
use generated::grpc_inference_service_server::{GrpcInferenceServiceServer, SERVICE_NAME};

/// What the protocol compiles to, for clients that ask.
const DESCRIPTORS: &[u8] = include_bytes!("descriptor.bin");
/// Most bytes of a message to health or reflection, which need no key.
const SMALL: usize = 16 << 10;

/// Every service, for a server that speaks HTTP/2.
pub fn router(state: &Arc<State>) -> Router {
    let most = state.options.limits.max_body;
    let inference = GrpcInferenceServiceServer::new(service::Service::new(state))
        .max_decoding_message_size(most)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Deflate);
    let health = HealthServer::new(health::Readiness::new(state)).max_decoding_message_size(SMALL);
    let routes = Routes::new(inference).add_service(health);
    let guard = axum::middleware::from_fn_with_state(state.clone(), guard::guard);
    with_reflection(routes).into_axum_router().layer(guard)
}

/// Both versions that clients know: grpcurl asks for the first, Python's client for the other.
fn with_reflection(routes: Routes) -> Routes {
    let builder = || {
        Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    match (builder().build_v1(), builder().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => routes
            .add_service(v1.max_decoding_message_size(SMALL))
            .add_service(v1alpha.max_decoding_message_size(SMALL)),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "there is no reflection: please report this");
            routes
        }
    }
}
