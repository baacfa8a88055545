//! Bytes in, predictions out.

use std::borrow::Cow;

use candle_core::{DType, Device, Tensor};
use resnest_image::{Image, Limits, Transform};
use resnest_loader::{Loaded, ModelSource, PretrainedCfg, Resolved};
use resnest_model::{Precision, ResNet, TestTimePoolHead, with_threads};

use crate::create::Opened;
use crate::error::contained;
use crate::features::Layer;
use crate::options::ClassifierOptions;
use crate::picture::Picture;
use crate::pipeline::{BATCH, Logits, Outputs, Task, TopK};
use crate::prediction::{Prediction, top_k};
use crate::{ClassifierBuilder, Error, Labels, Threads, create};

/// One prepared image: normalised, (C, H, W) in a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Pixels(pub(crate) Vec<f32>);

impl Pixels {
    /// The values, (C, H, W) in a row.
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }
}

/// The model's output as f32 on the CPU.
pub(crate) fn from_model(y: &Tensor) -> Result<Tensor, Error> {
    Ok(y.to_dtype(DType::F32)?.to_device(&Device::Cpu)?)
}

/// The network, or the network with its classifier applied to every window of the trained size.
#[derive(Debug)]
enum Network {
    Plain(ResNet),
    TestTimePool(TestTimePoolHead),
}

impl Network {
    /// timm's rule: windows only where they were asked for and both sides exceed the trained size; crop_pct is then 1.
    fn new(
        model: ResNet,
        cfg: &PretrainedCfg,
        asked: bool,
        transform: &mut Transform,
    ) -> Result<Self, Error> {
        let [_, height, width] = cfg.input_size;
        let size = (transform.size.0 as usize, transform.size.1 as usize);
        if !asked || !TestTimePoolHead::applies(size, (height, width)) {
            return Ok(Self::Plain(model));
        }
        transform.crop_pct = 1.0;
        let pool = cfg.pool_size.unwrap_or([height / 32, width / 32]);
        Ok(Self::TestTimePool(TestTimePoolHead::new(
            model,
            pool.into(),
        )?))
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, resnest_model::Error> {
        match self {
            Self::Plain(model) => model.forward(x),
            Self::TestTimePool(model) => model.forward(x),
        }
    }

    fn trunk(&self) -> &ResNet {
        match self {
            Self::Plain(model) => model,
            Self::TestTimePool(model) => model.base(),
        }
    }
}

/// A model with everything that belongs to it: preprocessing, labels, device, threads.
///
/// Safe to share between threads: every method takes `&self`.
#[derive(Debug)]
pub struct Classifier {
    name: String,
    network: Network,
    transform: Transform,
    labels: Labels,
    device: Device,
    dtype: DType,
    precision: Option<Precision>,
    limits: Limits,
    /// Images computed at once.
    batch_size: usize,
    threads: Threads,
    warnings: Vec<String>,
}

impl Classifier {
    /// Asks for a model by name; [`ClassifierBuilder::load`] loads it, by default with the checkpoint's own preprocessing and
    /// labels on the best device there is.
    ///
    /// `name` is `demo`, `arch[.tag]`, `hf-hub:user/repo[@rev]` or `local-dir:path`.
    pub fn builder(name: impl Into<String>) -> ClassifierBuilder {
        ClassifierBuilder::new(name.into())
    }

    /// Loads a model by name, with options.
    ///
    /// # Errors
    /// An unknown name, a failed download, weights that do not fit (every difference listed), an absent device,
    /// preprocessing options that describe no image.
    pub fn load(name: &str, options: &ClassifierOptions) -> Result<Self, Error> {
        if name == crate::demo::NAME {
            return Self::assemble(Opened::demo(&options.model)?, options);
        }
        Self::from_source(&name.parse::<ModelSource>()?, options)
    }

    /// Loads a model from where [`ModelSource`] says, a checkpoint file included.
    ///
    /// # Errors
    /// As [`Classifier::load`].
    pub fn from_source(source: &ModelSource, options: &ClassifierOptions) -> Result<Self, Error> {
        Self::assemble(Opened::source(source, &options.model)?, options)
    }

    pub(crate) fn assemble(opened: Opened, options: &ClassifierOptions) -> Result<Self, Error> {
        let Resolved {
            name,
            config,
            pretrained,
            ..
        } = &opened.resolved;
        if config.num_classes == 0 && !options.headless {
            return Err(Error::NoClasses {
                model: name.clone(),
            });
        }
        let own = create::transform(pretrained, config.in_chans)?;
        let mut transform = options.transform.apply_to(own);
        transform.check().map_err(Error::Preprocessing)?;
        let size = (transform.size.0 as usize, transform.size.1 as usize);
        let load = || opened.load(&options.model, size);
        let Loaded { model, report } = match options.threads {
            Some(threads) => with_threads(threads, load)?,
            None => load()?,
        };
        let asked = options.test_time_pool;
        let this = Self {
            labels: create::labels(&opened.resolved, config.num_classes)?,
            precision: opened.precision(&options.model, report.dtype),
            dtype: report.dtype,
            network: Network::new(model, pretrained, asked, &mut transform)?,
            transform,
            limits: options.limits,
            batch_size: options.model.batch_hint.max(BATCH),
            threads: Threads::default(),
            name: opened.resolved.name,
            device: opened.device,
            warnings: [opened.resolved.warnings, report.warnings].concat(),
        };
        match options.threads {
            Some(threads) => this.with_threads(threads),
            None => Ok(this),
        }
    }

    /// Decodes and computes on this many threads, whatever other classifiers do; 0 for as many as there are CPUs.
    ///
    /// # Errors
    /// [`Error::Threads`] if they cannot be started; [`Error::TooManyThreads`].
    pub fn with_threads(mut self, threads: usize) -> Result<Self, Error> {
        self.threads = Threads::new(threads)?;
        Ok(self)
    }

    /// The `k` best classes of one encoded image (JPEG, PNG, WebP, GIF, BMP, TIFF).
    ///
    /// # Errors
    /// [`Error::Image`] if the image is broken or over the limits; [`Error::NoClasses`].
    pub fn classify(&self, bytes: &[u8], k: usize) -> Result<Vec<Prediction>, Error> {
        self.check_classes()?;
        self.best_of(&self.preprocess(bytes)?, k)
    }

    /// The `k` best classes of a picture that is already decoded, in colour or gray.
    ///
    /// # Errors
    /// [`Error::Image`] if the pixels' count does not fit their size; [`Error::NoClasses`].
    pub fn classify_image<P>(&self, picture: &P, k: usize) -> Result<Vec<Prediction>, Error>
    where
        P: Picture + ?Sized,
    {
        self.check_classes()?;
        self.best_of(&self.preprocess_image(picture)?, k)
    }

    /// The `k` best classes of several encoded images, prepared on several threads and computed some at a time, so that
    /// memory does not grow with their number.
    ///
    /// One result per image, in order: a broken one does not lose the others. [`Classifier::pipeline`] takes images that
    /// are not all in memory.
    pub fn classify_batch<B>(&self, images: &[B], k: usize) -> Vec<Result<Vec<Prediction>, Error>>
    where
        B: AsRef<[u8]> + Sync,
    {
        let prepare = |bytes: &B| self.preprocess(bytes.as_ref());
        self.pipeline().answer_all(images, prepare, &TopK(k))
    }

    /// The same for several decoded pictures; one result per picture, in order.
    pub fn classify_images<P: Picture + Sync>(
        &self,
        pictures: &[P],
        k: usize,
    ) -> Vec<Result<Vec<Prediction>, Error>> {
        let prepare = |picture: &P| self.preprocess_image(picture);
        self.pipeline().answer_all(pictures, prepare, &TopK(k))
    }

    /// A logit for each class, of several encoded images; one result per image, in order.
    pub fn logits_batch<B>(&self, images: &[B]) -> Vec<Result<Vec<f32>, Error>>
    where
        B: AsRef<[u8]> + Sync,
    {
        let prepare = |bytes: &B| self.preprocess(bytes.as_ref());
        self.pipeline().answer_all(images, prepare, &Logits)
    }

    fn best_of(&self, pixels: &Pixels, k: usize) -> Result<Vec<Prediction>, Error> {
        let logits = self.logits(&self.to_tensor(&[pixels])?)?;
        top_k(&logits.flatten_all()?.to_vec1()?, k, &self.labels)
    }

    /// The `k` best classes of each row of a ready, normalised tensor (N, C, H, W) of any float type and device.
    ///
    /// # Errors
    /// [`Error::TensorShape`] for another shape; [`Error::NoClasses`]; anything the computation gives.
    pub fn classify_tensor(&self, x: &Tensor, k: usize) -> Result<Vec<Vec<Prediction>>, Error> {
        let channels = self.model().config().in_chans;
        if x.rank() != 4 || x.dims()[1] != channels {
            return Err(Error::TensorShape {
                got: x.dims().to_vec(),
                channels,
            });
        }
        TopK(k).answers(self, x)?.into_iter().collect()
    }

    /// Encoded bytes to normalised pixels: decode, resize, crop, normalise, as timm's evaluation transform. Every answer
    /// of this crate and its command begins here.
    ///
    /// # Errors
    /// [`Error::Image`] if the image is broken or over the limits.
    pub fn preprocess(&self, bytes: &[u8]) -> Result<Pixels, Error> {
        Ok(self.preprocess_photo(bytes)?.1)
    }

    /// The same, with the decoded image that the pixels come from, of the channels the model takes.
    ///
    /// # Errors
    /// As [`Classifier::preprocess`].
    pub fn preprocess_photo(&self, bytes: &[u8]) -> Result<(Image, Pixels), Error> {
        let photo = self.decode(bytes)?;
        let pixels = self.preprocess_image(&photo)?;
        Ok((photo, pixels))
    }

    /// The first half of [`Classifier::preprocess`]: encoded bytes to pixels, within [`Classifier::limits`].
    ///
    /// # Errors
    /// As [`Classifier::preprocess`].
    pub fn decode(&self, bytes: &[u8]) -> Result<Image, Error> {
        let mode = self.transform.color_mode();
        Ok(resnest_image::decode_as(bytes, mode, &self.limits)?)
    }

    /// The second half: a decoded picture, in colour or gray, to normalised pixels. What is not of the channels that the
    /// model takes is converted as Pillow's `convert` does it.
    ///
    /// # Errors
    /// [`Error::Image`] if the pixels' count does not fit their size.
    pub fn preprocess_image<P: Picture + ?Sized>(&self, picture: &P) -> Result<Pixels, Error> {
        contained(|| {
            let image = self.in_mode(picture)?;
            Ok(Pixels(self.transform.apply_to(&image)?))
        })
    }

    /// A decoded picture of the channels that the model takes.
    pub(crate) fn in_mode<'a, P>(&self, picture: &'a P) -> Result<Cow<'a, Image>, Error>
    where
        P: Picture + ?Sized,
    {
        let (image, mode) = (picture.to_image(), self.transform.color_mode());
        Ok(match image.channels == mode.channels() {
            true => image,
            false => Cow::Owned(image.into_owned().into_mode(mode)?),
        })
    }

    /// Whether there is a classifier, asked before anything is computed for one.
    ///
    /// # Errors
    /// [`Error::NoClasses`].
    pub fn check_classes(&self) -> Result<(), Error> {
        // Not the trunk's configuration: test-time pooling takes the classifier from there.
        match self.labels.is_empty() {
            true => Err(Error::NoClasses {
                model: self.name.clone(),
            }),
            false => Ok(()),
        }
    }

    /// The classifier's output (N, classes) as f32 on the CPU for a normalised (N, C, H, W).
    ///
    /// # Errors
    /// [`Error::NoClasses`]; anything the computation gives.
    pub fn logits(&self, x: &Tensor) -> Result<Tensor, Error> {
        self.check_classes()?;
        self.compute(|| {
            let logits = self.network.forward(&self.to_model(x)?)?;
            from_model(&logits)
        })
    }

    /// Logits (N, classes) and embeddings (N, features), those that are asked for, as f32 on the CPU.
    pub(crate) fn outputs(
        &self,
        x: &Tensor,
        wanted: Outputs,
    ) -> Result<(Option<Tensor>, Option<Tensor>), Error> {
        match (wanted, &self.network) {
            (
                Outputs {
                    embeddings: false,
                    logits: false,
                },
                _,
            ) => Ok((None, None)),
            (
                Outputs {
                    embeddings: false, ..
                },
                _,
            ) => Ok((Some(self.logits(x)?), None)),
            (Outputs { logits: false, .. }, _) => {
                Ok((None, Some(self.feature_batch(x, Layer::PreLogits)?)))
            }
            // Windows have logits of their own.
            (_, Network::TestTimePool(_)) => {
                let embeddings = self.feature_batch(x, Layer::PreLogits)?;
                Ok((Some(self.logits(x)?), Some(embeddings)))
            }
            (_, Network::Plain(model)) => self.compute(|| {
                let map = model.forward_features(&self.to_model(x)?)?;
                let logits = from_model(&model.forward_head(&map, false)?)?;
                let embeddings = from_model(&model.forward_head(&map, true)?)?;
                Ok((Some(logits), Some(embeddings)))
            }),
        }
    }

    /// Takes an image that somebody else has prepared: normalised values, (C, H, W) in a row, of this classifier's input
    /// size.
    ///
    /// # Errors
    /// [`Error::TensorShape`] for another number of values.
    pub fn prepared(&self, values: Vec<f32>) -> Result<Pixels, Error> {
        let (channels, height, width) = self.transform.shape();
        match values.len() == channels * height * width {
            true => Ok(Pixels(values)),
            false => Err(Error::TensorShape {
                got: vec![values.len()],
                channels,
            }),
        }
    }

    /// `x` where the model computes and in what it computes.
    pub(crate) fn to_model(&self, x: &Tensor) -> Result<Tensor, Error> {
        Ok(x.to_device(&self.device)?.to_dtype(self.dtype)?)
    }

    /// The model's name, such as `resnest50d.in1k`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The network; with test-time pooling, the part before its classifier.
    pub fn model(&self) -> &ResNet {
        self.network.trunk()
    }

    /// The preprocessing in force.
    pub fn transform(&self) -> &Transform {
        &self.transform
    }

    /// The names of the classes.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// What the user should know about the way it was loaded, such as an old name that was mapped.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// How exact the kernels are that it computes with; `None` where the convolutions are candle's.
    pub fn precision(&self) -> Option<Precision> {
        self.precision
    }

    /// Threads it computes on.
    pub fn threads(&self) -> usize {
        self.threads.count()
    }

    /// What one image may cost.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Prepared images to one batch, f32 (N, C, H, W) on the CPU.
    ///
    /// # Errors
    /// [`Error::Compute`] if they are not all of this classifier's own preparation.
    pub(crate) fn to_tensor(&self, images: &[&Pixels]) -> Result<Tensor, Error> {
        let (c, h, w) = self.transform.shape();
        let shape = (images.len(), c, h, w);
        let values: Vec<f32> = images
            .iter()
            .flat_map(|image| image.0.iter().copied())
            .collect();
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
    }

    /// Images computed at once.
    pub(crate) fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// Whether images are prepared on several threads.
    pub(crate) fn prepares_in_parallel(&self) -> bool {
        self.threads.has_pool()
    }

    /// A computation on the classifier's threads; a panic in it is an error.
    pub(crate) fn compute<T: Send>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        self.on_threads(|| contained(work))
    }

    /// See [`Threads::run`].
    pub(crate) fn on_threads<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.threads.run(work)
    }
}
