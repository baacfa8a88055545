//! What an answer knows of itself: for its headers, the log and the metrics.

use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use crate::engine::Times;

/// Put into a response's extensions by those who have images answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Served(pub(crate) Times);

const DECODE: HeaderName = HeaderName::from_static("x-decode-time");
const QUEUE: HeaderName = HeaderName::from_static("x-queue-time");
const INFERENCE: HeaderName = HeaderName::from_static("x-inference-time");
const TOTAL: HeaderName = HeaderName::from_static("x-total-time");
const BATCH: HeaderName = HeaderName::from_static("x-batch-size");
const TIMING: HeaderName = HeaderName::from_static("server-timing");

/// How long it took, in milliseconds; where there are several images, the longest of each.
pub(crate) fn add_times(headers: &mut HeaderMap, start: Instant, served: Option<&Served>) {
    let total = start.elapsed();
    let mut timing = String::new();
    if let Some(Served(times)) = served {
        let parts = [
            (DECODE, "decode", times.decode),
            (QUEUE, "queue", times.queue),
            (INFERENCE, "inference", times.inference),
        ];
        for (header, name, time) in parts {
            insert(headers, header, &millis(time));
            timing += &format!("{name};dur={}, ", millis(time));
        }
        insert(headers, BATCH, &times.batch.to_string());
    }
    insert(headers, TOTAL, &millis(total));
    insert(
        headers,
        TIMING,
        &format!("{timing}total;dur={}", millis(total)),
    );
}

fn insert(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

fn millis(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64() * 1e3)
}
