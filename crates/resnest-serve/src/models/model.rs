//! A model that answers.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use resnest::features::Layer;
use resnest::{Classifier, Error, ModelSource, Outputs};
use tokio::sync::Semaphore;

use crate::metrics::{Metrics, ModelMetrics};
use crate::options::{ModelSpec, Options};

/// The only version there is of a model.
pub const VERSION: &str = "1";

/// A model, loaded and warm.
#[derive(Debug)]
pub struct Model {
    /// Which load of which model this is: a reloaded one has another.
    pub id: u64,
    /// Its name here.
    pub name: String,
    /// The network, with preprocessing and labels.
    pub classifier: Classifier,
    /// Numbers in an embedding.
    pub features: usize,
    /// Images computed at once.
    pub max_batch: usize,
    /// Places for images.
    pub places: Arc<Semaphore>,
    /// How many places there are in all.
    pub queue: usize,
    /// What is counted of its images.
    pub metrics: ModelMetrics,
    /// How long it took to load and to warm up.
    pub loaded_in: Duration,
}

impl Model {
    /// Loads a model and runs it once. It takes as long as that takes: not for a thread that has others to answer.
    ///
    /// # Errors
    /// As [`Classifier::load`]; what the first forward gives.
    pub fn load(spec: &ModelSpec, options: &Options, metrics: &Metrics) -> Result<Self, Error> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let start = Instant::now();
        let classifier = open(spec, options)?;
        let features = match classifier.feature_shape(Layer::PreLogits)?[..] {
            [features] => features,
            _ => 0,
        };
        let model = Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            name: spec.name.clone(),
            features,
            max_batch: options.max_batch.max(1),
            places: Arc::new(Semaphore::new(options.queue.max(1))),
            queue: options.queue.max(1),
            metrics: metrics.of_model(&spec.name),
            loaded_in: Duration::ZERO,
            classifier,
        };
        model.warm_up()?;
        Ok(Self {
            loaded_in: start.elapsed(),
            ..model
        })
    }

    /// Classes it tells apart; 0 for one that only gives embeddings.
    pub fn classes(&self) -> usize {
        self.classifier.labels().len()
    }

    /// Channels, height and width of a normalised image.
    pub fn input_shape(&self) -> [usize; 3] {
        let (channels, height, width) = self.classifier.transform().shape();
        [channels, height, width]
    }

    /// A gray image through the network, so that what is made on first use is made before anybody waits.
    fn warm_up(&self) -> Result<(), Error> {
        let gray = vec![0.0; self.input_shape().iter().product()];
        let task = Outputs {
            logits: self.classes() > 0,
            embeddings: self.classes() == 0,
        };
        let pixels = self.classifier.prepared(gray);
        let answers = self.classifier.pipeline().answer(vec![pixels], &task);
        answers.into_iter().collect::<Result<Vec<_>, _>>().map(drop)
    }
}

fn open(spec: &ModelSpec, options: &Options) -> Result<Classifier, Error> {
    let mut how = options.classifier.clone();
    how.headless = true;
    // Algorithms for one image at a time: what an idle server computes; their weights are the smallest, and batches lose
    // nothing that was measured.
    how.model.batch_hint = 1;
    let path = Path::new(&spec.source);
    if path.is_dir() {
        return Classifier::load(&format!("local-dir:{}", spec.source), &how);
    }
    if path.is_file() {
        let source = ModelSource::File {
            path: path.to_owned(),
            architecture: Some(spec.name.clone()),
        };
        return Classifier::from_source(&source, &how);
    }
    Classifier::load(&spec.source, &how)
}
