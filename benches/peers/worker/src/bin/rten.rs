//! rten: the ONNX file as it is.
#![forbid(unsafe_code)]

use std::sync::Arc;

use anyhow::{Result, anyhow};
use peers_worker::{Args, Forward, serve};
use rten::{ModelOptions, RunOptions, ThreadPool};
use rten_tensor::{AsView, NdTensor};

/// What a program built for speed would do, and what the product's binary does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<()> {
    serve(build)
}

fn build(args: &Args) -> Result<Forward> {
    let prepack = args.options.get("prepack").is_none_or(|v| v == "1");
    let model = ModelOptions::with_all_ops()
        .prepack_weights(prepack)
        .load_file(&args.artifact)?;
    let pool = Arc::new(ThreadPool::with_num_threads(args.threads));
    let input = NdTensor::<f32, 4>::from_data(args.shape(), args.read_input()?);
    Ok(Box::new(move || {
        let options = RunOptions::default().with_thread_pool(Some(pool.clone()));
        let logits = model.run_one(input.view().into(), Some(options))?;
        let logits: NdTensor<f32, 2> = logits
            .try_into()
            .map_err(|e| anyhow!("rten's output: {e}"))?;
        Ok(logits.iter().copied().collect())
    }))
}
