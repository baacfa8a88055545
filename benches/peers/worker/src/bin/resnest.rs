//! This project, two ways: `--set path=fused` (the product) and `--set path=plain` (the same network as a composition of
//! candle operations, which is what "plain candle" means in the tables).
#![forbid(unsafe_code)]

use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor};
use peers_worker::{Args, Forward, serve};
use resnest_loader::hub::HubOptions;
use resnest_loader::{
    Checkpoint, Loader, LoaderOptions, ModelSource, Overrides, Resolved, load_checkpoint,
    load_fused,
};
use resnest_model::{FuseOptions, Precision, ResNet, keep_freed_memory, with_threads};

fn main() -> Result<()> {
    serve(build)
}

fn build(args: &Args) -> Result<Forward> {
    let model = match args.options.get("path").map_or("fused", String::as_str) {
        "plain" => plain(args)?,
        "fused" => fused(args)?,
        other => bail!("path={other}: `fused` or `plain`"),
    };
    let input = Tensor::from_vec(args.read_input()?, args.shape().to_vec(), &Device::Cpu)?;
    let threads = args.threads;
    Ok(Box::new(move || {
        let logits = with_threads(threads, || model.forward(&input))?;
        Ok(logits.flatten_all()?.to_vec1()?)
    }))
}

/// The network of the folder that the checkpoint lies in, as the product loads `local-dir:…`.
fn opened(args: &Args) -> Result<(Resolved, Checkpoint)> {
    let folder = args.artifact.parent().context("--artifact has no folder")?;
    let source: ModelSource = format!("local-dir:{}", folder.display()).parse()?;
    let loader = Loader::new(LoaderOptions::new(HubOptions::default()))?;
    let resolved = loader.resolve(&source, &Overrides::default())?;
    let checkpoint = loader.open(&resolved)?;
    Ok((resolved, checkpoint))
}

fn plain(args: &Args) -> Result<ResNet> {
    let (resolved, checkpoint) = opened(args)?;
    Ok(load_checkpoint(&checkpoint, &resolved, &Device::Cpu, DType::F32)?.model)
}

/// The fused network in the precision of `--set precision=fast|exact|bf16|int8`; int8 wants a checkpoint that
/// `resnest quantize` made.
fn fused(args: &Args) -> Result<ResNet> {
    let precision = match args.options.get("precision").map_or("fast", String::as_str) {
        "fast" => Precision::Fast,
        "exact" => Precision::Exact,
        "bf16" => Precision::Bf16,
        "int8" => Precision::Int8,
        other => bail!("precision={other}: `fast`, `exact`, `bf16` or `int8`"),
    };
    let (resolved, checkpoint) = opened(args)?;
    let mut options = FuseOptions::default();
    options.precision = precision;
    options.input_size = (args.size, args.size);
    options.batch = args.batch;
    let loaded = with_threads(args.threads, || {
        load_fused(&checkpoint, &resolved, &options)
    })?;
    // As the product's command does.
    keep_freed_memory();
    Ok(loaded.model)
}
