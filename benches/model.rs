//! One forward of resnest50d over one image of 224x224: through plain candle operations, and fused.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use resnest_model::{FuseOptions, Precision, ResNet, ResNetConfig};

#[path = "../tests/golden/formula.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod formula;

fn forward(c: &mut Criterion) {
    let weights = formula::Formula::standard().var_builder();
    let image = formula::image(3, 224, 224).unwrap();
    for (mode, precision) in [
        ("unfused", None),
        ("exact", Some(Precision::Exact)),
        ("fast", Some(Precision::Fast)),
    ] {
        let mut model = ResNet::new(&ResNetConfig::resnest50d(), weights.clone()).unwrap();
        if let Some(precision) = precision {
            let options = FuseOptions {
                precision,
                ..FuseOptions::default()
            };
            model.fuse(&options).unwrap();
        }
        c.bench_function(&format!("resnest50d forward 224 batch 1 {mode}"), |b| {
            b.iter(|| model.forward(black_box(&image)).unwrap());
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = forward
}
criterion_main!(benches);
