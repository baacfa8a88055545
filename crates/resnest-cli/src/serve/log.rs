//! Where the server's log goes.

use anyhow::{Error, anyhow};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use super::args::{LogFormat, ServeArgs};
use crate::Failure;

/// What is left to be done with the log at the end.
pub struct Log {
    #[cfg(feature = "otlp")]
    exporter: Option<resnest_serve::telemetry::Exporter>,
}

/// Starts the log, within the runtime.
pub fn start(args: &ServeArgs) -> Result<Log, Failure> {
    let levels = match args.hub.quiet {
        true => "error",
        false => &args.log,
    };
    let levels =
        EnvFilter::try_new(levels).map_err(|e| Failure::Usage(anyhow!("--log {levels:?}: {e}")))?;
    let to_stderr = fmt::layer().with_writer(std::io::stderr).with_target(false);
    let lines = match args.log_format {
        LogFormat::Text => to_stderr
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .boxed(),
        LogFormat::Json => to_stderr.json().flatten_event(true).boxed(),
    };
    let log = tracing_subscriber::registry().with(lines.with_filter(levels));
    let twice = |error| Failure::Other(Error::from(error).context("the log cannot be started"));
    #[cfg(feature = "otlp")]
    {
        use tracing_subscriber::filter::LevelFilter;
        let exporter = match &args.otlp_endpoint {
            Some(endpoint) => {
                let made = resnest_serve::telemetry::exporter(endpoint);
                Some(
                    made.map_err(|e| Failure::Usage(anyhow!("--otlp-endpoint {endpoint:?}: {e}")))?,
                )
            }
            None => None,
        };
        let spans = exporter.as_ref().map(|exporter| {
            let layer = tracing_opentelemetry::layer().with_tracer(exporter.tracer());
            // The exporter's own requests are not for the collector.
            layer.with_filter(LevelFilter::INFO)
        });
        log.with(spans).try_init().map_err(twice)?;
        Ok(Log { exporter })
    }
    #[cfg(not(feature = "otlp"))]
    {
        if args.otlp_endpoint.is_some() {
            let text = "--otlp-endpoint: this build has no OpenTelemetry: it lacks the cargo feature `otlp`";
            return Err(Failure::Usage(anyhow!(text)));
        }
        log.try_init().map_err(twice)?;
        Ok(Log {})
    }
}

impl Log {
    /// Sends what is still to be sent.
    pub fn finish(self) {
        #[cfg(feature = "otlp")]
        if let Some(exporter) = self.exporter {
            exporter.finish();
        }
    }
}
