//! The kernels on the real shapes of the 224-pixel ResNeSts, batch 1, each with direct convolution
//! and with the algorithm that the cost model chooses.
//!
//! `cargo bench --bench kernels`; `cargo test --bench kernels` runs each once.

use criterion::{Criterion, criterion_group, criterion_main};
use resnest_kernels::pool::{global_pool, pool2d};
use resnest_kernels::{
    Algorithm, ConvInput, ConvOutput, ConvSpec, Epilogue, GlobalPool, Isa, MapChannels, Nhwc,
    PackedConv, PackedSplitAttention, PoolSpec, Precision, SplitAttentionWeights, choose, layout,
};
use std::time::Duration;

#[path = "../crates/resnest-kernels/tests/common/shapes.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod shapes;

fn values(len: usize) -> Vec<f32> {
    (0..len)
        .map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0)
        .collect()
}

/// All convolutions of resnest50d, then those of the other two that it does not have.
fn convolution_shapes() -> Vec<(ConvSpec, usize)> {
    let mut list = Vec::new();
    for shape in shapes::SMALL.iter().flat_map(shapes::convolutions) {
        if !list.contains(&shape) {
            list.push(shape);
        }
    }
    list
}

fn convolutions(c: &mut Criterion) {
    let isa = Isa::detect().expect("an instruction set");
    let mut group = c.benchmark_group("conv");
    for (spec, side) in convolution_shapes() {
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
                b.iter(|| {
                    let to = ConvOutput::Channels(MapChannels::new(&mut out, 0, spec.out_channels));
                    conv.run(ConvInput::Map(&x, input), to, Epilogue::default())
                });
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

/// The attentions of resnest50d, each a 3x3 in two groups and its weighing.
fn attentions(c: &mut Criterion) {
    let isa = Isa::detect().expect("an instruction set");
    for (channels, side) in [(64, 56), (128, 28), (256, 14), (512, 7)] {
        let conv = ConvSpec::new(channels, 2 * channels, 3).groups(2);
        let input = Nhwc::new(1, side, side, channels);
        let hidden = channels / 2;
        let weights = [conv.weight_len(), hidden * channels, 2 * channels * hidden].map(values);
        let weights = SplitAttentionWeights {
            conv,
            radix: 2,
            cardinality: 1,
            attention_channels: hidden,
            conv_weight: &weights[0],
            conv_bias: None,
            fc1_weight: &weights[1],
            fc1_bias: None,
            fc2_weight: &weights[2],
            fc2_bias: None,
        };
        let algorithm = choose(&conv, input, Precision::Fast);
        let packed = PackedSplitAttention::new(isa, weights, algorithm).expect("packs");
        let x = values(input.len());
        let name = format!("split attention {channels} @{side} {algorithm:?}");
        c.bench_function(&name, |b| b.iter(|| packed.run(&x, input)));
    }
}

fn ends(c: &mut Criterion) {
    let isa = Isa::detect().expect("an instruction set");
    let last = Nhwc::new(1, 7, 7, 2048);
    let x = values(last.len());
    c.bench_function("global average 2048 @7", |b| {
        b.iter(|| global_pool(isa, &x, last, GlobalPool::Avg));
    });
    let image = Nhwc::new(1, 224, 224, 3);
    let planes = values(image.len());
    let strides = layout::Strides::nchw(image);
    c.bench_function("planes to channels last 224", |b| {
        b.iter(|| layout::to_nhwc(&planes, strides, image));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1));
    targets = convolutions, attentions, pools, ends
}
criterion_main!(benches);
