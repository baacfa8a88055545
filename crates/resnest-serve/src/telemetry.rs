//! Spans that other services' traces go through, where a collector was named.

use axum::http::HeaderMap;
use tracing::Span;

/// Makes a request's span part of the trace that its `traceparent` names.
#[cfg(not(feature = "otlp"))]
pub(crate) fn set_parent(_: &Span, _: &HeaderMap) {}

#[cfg(feature = "otlp")]
pub(crate) use otlp::set_parent;
#[cfg(feature = "otlp")]
pub use otlp::{Exporter, exporter};

#[cfg(feature = "otlp")]
mod otlp {
    use opentelemetry::propagation::{Extractor, TextMapPropagator};
    use opentelemetry::trace::TracerProvider;
    use opentelemetry_otlp::{SpanExporter, WithExportConfig};
    use opentelemetry_sdk::Resource;
    use opentelemetry_sdk::propagation::TraceContextPropagator;
    use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
    use tracing_opentelemetry::OpenTelemetrySpanExt;

    use super::{HeaderMap, Span};

    struct Headers<'a>(&'a HeaderMap);

    impl Extractor for Headers<'_> {
        fn get(&self, key: &str) -> Option<&str> {
            self.0.get(key)?.to_str().ok()
        }

        fn keys(&self) -> Vec<&str> {
            self.0.keys().map(|key| key.as_str()).collect()
        }
    }

    /// Makes a request's span part of the trace that its `traceparent` names.
    pub(crate) fn set_parent(span: &Span, headers: &HeaderMap) {
        if headers.contains_key("traceparent") {
            let parent = TraceContextPropagator::new().extract(&Headers(headers));
            // It fails for a span that nobody listens to.
            let _ = span.set_parent(parent);
        }
    }

    /// Sends spans to a collector.
    #[derive(Debug)]
    pub struct Exporter(SdkTracerProvider);

    impl Exporter {
        /// What a `tracing-opentelemetry` layer is made of.
        pub fn tracer(&self) -> SdkTracer {
            self.0.tracer("resnest")
        }

        /// Sends what there is yet.
        pub fn finish(&self) {
            let _ = self.0.shutdown();
        }
    }

    /// Spans to the OpenTelemetry collector at this address (OTLP over gRPC, `http://127.0.0.1:4317`). Within a tokio
    /// runtime.
    ///
    /// # Errors
    /// An address that is none.
    pub fn exporter(endpoint: &str) -> Result<Exporter, Box<dyn std::error::Error + Send + Sync>> {
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .build()?;
        let resource = Resource::builder().with_service_name("resnest").build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource)
            .build();
        Ok(Exporter(provider))
    }
}
