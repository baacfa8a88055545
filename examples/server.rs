//! One classifier shared by all requests: `cargo run --release --features demo --example server`, then
//! `curl --data-binary @photo.jpg http://127.0.0.1:8080/`.
//!
//! The smallest thing that works: no batching, no limits but the body's size.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use resnest::Classifier;
use serde_json::{Value, json};

type Answer = Result<Json<Value>, (StatusCode, String)>;

async fn classify(State(classifier): State<Arc<Classifier>>, bytes: Bytes) -> Answer {
    // Decoding and the network take milliseconds of CPU: not on the threads that answer others.
    let work = tokio::task::spawn_blocking(move || classifier.classify(&bytes, 5));
    match work.await {
        Ok(Ok(best)) => {
            let class =
                |p: &resnest::Prediction| json!({"label": p.label, "probability": p.probability});
            Ok(Json(best.iter().map(class).collect()))
        }
        Ok(Err(error)) if error.is_bad_image() => {
            Err((StatusCode::UNPROCESSABLE_ENTITY, error.with_causes()))
        }
        Ok(Err(error)) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.with_causes())),
        Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let classifier = Classifier::builder("demo").load()?;
    let service = Router::new()
        .route("/", post(classify))
        .layer(DefaultBodyLimit::max(32 << 20))
        .with_state(Arc::new(classifier));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, service).await?;
    Ok(())
}
