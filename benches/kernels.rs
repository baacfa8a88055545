//! The kernels on the real shapes of resnest50d at 224, batch 1, each with the algorithm that the
//! cost model chooses and with direct convolution.
//!
//! `cargo bench --bench kernels`; `cargo test --bench kernels` runs each once.

use criterion::{Criterion, criterion_group, criterion_main};
use resnest_kernels::pool::pool2d;
use resnest_kernels::{
    Algorithm, ConvSpec, Epilogue, Isa, Nhwc, PackedConv, PoolSpec, Precision, choose,
};
use std::time::Duration;

fn values(len: usize) -> Vec<f32> {
    (0..len)
        .map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0)
        .collect()
}

/// The distinct convolutions: specification and side of the input.
fn shapes() -> Vec<(ConvSpec, usize)> {
    let mut list = vec![
        (ConvSpec::new(3, 32, 3).stride(2), 224),
        (ConvSpec::new(32, 32, 3), 112),
        (ConvSpec::new(32, 64, 3), 112),
    ];
    for (planes, side) in [(64, 56), (128, 28), (256, 14), (512, 7)] {
        list.push((ConvSpec::new(4 * planes, planes, 1), side));
        list.push((ConvSpec::new(planes, 2 * planes, 3).groups(2), side));
        list.push((ConvSpec::new(planes, 4 * planes, 1), side));
    }
    list
}

fn convolutions(c: &mut Criterion) {
    let isa = Isa::detect().expect("an instruction set");
    let mut group = c.benchmark_group("conv");
    for (spec, side) in shapes() {
        let input = Nhwc::new(1, side, side, spec.in_channels);
        let (x, weight) = (values(input.len()), values(spec.weight_len()));
        let mut out = vec![0.0; spec.output(input).expect("fits").len()];
        let mut algorithms = vec![Algorithm::Direct, choose(&spec, input, Precision::Fast)];
        algorithms.dedup();
        for algorithm in algorithms {
            let conv = PackedConv::new(isa, spec, &weight, None, algorithm).expect("packs");
            let name = format!(
                "{k}x{k} {}-{} g{} @{side} {algorithm:?}",
                spec.in_channels,
                spec.out_channels,
                spec.groups,
                k = spec.kernel
            );
            group.bench_function(name, |b| {
                b.iter(|| conv.run_into(&x, input, &mut out, Epilogue::default()));
            });
        }
    }
}

fn pools(c: &mut Criterion) {
    let isa = Isa::detect().expect("an instruction set");
    for (name, spec, input) in [
        (
            "max 3x3 s2",
            PoolSpec::max(3, 2, 1),
            Nhwc::new(1, 112, 112, 64),
        ),
        (
            "avg 3x3 s2",
            PoolSpec::avg(3, 2, 1),
            Nhwc::new(1, 56, 56, 128),
        ),
        (
            "avg 2x2 s2",
            PoolSpec::shortcut(2),
            Nhwc::new(1, 56, 56, 256),
        ),
    ] {
        let x = values(input.len());
        c.bench_function(name, |b| b.iter(|| pool2d(isa, &x, input, spec)));
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1));
    targets = convolutions, pools
}
criterion_main!(benches);
