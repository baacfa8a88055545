//! What the server counts and measures, as Prometheus reads it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::engine::{Answer, Times};
use crate::{Outcome, process};

/// Half a millisecond to half a minute.
const SECONDS: [f64; 16] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0,
    30.0,
];
/// Why a request for a model is refused (`Kind::rejection`).
const REASONS: [&str; 3] = ["overloaded", "unavailable", "timeout"];
const IMAGES: [f64; 10] = [1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 32.0, 64.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfModel {
    model: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRequest {
    model: String,
    endpoint: &'static str,
    status: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfEndpoint {
    model: String,
    endpoint: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfImage {
    model: String,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRejection {
    model: String,
    reason: &'static str,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Everything that is counted. Cheap to clone: all clones count together.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    requests: Family<OfRequest, Counter>,
    request_seconds: Histograms<OfEndpoint>,
    images: Family<OfImage, Counter>,
    rejected: Family<OfRejection, Counter>,
    queue_seconds: Histograms<OfModel>,
    decode_seconds: Histograms<OfModel>,
    inference_seconds: Histograms<OfModel>,
    batch_images: Histograms<OfModel>,
    queue_images: Family<OfModel, Gauge>,
    loaded: Family<OfModel, Gauge>,
    load_seconds: Family<OfModel, Gauge<f64, AtomicU64>>,
    in_flight: Gauge,
    /// Connections that are open.
    pub connections: Gauge,
    memory: Gauge,
    cpu: Counter<f64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Everything at zero.
    pub fn new() -> Self {
        let this = Self {
            registry: Arc::default(),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(seconds),
            images: Family::default(),
            rejected: Family::default(),
            queue_seconds: Family::new_with_constructor(seconds),
            decode_seconds: Family::new_with_constructor(seconds),
            inference_seconds: Family::new_with_constructor(seconds),
            batch_images: Family::new_with_constructor(images),
            queue_images: Family::default(),
            loaded: Family::default(),
            load_seconds: Family::default(),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            memory: Gauge::default(),
            cpu: Counter::default(),
        };
        this.register();
        this
    }

    fn register(&self) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let r = registry.sub_registry_with_prefix("resnest");
        r.register(
            "requests",
            "Requests answered, by status",
            self.requests.clone(),
        );
        let help = "From a request's head to its answer";
        r.register_with_unit("request", help, Unit::Seconds, self.request_seconds.clone());
        r.register(
            "images",
            "Images answered, by how it went",
            self.images.clone(),
        );
        r.register(
            "rejected",
            "Requests without an answer for lack of room or time",
            self.rejected.clone(),
        );
        let help = "An image's waiting, in whichever queue";
        r.register_with_unit("queue", help, Unit::Seconds, self.queue_seconds.clone());
        let help = "An image's decoding, resizing and normalising";
        r.register_with_unit("decode", help, Unit::Seconds, self.decode_seconds.clone());
        let help = "The network, for one batch";
        r.register_with_unit(
            "inference",
            help,
            Unit::Seconds,
            self.inference_seconds.clone(),
        );
        r.register(
            "batch_images",
            "Images computed at once",
            self.batch_images.clone(),
        );
        r.register(
            "queue_images",
            "Images that wait",
            self.queue_images.clone(),
        );
        r.register(
            "model_loaded",
            "Whether the model answers",
            self.loaded.clone(),
        );
        let help = "How long the model took to load and to warm up";
        r.register_with_unit("model_load", help, Unit::Seconds, self.load_seconds.clone());
        r.register(
            "in_flight_images",
            "Images between request and answer",
            self.in_flight.clone(),
        );
        r.register("connections", "Open connections", self.connections.clone());
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        r.register("build", "Which program this is", build);
        let p = registry.sub_registry_with_prefix("process");
        let help = "Memory that the process has in use";
        p.register_with_unit("resident_memory", help, Unit::Bytes, self.memory.clone());
        let help = "CPU time that the process has had";
        p.register_with_unit("cpu", help, Unit::Seconds, self.cpu.clone());
        let start = Gauge::<f64, AtomicU64>::default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        start.set(now.unwrap_or_default().as_secs_f64());
        p.register_with_unit(
            "start_time",
            "When the process started",
            Unit::Seconds,
            start,
        );
    }

    /// Prometheus' text: of OpenMetrics' format, which Prometheus reads as well.
    pub fn text(&self) -> String {
        if let Some(usage) = process::usage() {
            self.memory
                .set(i64::try_from(usage.resident).unwrap_or(i64::MAX));
            // The system counts it: the counter takes over what it says, as the bits that it keeps.
            let cpu = usage.cpu.as_secs_f64().to_bits();
            self.cpu.inner().store(cpu, Ordering::Relaxed);
        }
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // It fails where the writer does, and a string has no way to.
        let _ = encode(&mut text, &registry);
        text
    }

    /// A request was answered. `model` is one that there is, or empty: names that clients make up are not kept.
    pub fn request(&self, model: &str, endpoint: &'static str, status: u16, took: Duration) {
        let model = model.to_owned();
        self.request_seconds
            .get_or_create(&OfEndpoint {
                model: model.clone(),
                endpoint,
            })
            .observe(took.as_secs_f64());
        let status = status.to_string();
        let labels = OfRequest {
            model,
            endpoint,
            status,
        };
        self.requests.get_or_create(&labels).inc();
    }

    /// A request had no answer for lack of room or time.
    pub fn rejected(&self, model: &str, reason: &'static str) {
        let model = model.to_owned();
        self.rejected
            .get_or_create(&OfRejection { model, reason })
            .inc();
    }

    /// So many images of this model wait now.
    pub fn queue_depth(&self, model: &str, images: usize) {
        let model = model.to_owned();
        let images = i64::try_from(images).unwrap_or(i64::MAX);
        self.queue_images
            .get_or_create(&OfModel { model })
            .set(images);
    }

    /// So many images are between request and answer.
    pub fn in_flight(&self, images: usize) {
        self.in_flight
            .set(i64::try_from(images).unwrap_or(i64::MAX));
    }

    /// The model answers from now on, having taken so long to load; or no more.
    pub fn loaded(&self, model: &str, took: Option<Duration>) {
        let labels = OfModel {
            model: model.to_owned(),
        };
        self.loaded
            .get_or_create(&labels)
            .set(i64::from(took.is_some()));
        if let Some(took) = took {
            self.load_seconds
                .get_or_create(&labels)
                .set(took.as_secs_f64());
        }
    }

    /// What is counted of one model's images.
    pub fn of_model(&self, model: &str) -> ModelMetrics {
        // At zero from the start: what first appears at 1 has not grown, as Prometheus sees it.
        for reason in REASONS {
            let model = model.to_owned();
            drop(self.rejected.get_or_create(&OfRejection { model, reason }));
        }
        let labels = OfModel {
            model: model.to_owned(),
        };
        let images = |result| {
            let model = model.to_owned();
            self.images.get_or_create_owned(&OfImage { model, result })
        };
        ModelMetrics {
            well: images("ok"),
            failed: images("error"),
            cancelled: images("cancelled"),
            queue: self.queue_seconds.get_or_create_owned(&labels),
            decode: self.decode_seconds.get_or_create_owned(&labels),
            inference: self.inference_seconds.get_or_create_owned(&labels),
            batch: self.batch_images.get_or_create_owned(&labels),
            totals: Arc::default(),
        }
    }
}

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

fn images() -> Histogram {
    Histogram::new(IMAGES)
}

/// One model's.
#[derive(Debug, Clone)]
pub struct ModelMetrics {
    well: Counter,
    failed: Counter,
    cancelled: Counter,
    queue: Histogram,
    decode: Histogram,
    inference: Histogram,
    batch: Histogram,
    totals: Arc<Mutex<Totals>>,
}

/// Sums since the model was loaded, as the protocol's statistics have them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Totals {
    /// Images with an answer.
    pub well: u64,
    /// Images without.
    pub failed: u64,
    /// Time of all of them in queues.
    pub queue: Duration,
    /// Time of all of them being decoded.
    pub decode: Duration,
    /// The network's time for each image's batch.
    pub inference: Duration,
    /// Of each size of batch, how many there were and the network's time for them.
    pub batches: std::collections::BTreeMap<usize, (u64, Duration)>,
    /// When the last image was answered.
    pub last: Option<SystemTime>,
}

impl ModelMetrics {
    /// An image was answered.
    pub(crate) fn image(&self, answer: &Outcome<Answer>, times: &Times) {
        self.queue.observe(times.queue.as_secs_f64());
        self.decode.observe(times.decode.as_secs_f64());
        self.change(|totals| {
            totals.last = Some(SystemTime::now());
            match answer {
                Ok(_) => {
                    self.well.inc();
                    totals.well += 1;
                    totals.queue += times.queue;
                    totals.decode += times.decode;
                    totals.inference += times.inference;
                }
                Err(_) => {
                    self.failed.inc();
                    totals.failed += 1;
                }
            }
        });
    }

    /// An image's client left before it was answered.
    pub(crate) fn cancelled(&self) {
        self.cancelled.inc();
    }

    /// A batch was computed.
    pub(crate) fn batch(&self, images: usize, took: Duration) {
        self.inference.observe(took.as_secs_f64());
        self.batch.observe(images as f64);
        self.change(|totals| {
            let entry = totals.batches.entry(images).or_default();
            entry.0 += 1;
            entry.1 += took;
        });
    }

    /// What there was so far.
    pub fn totals(&self) -> Totals {
        self.change(|totals| totals.clone())
    }

    fn change<T>(&self, work: impl FnOnce(&mut Totals) -> T) -> T {
        work(&mut self.totals.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_every_name_with_its_labels_and_ends_as_it_should() {
        let metrics = Metrics::new();
        let of_model = metrics.of_model("demo");
        of_model.batch(3, Duration::from_millis(20));
        of_model.image(&Err(crate::Failure::bad_request("x")), &Times::default());
        metrics.request("demo", "classify", 200, Duration::from_millis(7));
        metrics.rejected("demo", "overloaded");
        metrics.loaded("demo", Some(Duration::from_secs(1)));
        let text = metrics.text();
        // as a counter, which Prometheus takes the rate of
        assert!(text.contains("process_cpu_seconds_total "), "{text}");
        for line in [
            "resnest_requests_total{model=\"demo\",endpoint=\"classify\",status=\"200\"} 1",
            "resnest_request_seconds_bucket{le=\"0.01\",model=\"demo\",endpoint=\"classify\"} 1",
            "resnest_images_total{model=\"demo\",result=\"error\"} 1",
            "resnest_rejected_total{model=\"demo\",reason=\"overloaded\"} 1",
            "resnest_rejected_total{model=\"demo\",reason=\"timeout\"} 0",
            "resnest_batch_images_bucket{le=\"3.0\",model=\"demo\"} 1",
            "resnest_inference_seconds_count{model=\"demo\"} 1",
            "resnest_model_loaded{model=\"demo\"} 1",
            "# EOF",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
        assert!(text.contains("process_resident_memory_bytes"), "{text}");
        assert_eq!(of_model.totals().batches[&3].0, 1);
    }
}
