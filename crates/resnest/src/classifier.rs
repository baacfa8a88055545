//! Bytes in, predictions out.

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;
use resnest_image::{Image, Limits, Transform};
use resnest_loader::{Loaded, ModelSource, PretrainedCfg, Resolved};
use resnest_model::{ResNet, TestTimePoolHead, current_threads, with_threads};

use crate::create::Opened;
use crate::options::{ClassifierOptions, ModelOptions};
use crate::prediction::{Prediction, top_k};
use crate::{DeviceChoice, Error, Labels, create};

/// One prepared image: normalised, (C, H, W) in a row.
#[derive(Debug, Clone, PartialEq)]
pub struct Pixels(Vec<f32>);

impl Pixels {
    /// The values, (C, H, W) in a row.
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }
}

/// Computes a batch (N, C, H, W): an answer an image, or why there is none for the whole batch.
pub(crate) type Rows<'a, T> = &'a dyn Fn(&Tensor) -> Result<Vec<Result<T, Error>>, Error>;

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
    limits: Limits,
    pool: Option<rayon::ThreadPool>,
    warnings: Vec<String>,
}

impl Classifier {
    /// Loads a pretrained model by name, with the checkpoint's own preprocessing and labels.
    ///
    /// `name` is `demo`, `arch[.tag]`, `hf-hub:user/repo[@rev]` or `local-dir:path`.
    ///
    /// # Errors
    /// Anything that [`Classifier::load`] gives.
    pub fn from_pretrained(name: &str, device: DeviceChoice) -> Result<Self, Error> {
        let options = ClassifierOptions {
            model: ModelOptions {
                device,
                ..ModelOptions::default()
            },
            ..ClassifierOptions::default()
        };
        Self::load(name, &options)
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

    fn assemble(opened: Opened, options: &ClassifierOptions) -> Result<Self, Error> {
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
        transform.check()?;
        let size = (transform.size.0 as usize, transform.size.1 as usize);
        let load = || opened.load(&options.model, size);
        let Loaded { model, report } = match options.threads {
            Some(threads) => with_threads(threads, load)?,
            None => load()?,
        };
        let asked = options.test_time_pool;
        let this = Self {
            labels: create::labels(&opened.resolved, config.num_classes)?,
            dtype: report.dtype,
            network: Network::new(model, pretrained, asked, &mut transform)?,
            transform,
            limits: options.limits,
            pool: None,
            name: opened.resolved.name,
            device: opened.device,
            warnings: [opened.resolved.warnings, report.warnings].concat(),
        };
        match options.threads {
            Some(threads) => this.with_threads(threads),
            None => Ok(this),
        }
    }

    /// Decodes and computes on this many threads, whatever other classifiers do, but on no more than there
    /// are CPUs; 0 for as many.
    ///
    /// # Errors
    /// [`Error::Threads`] if they cannot be started.
    pub fn with_threads(mut self, threads: usize) -> Result<Self, Error> {
        // More would only be in each other's way, and ten thousand take a minute to start.
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.min(cpus))
            .thread_name(|i| format!("resnest-{i}"))
            .build()
            .map_err(|e| Error::Threads {
                threads,
                reason: e.to_string(),
            })?;
        self.pool = Some(pool);
        Ok(self)
    }

    /// The `k` best classes of one encoded image (JPEG, PNG, WebP, GIF, BMP, TIFF).
    ///
    /// # Errors
    /// [`Error::Image`] if the image is broken or over the limits.
    pub fn classify(&self, bytes: &[u8], k: usize) -> Result<Vec<Prediction>, Error> {
        let image = resnest_image::decode_as(bytes, self.transform.color_mode(), &self.limits)?;
        self.classify_rgb(&image, k)
    }

    /// The same for several encoded images, prepared on several threads and computed at once.
    ///
    /// One result an image, in order: a broken one does not lose the others.
    pub fn classify_batch<B>(&self, images: &[B], k: usize) -> Vec<Result<Vec<Prediction>, Error>>
    where
        B: AsRef<[u8]> + Sync,
    {
        let prepared = self.prepare_each(images, |bytes| self.preprocess(bytes.as_ref()));
        self.classify_prepared(prepared, k)
    }

    /// The `k` best classes of an image that is already decoded.
    ///
    /// # Errors
    /// [`Error::Image`] if the pixels' count does not fit their size.
    pub fn classify_rgb(&self, image: &Image, k: usize) -> Result<Vec<Prediction>, Error> {
        let pixels = self.preprocess_rgb(image)?;
        let logits = self.logits(&self.to_tensor(&[&pixels])?)?;
        top_k(&logits.flatten_all()?.to_vec1()?, k, &self.labels)
    }

    /// The same for several decoded images; one result an image, in order.
    pub fn classify_rgb_batch(
        &self,
        images: &[Image],
        k: usize,
    ) -> Vec<Result<Vec<Prediction>, Error>> {
        let prepared = self.prepare_each(images, |image| self.preprocess_rgb(image));
        self.classify_prepared(prepared, k)
    }

    /// The `k` best classes of each row of a ready, normalised tensor (N, C, H, W) of any float type and device.
    ///
    /// # Errors
    /// [`Error::TensorShape`] for another shape; anything the computation gives.
    pub fn classify_tensor(&self, x: &Tensor, k: usize) -> Result<Vec<Vec<Prediction>>, Error> {
        let channels = self.model().config().in_chans;
        if x.rank() != 4 || x.dims()[1] != channels {
            return Err(Error::TensorShape {
                got: x.dims().to_vec(),
                channels,
            });
        }
        self.rows(&self.logits(x)?, k)?.into_iter().collect()
    }

    /// Encoded bytes to normalised pixels: decode, resize, crop, normalise, as timm's evaluation transform.
    ///
    /// # Errors
    /// [`Error::Image`] if the image is broken or over the limits.
    pub fn preprocess(&self, bytes: &[u8]) -> Result<Pixels, Error> {
        self.preprocess_rgb(&resnest_image::decode_as(
            bytes,
            self.transform.color_mode(),
            &self.limits,
        )?)
    }

    /// Decoded pixels to normalised ones.
    ///
    /// # Errors
    /// [`Error::Image`] if the pixels' count does not fit their size.
    pub fn preprocess_rgb(&self, image: &Image) -> Result<Pixels, Error> {
        let crop = self.transform.crop(image)?;
        let mut values = vec![0.0; crop.data.len()];
        self.transform.normalize_into(&crop, &mut values)?;
        Ok(Pixels(values))
    }

    /// Runs `prepare` on each input, on the classifier's threads; results in order.
    pub fn prepare_each<I, T>(&self, inputs: &[I], prepare: impl Fn(&I) -> T + Sync) -> Vec<T>
    where
        I: Sync,
        T: Send,
    {
        self.on_threads(|| inputs.par_iter().map(&prepare).collect())
    }

    /// The `k` best classes of prepared images, computed at once.
    ///
    /// One result an image, in order; an image whose preparation failed keeps its error.
    pub fn classify_prepared<E: From<Error>>(
        &self,
        prepared: Vec<Result<Pixels, E>>,
        k: usize,
    ) -> Vec<Result<Vec<Prediction>, E>> {
        self.answer_prepared(prepared, &|x| self.rows(&self.logits(x)?, k))
    }

    /// What `rows` makes of prepared images (N, C, H, W), at once where it can: one answer an image, in order.
    pub(crate) fn answer_prepared<T, E: From<Error>>(
        &self,
        prepared: Vec<Result<Pixels, E>>,
        rows: Rows<T>,
    ) -> Vec<Result<T, E>> {
        let ready: Vec<&Pixels> = prepared.iter().filter_map(|p| p.as_ref().ok()).collect();
        let mut answers = self.answers(&ready, rows).into_iter();
        prepared
            .into_iter()
            .filter_map(|pixels| match pixels {
                Ok(_) => answers.next().map(|answer| answer.map_err(E::from)),
                Err(error) => Some(Err(error)),
            })
            .collect()
    }

    /// The classifier's output (N, classes) as f32 on the CPU for a normalised (N, C, H, W).
    ///
    /// # Errors
    /// Anything the computation gives.
    pub fn logits(&self, x: &Tensor) -> Result<Tensor, Error> {
        self.on_threads(|| {
            let logits = self.network.forward(&self.to_model(x)?)?;
            from_model(&logits)
        })
    }

    /// `x` where the model computes and in what it computes.
    pub(crate) fn to_model(&self, x: &Tensor) -> Result<Tensor, Error> {
        Ok(x.to_device(&self.device)?.to_dtype(self.dtype)?)
    }

    /// A row of logits for each prepared image, computed at once.
    pub(crate) fn logits_of(&self, images: &[&Pixels]) -> Result<Vec<Vec<f32>>, Error> {
        Ok(self.logits(&self.to_tensor(images)?)?.to_vec2()?)
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

    /// Threads it computes on.
    pub fn threads(&self) -> usize {
        match &self.pool {
            Some(pool) => pool.current_num_threads(),
            None => current_threads(),
        }
    }

    /// What one image may cost.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Exactly one answer an image.
    fn answers<T>(&self, images: &[&Pixels], rows: Rows<T>) -> Vec<Result<T, Error>> {
        if images.is_empty() {
            return Vec::new();
        }
        let at_once = || rows(&self.to_tensor(images)?);
        match at_once() {
            Ok(rows) => rows,
            Err(error) if images.len() == 1 => vec![Err(error)],
            // What is too much for all of them at once (memory, say) may do for each alone.
            Err(_) => images
                .iter()
                .flat_map(|&image| self.answers(&[image], rows))
                .collect(),
        }
    }

    /// Prepared images to one batch, f32 (N, C, H, W) on the CPU.
    ///
    /// # Errors
    /// [`Error::Compute`] if they are not all of this classifier's own preparation.
    pub fn to_tensor(&self, images: &[&Pixels]) -> Result<Tensor, Error> {
        let (c, h, w) = self.transform.shape();
        let shape = (images.len(), c, h, w);
        let values: Vec<f32> = images
            .iter()
            .flat_map(|image| image.0.iter().copied())
            .collect();
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
    }

    /// Each row of (N, classes) to its best classes.
    fn rows(
        &self,
        logits: &Tensor,
        k: usize,
    ) -> Result<Vec<Result<Vec<Prediction>, Error>>, Error> {
        if self.labels.is_empty() {
            let model = self.name.clone();
            return Err(Error::NoClasses { model });
        }
        let rows = logits.to_vec2::<f32>()?;
        Ok(rows.iter().map(|row| top_k(row, k, &self.labels)).collect())
    }

    /// Both pools are told: rayon's, which decodes, and the kernels' own.
    pub(crate) fn on_threads<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match &self.pool {
            Some(pool) => {
                let threads = pool.current_num_threads();
                pool.install(|| with_threads(threads, work))
            }
            None => work(),
        }
    }
}
