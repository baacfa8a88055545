//! `resnest verify --self`: a reference of this machine's own making.

use anyhow::{Context, anyhow};
use candle_core::{DType, Device, Tensor};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use resnest::dataset::{path_text, read_at_most};
use resnest::verify::{Activation, Reference, activations};
use resnest::{Classifier, DeviceChoice, demo};

use super::super::{Failure, load};
use super::{VerifyArgs, model, options};

const SEED: u64 = 0;

/// The network as it runs here, and what plain candle operations on the CPU make of the same input in f32 and in f64.
pub fn subjects(args: &VerifyArgs) -> Result<(Classifier, Reference), Failure> {
    let images = match (args.random, args.image.len()) {
        (Some(count), _) => count,
        (None, 0) => demo::PHOTOS.len(),
        (None, count) => count,
    };
    let classifier = load::open(&model(args), &options(args, images)?)?;
    let input = match args.random {
        Some(count) => noise(&classifier, count).map_err(|e| Failure::Other(e.into()))?,
        None => photos(&classifier, args)?,
    };
    let single = plain(args, images, &input, DType::F32)?;
    let double = plain(args, images, &input, DType::F64)?;
    let origin = "the same weights as plain candle operations";
    let reference = Reference::computed(origin, input, single, double);
    Ok((classifier, reference.map_err(|e| Failure::Other(e.into()))?))
}

/// The network unfused on the CPU, run once; it is gone again before the next one is loaded.
fn plain(
    args: &VerifyArgs,
    images: usize,
    input: &Tensor,
    dtype: DType,
) -> Result<Vec<Activation>, Failure> {
    let mut options = options(args, images)?;
    options.model.fuse = false;
    options.model.dtype = Some(dtype);
    options.model.device = DeviceChoice::Cpu;
    let mut model = model(args);
    model.hub.quiet = true; // all there is to say has been said
    let classifier = load::open(&model, &options)?;
    activations(&classifier, input).map_err(|e| Failure::Other(e.into()))
}

/// Uniform noise of about the spread that normalised photos have.
fn noise(classifier: &Classifier, count: usize) -> candle_core::Result<Tensor> {
    let (height, width) = classifier.transform().size;
    let channels = classifier.model().config().in_chans;
    let shape = (count, channels, height as usize, width as usize);
    let mut rng = StdRng::seed_from_u64(SEED);
    let total = count * channels * height as usize * width as usize;
    let values: Vec<f32> = (0..total).map(|_| rng.random_range(-2.0..2.0)).collect();
    Tensor::from_vec(values, shape, &Device::Cpu)
}

fn photos(classifier: &Classifier, args: &VerifyArgs) -> Result<Tensor, Failure> {
    let transform = classifier.transform();
    if transform.mean.len() != classifier.model().config().in_chans {
        let problem = "this network does not take photos: give --random N";
        return Err(Failure::Usage(anyhow!(problem)));
    }
    let prepare = |name: &str, bytes: &[u8]| {
        let pixels = classifier.preprocess(bytes);
        pixels.with_context(|| name.to_owned())
    };
    let prepared: Result<Vec<_>, _> = match args.image.is_empty() {
        true => demo::PHOTOS.iter().map(|(n, b)| prepare(n, b)).collect(),
        false => (args.image.iter())
            .map(|path| {
                let name = path_text(path);
                let file = std::fs::File::open(path);
                let bytes = file.and_then(|f| read_at_most(f, classifier.limits().max_bytes));
                prepare(&name, &bytes.with_context(|| name.clone())?)
            })
            .collect(),
    };
    let prepared = prepared.map_err(Failure::Usage)?;
    let batch = classifier
        .pipeline()
        .tensor(&prepared.iter().collect::<Vec<_>>());
    batch.map_err(|e| Failure::Other(e.into()))
}
