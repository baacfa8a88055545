//! The models by name: those that answer, and why the others do not.

mod model;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

pub use model::{Model, VERSION};

use crate::failure::Kind;
use crate::options::ModelSpec;
use crate::{Failure, Outcome, State};

/// How it stands with a model.
#[derive(Debug, Clone)]
pub enum Stand {
    /// It is being loaded for the first time.
    Loading,
    /// It answers.
    Ready(Arc<Model>),
    /// It could not be loaded.
    Failed(String),
    /// It was unloaded, as a client asked.
    Unloaded,
}

/// A place for a model.
#[derive(Debug)]
struct Slot {
    spec: ModelSpec,
    stand: RwLock<Stand>,
    /// Held while it is loaded or unloaded: one at a time.
    change: tokio::sync::Mutex<()>,
}

/// All models that the server was started with.
#[derive(Debug)]
pub struct Models {
    slots: Vec<Slot>,
}

impl Models {
    /// None of them loaded yet.
    pub fn new(specs: &[ModelSpec]) -> Self {
        let slot = |spec: &ModelSpec| Slot {
            spec: spec.clone(),
            stand: RwLock::new(Stand::Loading),
            change: tokio::sync::Mutex::new(()),
        };
        Self {
            slots: specs.iter().map(slot).collect(),
        }
    }

    /// Every model's name and how it stands with it, in the order they were asked for.
    pub fn all(&self) -> Vec<(String, Stand)> {
        let slots = self.slots.iter();
        slots
            .map(|slot| (slot.spec.name.clone(), slot.stand()))
            .collect()
    }

    /// The models that answer.
    pub fn ready(&self) -> Vec<Arc<Model>> {
        let ready = |slot: &Slot| match slot.stand() {
            Stand::Ready(model) => Some(model),
            _ => None,
        };
        self.slots.iter().filter_map(ready).collect()
    }

    /// Whether no model is still being loaded for the first time.
    pub fn settled(&self) -> bool {
        (self.slots.iter()).all(|slot| !matches!(slot.stand(), Stand::Loading))
    }

    /// The model of this name and version; without a name, the first.
    ///
    /// # Errors
    /// There is none; it does not answer now, and why.
    pub fn get(&self, name: Option<&str>, version: Option<&str>) -> Outcome<Arc<Model>> {
        let slot = match name {
            Some(name) => self.slot(name)?,
            None => {
                let first = self.slots.first();
                first.ok_or_else(|| Failure::new(Kind::NotFound, "this server has no model"))?
            }
        };
        let name = &slot.spec.name;
        if let Some(version) = version.filter(|v| !v.is_empty() && *v != VERSION) {
            let text =
                format!("model {name} has no version {version:?}: the only one is {VERSION:?}");
            return Err(Failure::new(Kind::NotFound, text));
        }
        let not_now = |text| Err(Failure::new(Kind::Unavailable, text));
        match slot.stand() {
            Stand::Ready(model) => Ok(model),
            Stand::Loading => not_now(format!("model {name} is still being loaded")),
            Stand::Failed(reason) => not_now(format!("model {name} could not be loaded: {reason}")),
            Stand::Unloaded => not_now(format!("model {name} is unloaded: load it first")),
        }
    }

    /// A name that there is, of what a client gave: what metrics are labelled with.
    pub fn known<'a>(&self, name: &'a str) -> Option<&'a str> {
        self.slot(name).is_ok().then_some(name)
    }

    fn slot(&self, name: &str) -> Outcome<&Slot> {
        let found = self.slots.iter().find(|slot| slot.spec.name == name);
        found.ok_or_else(|| {
            let names: Vec<&str> = self.slots.iter().map(|s| s.spec.name.as_str()).collect();
            let text = format!(
                "there is no model {name:?} here: this server has {}",
                names.join(", ")
            );
            Failure::new(Kind::NotFound, text)
        })
    }
}

impl Slot {
    fn stand(&self) -> Stand {
        self.stand
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn set(&self, stand: Stand) {
        *self.stand.write().unwrap_or_else(PoisonError::into_inner) = stand;
    }
}

impl State {
    /// Loads a model, or loads it again: until the new one is warm the old one answers, and what it was asked it answers.
    ///
    /// # Errors
    /// There is none of this name; it could not be loaded. One that answered goes on.
    pub async fn load_model(self: &Arc<Self>, name: &str) -> Outcome<()> {
        let (this, name) = (self.clone(), name.to_owned());
        // Who asked for it may leave: it is loaded all the same.
        let load = tokio::spawn(async move { this.load_now(&name).await });
        let lost = |error| Failure::internal(format!("loading was broken off: {error}"));
        load.await.map_err(lost)?
    }

    async fn load_now(self: &Arc<Self>, name: &str) -> Outcome<()> {
        let slot = self.models.slot(name)?;
        let _alone = slot.change.lock().await;
        let (this, spec) = (self.clone(), slot.spec.clone());
        let load = move || Model::load(&spec, &this.options, &this.metrics);
        let loaded = match tokio::task::spawn_blocking(load).await {
            Ok(loaded) => loaded.map_err(|error| error.with_causes()),
            Err(error) => Err(format!(
                "loading it failed in a way it should not ({error}): please report this"
            )),
        };
        match loaded {
            Ok(model) => {
                self.announce(&model);
                self.metrics.loaded(name, Some(model.loaded_in));
                slot.set(Stand::Ready(Arc::new(model)));
                self.retire();
                Ok(())
            }
            Err(reason) => {
                tracing::error!(model = name, reason, "the model could not be loaded");
                let text = format!(
                    "model {name} could not be loaded: {}",
                    self.without_paths(&reason)
                );
                if !matches!(slot.stand(), Stand::Ready(_)) {
                    self.metrics.loaded(name, None);
                    slot.set(Stand::Failed(self.without_paths(&reason)));
                }
                Err(Failure::new(Kind::Unavailable, text))
            }
        }
    }

    /// Takes no more requests for a model; what it was asked it answers.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn unload_model(&self, name: &str) -> Outcome<()> {
        let slot = self.models.slot(name)?;
        let _alone = slot.change.lock().await;
        slot.set(Stand::Unloaded);
        self.metrics.loaded(name, None);
        self.retire();
        tracing::info!(model = name, "unloaded");
        Ok(())
    }

    fn announce(&self, model: &Model) {
        for warning in model.classifier.warnings() {
            tracing::warn!(model = model.name, "{warning}");
        }
        let [channels, height, width] = model.input_shape();
        let seconds = Duration::as_secs_f64(&model.loaded_in);
        tracing::info!(
            model = model.name,
            classes = model.classes(),
            input = format!("{channels}x{height}x{width}"),
            seconds,
            "loaded"
        );
    }

    fn retire(&self) {
        let live: Vec<u64> = self.models.ready().iter().map(|model| model.id).collect();
        self.engine.retire(&live);
    }

    /// An error's text for clients: where on this machine a file lies is not their business. The log has it whole.
    fn without_paths(&self, text: &str) -> String {
        let mut shown = text.to_owned();
        for spec in &self.options.models {
            let path = spec
                .source
                .strip_prefix("local-dir:")
                .unwrap_or(&spec.source);
            if path.contains('/') && !spec.source.starts_with("hf-hub:") {
                shown = shown.replace(path.trim_end_matches('/'), "<model>");
            }
        }
        let words = shown.split(' ').map(|word| {
            let bare = word.trim_start_matches(|c: char| !c.is_ascii_alphanumeric() && c != '/');
            match bare.starts_with('/') {
                true => "<path>",
                false => word,
            }
        });
        words.collect::<Vec<_>>().join(" ")
    }
}
