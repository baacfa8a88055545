//! The gRPC door.

use std::sync::Arc;

use axum::Router;

use crate::State;

/// The service.
pub fn router(_state: &Arc<State>) -> Router {
    Router::new()
}
