//! What a server is told: which models, where to listen, what a request may cost.

use std::path::Path;
use std::time::Duration;

use resnest::ClassifierOptions;

/// Images computed at once, unless told otherwise.
///
/// See `docs/serving.md`, which has the measurements: served, two and eight were slower.
pub const MAX_BATCH: usize = 4;

/// Everything about a server. Start from the default and set what differs.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// The models to serve; the first is the one meant where a request names none.
    pub models: Vec<ModelSpec>,
    /// How each of them is loaded.
    pub classifier: ClassifierOptions,
    /// Where HTTP is listened for: `127.0.0.1:8080`; port 0 takes a free one.
    pub http: String,
    /// Where gRPC is listened for, if at all.
    pub grpc: Option<String>,
    /// Threads that decode; the network has as many as `classifier.threads` says.
    pub decode_threads: usize,
    /// Images computed at once.
    pub max_batch: usize,
    /// Images of one model that may be here at once, from request to answer; more are refused.
    pub queue: usize,
    /// What is accepted of clients.
    pub limits: RequestLimits,
    /// Keys of which a request must bring one; none for a server that is open to all who reach it.
    pub api_keys: Vec<String>,
    /// Origins whose pages may call this server: `https://example.org`, or `*` for all.
    pub cors_origins: Vec<String>,
    /// Whether clients may load and unload models.
    pub model_control: ModelControl,
    /// How long shutting down waits for what is in flight.
    pub drain_timeout: Duration,
}

/// What a request, and what all of them together, may cost.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct RequestLimits {
    /// Bytes of a body, before and after it is decompressed.
    pub max_body: usize,
    /// Bytes of all bodies that are in memory at once.
    pub all_bodies: usize,
    /// Open connections; others wait to be accepted.
    pub max_connections: usize,
    /// From a request's first byte until its head is there.
    pub head_timeout: Duration,
    /// How long a connection may rest, before its first request and between two.
    pub idle_timeout: Duration,
    /// Until its body is.
    pub body_timeout: Duration,
    /// For the answer, once the body is there.
    pub request_timeout: Duration,
    /// Images in one request.
    pub max_images: usize,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            max_body: 64 << 20,
            all_bodies: 512 << 20,
            max_connections: 12_000,
            head_timeout: Duration::from_secs(10),
            // Longer than the minute for which many load balancers keep theirs: it should be they who close.
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(30),
            max_images: 1024,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            models: Vec::new(),
            classifier: ClassifierOptions::default(),
            http: "127.0.0.1:8080".into(),
            grpc: Some("127.0.0.1:9000".into()),
            decode_threads: std::thread::available_parallelism().map_or(1, usize::from),
            max_batch: MAX_BATCH,
            queue: 128,
            limits: RequestLimits::default(),
            api_keys: Vec::new(),
            cors_origins: Vec::new(),
            model_control: ModelControl::None,
            drain_timeout: Duration::from_secs(30),
        }
    }
}

/// Whether clients may load and unload models (Triton's `--model-control-mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ModelControl {
    /// They may not.
    #[default]
    None,
    /// They may, those that the server was started with.
    Explicit,
}

/// A model to serve: what it is called here, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSpec {
    /// Its name in addresses and answers.
    pub name: String,
    /// `demo`, `arch[.tag]`, `hf-hub:user/repo[@rev]`, `local-dir:path`, or the path of a folder or checkpoint.
    pub source: String,
}

/// Why a text names no model to serve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} cannot be a model's name in an address: {reason}; use NAME=SOURCE with a name of letters, digits, `.`, `_` and `-`"
)]
pub struct BadSpec {
    text: String,
    reason: &'static str,
}

impl std::str::FromStr for ModelSpec {
    type Err = BadSpec;

    /// `SOURCE`, or `NAME=SOURCE`. A source without a name has its own, less what addresses do not take: the repository's
    /// name of `hf-hub:user/repo@rev`, the folder's of `local-dir:path`.
    fn from_str(text: &str) -> Result<Self, BadSpec> {
        let bad = |reason| BadSpec {
            text: text.to_owned(),
            reason,
        };
        let (name, source) = match text.split_once('=') {
            Some((name, source)) => (name.to_owned(), source),
            None => (own_name(text), text),
        };
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        match () {
            () if source.is_empty() => Err(bad("nothing says where the model is")),
            () if name.is_empty() || name.len() > 128 => {
                Err(bad("it must have 1 to 128 characters"))
            }
            () if !name.chars().all(fits) => Err(bad("it has other characters")),
            // Addresses of the protocol.
            () if name == "stats" => Err(bad("`stats` is the address of the statistics")),
            () if name.starts_with('.') => Err(bad("it begins with a dot")),
            () => Ok(Self {
                name,
                source: source.to_owned(),
            }),
        }
    }
}

fn own_name(source: &str) -> String {
    let hub = source.strip_prefix("hf-hub:");
    let path = hub.map_or(source, |repo| repo.split('@').next().unwrap_or(repo));
    let path = path.strip_prefix("local-dir:").unwrap_or(path);
    let name = Path::new(path).file_name();
    name.map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_have_names_that_fit_an_address() {
        for (text, name, source) in [
            ("demo", "demo", "demo"),
            ("resnest50d.in1k", "resnest50d.in1k", "resnest50d.in1k"),
            (
                "cats=local-dir:/models/my cats",
                "cats",
                "local-dir:/models/my cats",
            ),
            (
                "hf-hub:timm/resnest14d.gluon_in1k@v1",
                "resnest14d.gluon_in1k",
                "hf-hub:timm/resnest14d.gluon_in1k@v1",
            ),
            ("local-dir:/models/cats/", "cats", "local-dir:/models/cats/"),
            ("a=b=c", "a", "b=c"),
        ] {
            let spec: ModelSpec = text.parse().unwrap();
            assert_eq!(
                (spec.name.as_str(), spec.source.as_str()),
                (name, source),
                "{text}"
            );
        }
        for text in [
            "",
            "=demo",
            "demo=",
            "a b=demo",
            "ü=demo",
            "local-dir:/my cats",
            "stats=demo",
            ".=demo",
            "a/b=demo",
            "../x=demo",
        ] {
            assert!(text.parse::<ModelSpec>().is_err(), "{text}");
        }
    }
}
