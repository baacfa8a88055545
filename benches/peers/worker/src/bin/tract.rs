//! tract: the ONNX file, optimised for the concrete shape.
#![forbid(unsafe_code)]

use anyhow::{Context, Result};
use peers_worker::{Args, Forward, serve};
use tract_linalg::multithread::{Executor, set_default_executor};
use tract_onnx::prelude::*;

/// What a program built for speed would do, and what the product's binary does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    serve(build)
}

fn build(args: &Args) -> Result<Forward> {
    if args.threads > 1 {
        set_default_executor(Executor::multithread(args.threads));
    }
    let model = tract_onnx::onnx()
        .model_for_path(&args.artifact)?
        .with_input_fact(0, f32::fact(args.shape()).into())?
        .into_optimized()?
        .into_runnable()?;
    let input = Tensor::from_shape(&args.shape(), &args.read_input()?)?;
    Ok(Box::new(move || {
        let outputs = model.run(tvec!(input.clone().into()))?;
        let logits = outputs.first().context("tract gave no output")?;
        Ok(logits
            .to_plain_array_view::<f32>()?
            .iter()
            .copied()
            .collect())
    }))
}
