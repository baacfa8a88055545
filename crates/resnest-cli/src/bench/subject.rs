//! From a model's name to a network ready to be measured.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Error, anyhow};
use candle_core::{DType, Device};
use resnest::loader::{
    Checkpoint, Error as LoadError, Loader, Resolved, load_cached, load_checkpoint,
};
use resnest::model::{FuseOptions, arbitrary_scales, keep_freed_memory, plan, random_weights};
use resnest::{
    ModelSource, Precision, ResNet, ResNetConfig, WeightsCache, default_precision, demo,
};

use super::super::{Failure, load};
use super::args::BenchArgs;

/// Every draw of random weights is this one.
const SEED: u64 = 0;

/// A network on its device, and what it took to get it.
pub struct Subject {
    pub model: ResNet,
    /// Height and width of its images.
    pub size: (usize, usize),
    pub device: Device,
    /// `None` if it is not fused.
    pub precision: Option<Precision>,
    /// Reading (or drawing) weights, building and fusing; without the download.
    pub load: Duration,
}

/// What is known before the weights are read.
struct Described {
    config: ResNetConfig,
    size: (usize, usize),
    /// Where weights come from, unless they are drawn.
    from: Option<(Box<Resolved>, Checkpoint)>,
}

impl Subject {
    /// Everything up to the first forward, downloads included.
    pub fn load(name: &str, args: &BenchArgs) -> Result<Self, Failure> {
        let loader = load::loader(&args.hub)?;
        let open = || args.compute.device.open();
        let device = open().map_err(|error| load::failure(name, error))?;
        if args.profile && !device.is_cpu() {
            let problem = "--profile times steps on the CPU only; other devices run behind";
            return Err(Failure::Usage(anyhow!(problem)));
        }
        let described = describe(name, &loader, args).map_err(Failure::Model)?;
        let size = args
            .input_size
            .map_or(described.size, |(h, w)| (h as usize, w as usize));
        let mut fuse = None;
        if device.is_cpu() && !args.unfused {
            // What cannot be is wrong usage: found before the weights are read.
            let options = described.fuse_options(args, size)?;
            plan(&described.config, &options).map_err(|error| Failure::Usage(error.into()))?;
            fuse = Some(options);
        }
        // What is measured does not depend on what ran before, unless a cache was named.
        let cache = args.compute.cache.weights_cache.as_ref();
        let cache = cache.unwrap_or(&WeightsCache::Off);
        let start = Instant::now();
        let built = described.build(&device, fuse.as_ref(), cache);
        let model = built.map_err(Failure::Model)?;
        let load = start.elapsed();
        keep_freed_memory();
        Ok(Self {
            model,
            size,
            device,
            precision: fuse.map(|options| options.precision),
            load,
        })
    }
}

fn describe(name: &str, loader: &Loader, args: &BenchArgs) -> Result<Described, Error> {
    let resolved = match (resolve(name, loader, args), ResNetConfig::by_name(name)) {
        (Err(_), Ok(config)) if args.random_weights => {
            return Ok(Described {
                config,
                size: (224, 224),
                from: None,
            });
        }
        (resolved, _) => resolved?,
    };
    load::warn(&resolved.warnings, args.hub.quiet);
    let [_, height, width] = resolved.pretrained.input_size;
    let config = resolved.config.clone();
    let from = match &resolved.weights {
        _ if args.random_weights => None,
        _ => {
            let checkpoint = loader.open(&resolved)?;
            Some((Box::new(resolved), checkpoint))
        }
    };
    Ok(Described {
        config,
        size: (height, width),
        from,
    })
}

fn resolve(name: &str, loader: &Loader, args: &BenchArgs) -> Result<Resolved, Error> {
    let overrides = load::overrides(&args.hub, None);
    let source = match &args.checkpoint {
        Some(path) => ModelSource::File {
            path: path.clone(),
            architecture: Some(name.to_owned()),
        },
        None if name == demo::NAME => return Ok(demo::resolve(&overrides)?),
        None => name.parse()?,
    };
    Ok(loader.resolve(&source, &overrides)?)
}

impl Described {
    /// How the network is fused; drawn weights have drawn scales.
    fn fuse_options(
        &self,
        args: &BenchArgs,
        input_size: (usize, usize),
    ) -> Result<FuseOptions, Failure> {
        let checkpoint = self.from.as_ref().map(|(_, checkpoint)| checkpoint);
        let unasked = checkpoint.map(default_precision).unwrap_or_default();
        let mut options = FuseOptions::default();
        options.precision = args.compute.precision.asked().unwrap_or(unasked);
        options.input_size = input_size;
        options.batch = args.batch_size;
        options.algorithms = BTreeMap::from_iter(args.algorithm.iter().cloned());
        if options.precision == Precision::Int8 {
            options.quantization = match checkpoint {
                Some(checkpoint) => {
                    let inputs = checkpoint.quantization().map(Arc::clone);
                    let origin = checkpoint.origin().to_owned();
                    inputs
                        .ok_or_else(|| Failure::Usage(LoadError::NotQuantized { origin }.into()))?
                }
                None => Arc::new(
                    arbitrary_scales(&self.config, input_size)
                        .map_err(|error| Failure::Other(error.into()))?,
                ),
            };
        }
        Ok(options)
    }

    fn build(
        &self,
        device: &Device,
        fuse: Option<&FuseOptions>,
        cache: &WeightsCache,
    ) -> Result<ResNet, Error> {
        let Some((resolved, checkpoint)) = &self.from else {
            let weights = random_weights(SEED, DType::F32, device);
            return Ok(match fuse {
                Some(options) => ResNet::fused(&self.config, weights, options)?,
                None => ResNet::new(&self.config, weights)?,
            });
        };
        let loaded = match fuse {
            Some(options) => load_cached(checkpoint, resolved, options, cache)?,
            None => load_checkpoint(checkpoint, resolved, device, DType::F32)?,
        };
        Ok(loaded.model)
    }
}
