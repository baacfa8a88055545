//! From a model and images to a quantised network.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use candle_core::{DType, Tensor};
use resnest_loader::ModelSource;
use resnest_model::{InputScale, ResNetConfig, Watch};
use serde_json::Value;

use super::layers::{self, Kept};
use super::network::{self, Tensors};
use super::observe::{Observer, Seen};
use super::quantized::Quantized;
use super::weights::{self, Quantized as Weight};
use crate::create::Opened;
use crate::{Classifier, ClassifierOptions, DeviceChoice, Error, Task, demo, with_causes};

/// How a network is quantised.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Options {
    /// Convolutions to leave in f32, under the checkpoint's names, beside those that stay so by themselves.
    pub keep: Vec<String>,
}

/// What became of one image that was to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Looked {
    /// Which of them.
    pub index: usize,
    /// Why it is left out, if it could not be read or decoded.
    pub failure: Option<String>,
}

/// A model that is to be quantised.
#[derive(Debug)]
pub struct Quantizer {
    classifier: Classifier,
    config: ResNetConfig,
    tensors: Tensors,
    model_config: Value,
    options: Options,
}

impl Quantizer {
    /// Loads a model by name, as [`Classifier::load`]; device and precision of `options` are not looked at.
    ///
    /// # Errors
    /// As there; [`Error::QuantizedAlready`].
    pub fn load(name: &str, options: &ClassifierOptions, how: Options) -> Result<Self, Error> {
        if name == demo::NAME {
            let options = plain(options);
            return Self::new(Opened::demo(&options.model)?, &options, how);
        }
        Self::from_source(&name.parse()?, options, how)
    }

    /// The same from where [`ModelSource`] says, a checkpoint file included.
    ///
    /// # Errors
    /// As [`Quantizer::load`].
    pub fn from_source(
        source: &ModelSource,
        options: &ClassifierOptions,
        how: Options,
    ) -> Result<Self, Error> {
        let options = plain(options);
        Self::new(Opened::source(source, &options.model)?, &options, how)
    }

    fn new(opened: Opened, options: &ClassifierOptions, how: Options) -> Result<Self, Error> {
        if opened.checkpoint().quantization().is_some() {
            let model = opened.resolved.name;
            return Err(Error::QuantizedAlready { model });
        }
        let config = opened.resolved.config.clone();
        let tensors = network::read(opened.checkpoint(), &config)?;
        let model_config = opened.resolved.to_config();
        Ok(Self {
            classifier: Classifier::assemble(opened, options)?,
            config,
            tensors,
            model_config,
            options: how,
        })
    }

    /// The model in f32, as it prepares images and computes while it is looked at.
    pub fn classifier(&self) -> &Classifier {
        &self.classifier
    }

    /// Looks at so many images, each of which `read` gives by its index, and quantises; `each` hears of every one.
    ///
    /// # Errors
    /// [`Error::NothingToCalibrate`] if no image can be read; [`Error::NoSuchLayer`] for a layer to keep; what the
    /// computation gives.
    pub fn run<E>(
        mut self,
        images: usize,
        read: impl Fn(usize) -> Result<Vec<u8>, E> + Sync,
        each: impl FnMut(Looked),
    ) -> Result<Quantized, Error>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let observer = Arc::new(Observer::default());
        let images = self.look(images, read, observer.clone(), each)?;
        let seen = observer.take();
        let (kept, chosen) = self.choose(&seen)?;
        let mut layers = BTreeMap::new();
        for (path, input) in chosen {
            if let Some(weight) = seen.get(&path).and_then(|seen| self.quantise(&path, seen)) {
                layers.insert(path, (weight, input));
            }
        }
        Ok(Quantized {
            config: self.config,
            tensors: self.tensors,
            layers,
            kept,
            model_config: self.model_config,
            images,
        })
    }

    /// Runs the network over the images; how many could be looked at.
    fn look<E>(
        &self,
        images: usize,
        read: impl Fn(usize) -> Result<Vec<u8>, E> + Sync,
        watch: Arc<dyn Watch>,
        mut each: impl FnMut(Looked),
    ) -> Result<usize, Error>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let read = |index: &usize| -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
            Ok(read(*index)?)
        };
        let (mut looked_at, task) = (0, Watched(watch));
        let pipeline = self.classifier.pipeline();
        pipeline.run(0..images, read, &task, |batch| {
            for image in batch {
                let failure = image.answer.err().map(|error| with_causes(&*error));
                looked_at += usize::from(failure.is_none());
                let index = image.input;
                each(Looked { index, failure });
            }
            ControlFlow::Continue(())
        })?;
        match looked_at {
            0 => Err(Error::NothingToCalibrate),
            _ => Ok(looked_at),
        }
    }

    /// The convolutions that stay in f32, and the scale of the input of every other.
    fn choose(
        &self,
        seen: &BTreeMap<String, Seen>,
    ) -> Result<(Vec<Kept>, BTreeMap<String, InputScale>), Error> {
        let keep = &self.options.keep;
        if let Some(layer) = keep.iter().find(|path| !seen.contains_key(*path)) {
            let layer = layer.clone();
            return Err(Error::NoSuchLayer { layer });
        }
        let (mut kept, mut chosen) = (Vec::new(), BTreeMap::new());
        for (path, seen) in seen {
            let asked = keep.contains(path).then_some("asked for");
            let reason = asked.or(layers::kept(path, &seen.spec, &self.config));
            match reason {
                Some(reason) => kept.push(Kept {
                    path: path.clone(),
                    reason,
                }),
                None => {
                    chosen.insert(path.clone(), seen.histogram.best());
                }
            }
        }
        Ok((kept, chosen))
    }

    /// Rounds the weight of a convolution, and takes what that moves its mean by off the bias.
    fn quantise(&mut self, path: &str, seen: &Seen) -> Option<Weight> {
        let weight = self.tensors.get_mut(&format!("{path}.weight"))?;
        let rounded = Weight::of(&weight.values, seen.spec.out_channels);
        let before = std::mem::replace(&mut weight.values, rounded.values());
        let difference: Vec<f32> = weight
            .values
            .iter()
            .zip(&before)
            .map(|(a, b)| a - b)
            .collect();
        let moved = weights::output_means(&seen.spec, &difference, &seen.means.values());
        let norm = layers::norm_after(path, seen.spec.out_channels, &self.tensors);
        weights::correct(&mut self.tensors, path, norm.as_deref(), &moved);
        Some(rounded)
    }
}

/// The network as candle's operations in f32 on the CPU, where every layer can be seen.
fn plain(options: &ClassifierOptions) -> ClassifierOptions {
    let mut options = options.clone();
    options.model.device = DeviceChoice::Cpu;
    options.model.opened_device = None;
    options.model.dtype = Some(DType::F32);
    options.model.fuse = false;
    options.headless = true;
    options
}

/// A forward that is watched, of which nothing else is wanted.
struct Watched(Arc<dyn Watch>);

impl Task for Watched {
    type Answer = ();

    fn check(&self, _: &Classifier) -> Result<(), Error> {
        Ok(())
    }

    fn answers(
        &self,
        classifier: &Classifier,
        x: &Tensor,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        let watch = Arc::clone(&self.0);
        classifier.compute(|| Ok(classifier.model().forward_watched(x, watch)?))?;
        Ok((0..x.dim(0)?).map(|_| Ok(())).collect())
    }
}
