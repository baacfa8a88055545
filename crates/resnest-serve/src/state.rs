//! What all doors share.

use std::sync::Arc;
use std::time::Duration;

use resnest::Error;
use subtle::{Choice, ConstantTimeEq};

use crate::engine::{Engine, Input, Wants};
use crate::failure::Kind;
use crate::life::Life;
use crate::metrics::Metrics;
use crate::models::Models;
use crate::options::{ModelControl, Options};
use crate::{Failure, Outcome};

/// How long a batch may compute before it is asked whether the network is stuck.
const PATIENCE: Duration = Duration::from_millis(if cfg!(test) { 100 } else { 60_000 });
/// How long the forward that answers this may take.
const PROBE: Duration = Duration::from_millis(if cfg!(test) { 400 } else { 10_000 });

/// A server without its doors.
#[derive(Debug)]
pub struct State {
    /// As it was told.
    pub options: Options,
    /// The models.
    pub models: Models,
    /// The threads that do the work.
    pub engine: Engine,
    /// What is counted.
    pub metrics: Metrics,
    /// Loading, ready, draining.
    pub life: Life,
    /// Bytes of bodies that may be in memory yet, in KiB.
    pub(crate) bodies: Arc<tokio::sync::Semaphore>,
    /// Bodies that may be decompressed at once.
    pub(crate) inflating: Arc<tokio::sync::Semaphore>,
}

impl State {
    /// A server whose models are yet to be loaded ([`State::load_model`]).
    ///
    /// # Errors
    /// [`Error::Threads`] if the system has no more.
    pub fn new(options: Options) -> Result<Arc<Self>, Error> {
        let room = options.limits.all_bodies.max(options.limits.max_body) >> 10;
        Ok(Arc::new(Self {
            models: Models::new(&options.models),
            engine: Engine::start(options.decode_threads)?,
            metrics: Metrics::new(),
            life: Life::default(),
            bodies: Arc::new(tokio::sync::Semaphore::new(room.max(1))),
            inflating: Arc::new(tokio::sync::Semaphore::new(options.decode_threads.max(1))),
            options,
        }))
    }

    /// Whether requests are answered: no model is still being loaded, one at least answers, and the server is not
    /// shutting down. One that could not be loaded has a readiness of its own and keeps nobody from the others.
    ///
    /// # Errors
    /// Why they are not.
    pub fn ready(&self) -> Outcome<()> {
        let not = |text: &str| Err(Failure::new(Kind::Unavailable, text));
        match () {
            () if self.life.draining() => not("the server is shutting down"),
            () if !self.models.settled() => not("models are being loaded"),
            () if self.models.ready().is_empty() => not("no model answers"),
            () => Ok(()),
        }
    }

    /// Whether the server does its work, as the last batch shows. Where that failed or does not end, an image of its own
    /// through the network decides.
    ///
    /// # Errors
    /// What is wrong with it.
    pub async fn alive(&self) -> Outcome<()> {
        let Some(trouble) = self.engine.trouble(PATIENCE) else {
            return Ok(());
        };
        let Some(model) = self.models.ready().into_iter().next() else {
            return Ok(());
        };
        let gray = vec![0.0; model.input_shape().iter().product()];
        let wants = Wants::Outputs {
            logits: model.classes() > 0,
            embeddings: model.classes() == 0,
        };
        let probe = self.engine.submit(&model, Input::Tensor(gray), wants, None);
        let answer = tokio::time::timeout(PROBE, probe).await;
        match answer {
            Ok(Ok(done)) if done.answer.is_ok() => Ok(()),
            // Others' images were before it, and went well.
            _ if self.engine.trouble(PATIENCE).is_none() => Ok(()),
            _ => {
                tracing::error!(trouble, "the network does not answer");
                let text = format!("the network does not answer: {trouble}");
                Err(Failure::new(Kind::Unavailable, text))
            }
        }
    }
}

impl State {
    /// Whether new requests are taken.
    ///
    /// # Errors
    /// The server is shutting down.
    pub fn not_draining(&self) -> Outcome<()> {
        match self.life.draining() {
            true => Err(Failure::new(
                Kind::Unavailable,
                "the server is shutting down",
            )),
            false => Ok(()),
        }
    }

    /// Whether clients may load and unload models.
    ///
    /// # Errors
    /// They may not.
    pub fn clients_may_load(&self) -> Outcome<()> {
        match self.options.model_control {
            ModelControl::Explicit => Ok(()),
            ModelControl::None => {
                let text = "models are not loaded by clients here: the server was started without `--model-control explicit`";
                Err(Failure::new(Kind::Forbidden, text))
            }
        }
    }

    /// Whether a request with this key is let in; where the server has none, everybody is. How long it takes says nothing
    /// about how much of a key is right.
    ///
    /// # Errors
    /// It is none of the server's, or there is none.
    pub fn check_key(&self, key: Option<&[u8]>) -> Outcome<()> {
        let known = &self.options.api_keys;
        if known.is_empty() {
            return Ok(());
        }
        let Some(key) = key else {
            let text =
                "an API key is needed: send it as `authorization: Bearer KEY` or `x-api-key: KEY`";
            return Err(Failure::new(Kind::Unauthorized, text));
        };
        // All of them are compared, whichever fits.
        let found = known.iter().fold(Choice::from(0), |found, one| {
            found | one.as_bytes().ct_eq(key)
        });
        match bool::from(found) {
            true => Ok(()),
            false => Err(Failure::new(
                Kind::Unauthorized,
                "this API key is not known here",
            )),
        }
    }
}
