//! One forward over one image: resnest50d through plain candle operations, and all eight models
//! fused, each at its own size.
//!
//! `cargo bench --bench model`; `cargo test --bench model` runs each once.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use resnest_model::{FuseOptions, Precision, ResNet, ResNetConfig};

#[path = "../tests/golden/formula.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod formula;

/// The models and the side of the images that they were trained for.
const MODELS: [(&str, usize); 8] = [
    ("resnest14d", 224),
    ("resnest26d", 224),
    ("resnest50d", 224),
    ("resnest101e", 256),
    ("resnest200e", 320),
    ("resnest269e", 416),
    ("resnest50d_4s2x40d", 224),
    ("resnest50d_1s4x24d", 224),
];

fn build(name: &str, side: usize, precision: Option<Precision>) -> ResNet {
    let config = ResNetConfig::by_name(name).unwrap();
    let weights = formula::Formula::standard().var_builder();
    let mut model = ResNet::new(&config, weights).unwrap();
    if let Some(precision) = precision {
        let mut options = FuseOptions::default();
        options.precision = precision;
        options.input_size = (side, side);
        model.fuse(&options).unwrap();
    }
    model
}

/// Builds the model when it is first run: a filter on the command line then spares the others.
fn bench(c: &mut Criterion, name: &str, side: usize, mode: &str, precision: Option<Precision>) {
    let image = formula::image(3, side, side).unwrap();
    let mut model = None;
    c.bench_function(&format!("{name} forward {side} batch 1 {mode}"), |b| {
        let model = model.get_or_insert_with(|| build(name, side, precision));
        b.iter(|| model.forward(black_box(&image)).unwrap());
    });
}

fn forward(c: &mut Criterion) {
    bench(c, "resnest50d", 224, "unfused", None);
    for (name, side) in MODELS {
        bench(c, name, side, "exact", Some(Precision::Exact));
        bench(c, name, side, "fast", Some(Precision::Fast));
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_secs(1));
    targets = forward
}
criterion_main!(benches);
