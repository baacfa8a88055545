//! From a model and images to a quantised checkpoint.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Tensor};
use resnest_loader::ModelSource;
use resnest_model::{ConvSpec, InputScale, ResNet, ResNetConfig, Watch};
use serde_json::Value;

use super::network::{self, Tensors};
use super::observe::{Observer, Seen};
use super::weights::{self, Quantized as Weights};
use super::{file, layers};
use crate::create::Opened;
use crate::{Classifier, ClassifierOptions, DeviceChoice, Error, Task};

/// How a network is quantised.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Options {
    /// Convolutions to leave in f32, under the names of [`ResNet::plan`], beside those that stay so by themselves.
    pub keep: Vec<String>,
    #[doc(hidden)]
    pub trial: Trial,
}

/// Ways that were tried.
#[doc(hidden)]
#[derive(Debug, Clone)]
pub struct Trial {
    pub clip: f64,     // < 0: MSE; 0: whole; else share left out
    pub bias: u8, // 0 none, 1 weights only, 2 inputs and weights, local, 3 propagated, 4 propagated twice
    pub equalise: f32, // exponent; 0 none
}

impl Default for Trial {
    fn default() -> Self {
        Self {
            clip: -1.0,
            bias: 2,
            equalise: 0.0,
        }
    }
}

/// A convolution that stays in f32.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its name.
    pub path: String,
    /// Why.
    pub reason: &'static str,
}

/// How far a run is: images of all passes done, of how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// An image more was looked at.
    Image,
    /// An image could not be read or decoded; it is left out.
    Failed {
        /// Which.
        index: usize,
        /// Why.
        reason: String,
    },
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
    /// Passes over the images that a run makes.
    pub const PASSES: usize = 2;

    /// Loads a model by name, as [`Classifier::load`].
    ///
    /// # Errors
    /// As there; [`Error::QuantizedAlready`]; a layer to keep that there is not.
    pub fn load(name: &str, options: &ClassifierOptions, how: Options) -> Result<Self, Error> {
        let options = plain(options);
        match name {
            crate::demo::NAME => Self::new(Opened::demo(&options.model)?, &options, how),
            _ => Self::new(
                Opened::source(&name.parse()?, &options.model)?,
                &options,
                how,
            ),
        }
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
            return Err(Error::QuantizedAlready {
                model: opened.resolved.name,
            });
        }
        let config = opened.resolved.config.clone();
        let tensors = network::read(opened.checkpoint(), &config)?;
        let model_config = opened.resolved.to_config();
        let classifier = Classifier::assemble(opened, options)?;
        Ok(Self {
            classifier,
            config,
            tensors,
            model_config,
            options: how,
        })
    }

    /// The model in f32, as it prepares images.
    pub fn classifier(&self) -> &Classifier {
        &self.classifier
    }

    /// Looks at `images` images, each of which `read` gives by its index, in [`PASSES`](Self::PASSES) passes, and quantises.
    ///
    /// # Errors
    /// [`Error::NothingToCalibrate`] if no image can be read; what the computation gives.
    pub fn run<E>(
        mut self,
        images: usize,
        read: impl Fn(usize) -> Result<Vec<u8>, E> + Sync,
        mut each: impl FnMut(Stage),
    ) -> Result<Quantized, Error>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let observer = Observer::rounding(BTreeMap::new(), false);
        let model = network::build(&self.config, &self.tensors)?;
        let used = self.pass(&model, images, &read, Arc::clone(&observer) as _, &mut each)?;
        let (mut seen, _) = observer.take();
        let (kept, mut chosen) = self.choose(&seen)?;
        if self.options.trial.equalise > 0.0 {
            self.equalise(&seen);
            let observer = Observer::rounding(BTreeMap::new(), false);
            let model = network::build(&self.config, &self.tensors)?;
            self.pass(&model, images, &read, Arc::clone(&observer) as _, &mut each)?;
            (seen, _) = observer.take();
            (_, chosen) = self.choose(&seen)?;
        }
        let mut quantized = BTreeMap::new();
        let original = self.tensors.clone();
        for (path, input) in &chosen {
            let (Some(seen), Some(t)) = (
                seen.get(path),
                self.tensors.get_mut(&format!("{path}.weight")),
            ) else {
                continue;
            };
            let weight = Weights::of(&t.values, seen.spec.out_channels);
            t.values = weight.values();
            quantized.insert(path.clone(), (weight, *input));
        }
        let rounds = match self.options.trial.bias {
            0 => 0,
            b if b < 4 => 1,
            b => usize::from(b) - 2,
        };
        for _ in 0..rounds {
            let observer = Observer::rounding(
                if self.options.trial.bias >= 2 {
                    chosen.clone()
                } else {
                    BTreeMap::new()
                },
                self.options.trial.bias >= 3,
            );
            let model = match self.options.trial.bias >= 3 {
                true => network::build(&self.config, &self.tensors)?,
                false => network::build(&self.config, &original)?,
            };
            self.pass(&model, images, &read, Arc::clone(&observer) as _, &mut each)?;
            let (rounded, _) = observer.take();
            for path in quantized.keys() {
                let (Some(before), Some(after)) = (seen.get(path), rounded.get(path)) else {
                    continue;
                };
                let name = format!("{path}.weight");
                let (Some(w), Some(w_q)) = (original.get(&name), self.tensors.get(&name)) else {
                    continue;
                };
                let wanted = weights::output_means(&before.spec, &w.values, &before.means.values());
                let found = weights::output_means(&before.spec, &w_q.values, &after.means.values());
                let moved: Vec<f64> = found.iter().zip(&wanted).map(|(f, w)| f - w).collect();
                let norm = layers::norm_after(path, before.spec.out_channels, &self.tensors);
                weights::correct(&mut self.tensors, path, norm.as_deref(), &moved);
            }
        }
        Ok(Quantized {
            config: self.config,
            tensors: self.tensors,
            layers: quantized,
            kept,
            model_config: self.model_config,
            images: used,
        })
    }

    fn equalise(&mut self, seen: &BTreeMap<String, Seen>) {
        let specs: BTreeMap<String, ConvSpec> =
            seen.iter().map(|(p, s)| (p.clone(), s.spec)).collect();
        for pair in layers::pairs(&specs, &self.tensors) {
            let (Some(seen), Some(weight)) = (
                seen.get(&pair.next),
                self.tensors.get(&format!("{}.weight", pair.next)),
            ) else {
                continue;
            };
            let by_input = weights::largest_by_input(&seen.spec, &weight.values);
            let exponent = self.options.trial.equalise;
            let factors: Vec<f32> = seen
                .largest
                .iter()
                .zip(&by_input)
                .map(|(x, w)| {
                    if *x > 0.0 && *w > 0.0 {
                        (x.powf(exponent) / w.powf(1.0 - exponent)).clamp(1e-3, 1e3)
                    } else {
                        1.0
                    }
                })
                .collect();
            weights::rescale(
                &mut self.tensors,
                &pair.norm,
                &pair.next,
                &seen.spec,
                &factors,
            );
        }
    }

    /// The scale of the input of every convolution that is to be quantised, and those that are not.
    fn choose(
        &self,
        seen: &BTreeMap<String, Seen>,
    ) -> Result<(Vec<Kept>, BTreeMap<String, InputScale>), Error> {
        let unknown = self
            .options
            .keep
            .iter()
            .find(|path| !seen.contains_key(*path));
        if let Some(layer) = unknown {
            return Err(Error::NoSuchLayer {
                layer: layer.clone(),
            });
        }
        let (mut kept, mut chosen) = (Vec::new(), BTreeMap::new());
        for (path, seen) in seen {
            let asked = self.options.keep.contains(path).then_some("asked for");
            match asked.or(layers::kept(path, &seen.spec, &self.config)) {
                Some(reason) => kept.push(Kept {
                    path: path.clone(),
                    reason,
                }),
                None => {
                    let h = &seen.histogram;
                    let clip = self.options.trial.clip;
                    let scale = if clip < 0.0 {
                        h.best()
                    } else if clip == 0.0 {
                        h.whole()
                    } else {
                        h.percentile(clip)
                    };
                    chosen.insert(path.clone(), scale);
                }
            }
        }
        Ok((kept, chosen))
    }

    /// Runs `model` over the images while `watch` looks on; how many were looked at.
    fn pass<E>(
        &self,
        model: &ResNet,
        images: usize,
        read: impl Fn(usize) -> Result<Vec<u8>, E> + Sync,
        watch: Arc<dyn Watch>,
        each: &mut impl FnMut(Stage),
    ) -> Result<usize, Error>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let mut used = 0;
        let read = |index: &usize| -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
            Ok(read(*index)?)
        };
        let task = Watched { model, watch };
        self.classifier
            .pipeline()
            .run(0..images, read, &task, |batch| {
                for image in batch {
                    each(match image.answer {
                        Ok(()) => {
                            used += 1;
                            Stage::Image
                        }
                        Err(error) => Stage::Failed {
                            index: image.input,
                            reason: crate::with_causes(&*error),
                        },
                    });
                }
                ControlFlow::Continue(())
            })?;
        match used {
            0 => Err(Error::NothingToCalibrate),
            used => Ok(used),
        }
    }
}

/// The network as candle's operations in f32 on the CPU.
fn plain(options: &ClassifierOptions) -> ClassifierOptions {
    let mut options = options.clone();
    options.model.device = DeviceChoice::Cpu;
    options.model.opened_device = None;
    options.model.dtype = Some(DType::F32);
    options.model.fuse = false;
    options.headless = true;
    options
}

/// A forward of `model` that `watch` looks at.
struct Watched<'a> {
    model: &'a ResNet,
    watch: Arc<dyn Watch>,
}

impl Task for Watched<'_> {
    type Answer = ();

    fn check(&self, _: &Classifier) -> Result<(), Error> {
        Ok(())
    }

    fn answers(
        &self,
        classifier: &Classifier,
        x: &Tensor,
    ) -> Result<Vec<Result<(), Error>>, Error> {
        let images = x.dim(0)?;
        classifier.compute(|| Ok(self.model.forward_watched(x, Arc::clone(&self.watch))?))?;
        Ok((0..images).map(|_| Ok(())).collect())
    }
}

/// A quantised network.
#[derive(Debug)]
pub struct Quantized {
    config: ResNetConfig,
    tensors: Tensors,
    layers: BTreeMap<String, (Weights, InputScale)>,
    kept: Vec<Kept>,
    model_config: Value,
    images: usize,
}

impl Quantized {
    /// How the input of every quantised convolution is quantised, under their names.
    pub fn inputs(&self) -> BTreeMap<String, InputScale> {
        self.layers
            .iter()
            .map(|(path, (_, input))| (path.clone(), *input))
            .collect()
    }

    /// The convolutions that stay in f32.
    pub fn kept(&self) -> &[Kept] {
        &self.kept
    }

    /// Images that it was calibrated on.
    pub fn images(&self) -> usize {
        self.images
    }

    /// The network of the rounded weights, as candle's operations in f32: with a [`Simulation`](super::Simulation) of the
    /// [inputs](Self::inputs) it is what the integer kernels are held to.
    ///
    /// # Errors
    /// What candle gives.
    pub fn twin(&self) -> Result<ResNet, Error> {
        network::build(&self.config, &self.tensors)
    }

    /// Writes the checkpoint, a .safetensors file: whole, or nothing.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let text = |value: &str| value.to_owned();
        let architecture = self
            .model_config
            .get("architecture")
            .and_then(Value::as_str);
        let metadata = BTreeMap::from([
            (text("format"), text("resnest-int8")),
            (text("version"), text("1")),
            (text("architecture"), text(architecture.unwrap_or_default())),
            (text("config"), self.model_config.to_string()),
            (text("images"), self.images.to_string()),
        ]);
        file::write(path, &self.tensors, &self.layers, &metadata)
    }
}
