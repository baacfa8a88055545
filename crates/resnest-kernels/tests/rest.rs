//! Pools, split attention, depthwise convolution and layouts against the naive loops.

#[allow(dead_code, reason = "each test file uses a part of it")]
mod common;

use common::{Rng, cases, most_macs, relative_l2};
use resnest_kernels::layout::{Strides, from_bytes, to_nhwc};
use resnest_kernels::pool::{global_pool, pool2d};
use resnest_kernels::{
    Algorithm, BatchNorm, ConvSpec, Epilogue, GlobalPool, Isa, Nhwc, PackedConv,
    PackedSplitAttention, PoolKind, PoolSpec, SplitAttentionWeights, fold_batch_norm, naive,
    with_threads,
};

fn random_shape(rng: &mut Rng) -> Nhwc {
    let c = *rng.pick(&[1, 3, 8, 10, 16, 24, 33, 64]);
    Nhwc::new(1 + rng.below(3), 1 + rng.below(12), 1 + rng.below(12), c)
}

#[test]
fn pools_equal_the_definition() {
    let mut rng = Rng::new(11);
    let fixed = [
        PoolSpec::max(3, 2, 1),
        PoolSpec::avg(3, 2, 1),
        PoolSpec::shortcut(2),
        PoolSpec::avg_same(2),
    ];
    let mut tried = 0;
    while tried < cases(150) {
        let kernel = 1 + rng.below(4);
        let random = PoolSpec {
            kind: *rng.pick(&[PoolKind::Max, PoolKind::Avg, PoolKind::AvgCounted]),
            kernel,
            stride: 1 + rng.below(3),
            padding: [rng.below(kernel / 2 + 1); 2],
            ceil: rng.chance(),
        };
        let spec = if rng.chance() {
            *rng.pick(&fixed)
        } else {
            random
        };
        let shape = random_shape(&mut rng);
        if spec.output(shape).is_err() {
            continue;
        }
        tried += 1;
        let x = rng.normal(shape.len());
        let expected = naive::pool2d(&x, shape, spec);
        for isa in Isa::available() {
            let found = with_threads(1 + rng.below(3), || pool2d(isa, &x, shape, spec)).unwrap();
            let error = relative_l2(&found, &expected);
            assert!(error < 3e-7, "{isa:?} {spec:?} {shape:?}: {error:e}");
        }
    }
}

#[test]
fn timms_pool_sides() {
    let side = |spec: PoolSpec, side| spec.output(Nhwc::new(1, side, side, 1)).unwrap().h;
    assert_eq!(
        [112, 7, 1].map(|s| side(PoolSpec::max(3, 2, 1), s)),
        [56, 4, 1]
    );
    assert_eq!(
        [56, 7, 1].map(|s| side(PoolSpec::shortcut(2), s)),
        [28, 4, 1]
    );
    assert_eq!(
        [14, 7, 1].map(|s| side(PoolSpec::avg_same(2), s)),
        [14, 7, 1]
    );
}

#[test]
fn global_pools_equal_the_definition() {
    let mut rng = Rng::new(12);
    for _ in 0..cases(40) {
        let shape = random_shape(&mut rng);
        let x = rng.normal(shape.len());
        for isa in Isa::available() {
            for (kind, window) in [
                (GlobalPool::Avg, PoolKind::Avg),
                (GlobalPool::Max, PoolKind::Max),
            ] {
                let found = global_pool(isa, &x, shape, kind).unwrap();
                // One window over a square that holds the image.
                let side = shape.h.max(shape.w);
                let spec = PoolSpec {
                    kind: window,
                    ceil: true,
                    ..PoolSpec::max(side, side, 0)
                };
                let padded = PoolSpec {
                    padding: [0, side - shape.h.min(shape.w)],
                    ..spec
                };
                let expected = naive::pool2d(&x, shape, padded);
                if expected.len() == found.len() {
                    let error = relative_l2(&found, &expected);
                    assert!(error < 2e-6, "{isa:?} {kind:?} {shape:?}: {error:e}");
                }
            }
        }
    }
}

#[test]
fn depthwise_equals_the_definition() {
    let mut rng = Rng::new(13);
    let mut tried = 0;
    while tried < cases(60) {
        let c = *rng.pick(&[2, 7, 8, 24, 33, 64]);
        let spec = ConvSpec::new(c, c, *rng.pick(&[1, 3, 5]))
            .groups(c)
            .stride(1 + rng.below(2))
            .dilation(1 + rng.below(2))
            .padding(rng.below(3));
        let input = Nhwc {
            c,
            ..random_shape(&mut rng)
        };
        let Ok(output) = spec.output(input) else {
            continue;
        };
        tried += 1;
        let (x, weight) = (rng.normal(input.len()), rng.normal(spec.weight_len()));
        let (bias, residual) = (rng.normal(c), rng.normal(output.len()));
        let expected = naive::conv2d(
            &x,
            input,
            &spec,
            &weight,
            Some(&bias),
            Some(&residual),
            true,
        );
        for isa in Isa::available() {
            let conv = PackedConv::new(isa, spec, &weight, Some(&bias), Algorithm::Direct).unwrap();
            let mut sums = vec![0.0; output.n * c];
            let epilogue = Epilogue {
                relu: true,
                residual: Some(&residual),
                sums: Some(&mut sums),
            };
            let found = with_threads(3, || conv.run(&x, input, epilogue)).unwrap();
            assert!(
                relative_l2(&found, &expected) < 5e-7,
                "{isa:?} {spec:?} {input:?}"
            );
            let total: f32 = sums.iter().sum();
            let exact: f64 = expected.iter().sum();
            assert!(
                (f64::from(total) - exact).abs() < 1e-4 * (1.0 + exact),
                "{total} {exact}"
            );
        }
    }
}

fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

#[test]
fn split_attention_equals_the_definition() {
    let mut rng = Rng::new(14);
    for (radix, cardinality, width, input) in [
        (2, 1, 32, Nhwc::new(1, 9, 9, 32)),
        (2, 1, 16, Nhwc::new(2, 30, 31, 16)),
        (4, 2, 20, Nhwc::new(1, 12, 7, 40)),
        (1, 4, 6, Nhwc::new(3, 5, 5, 24)),
        (1, 1, 24, Nhwc::new(1, 1, 1, 24)),
        (3, 2, 5, Nhwc::new(9, 2, 3, 6)),
    ] {
        if input.len() * width * radix > most_macs() {
            continue;
        }
        let channels = width * cardinality;
        let conv = ConvSpec::new(input.c, channels * radix, 3).groups(
            if input.c % (radix * cardinality) == 0 {
                radix * cardinality
            } else {
                1
            },
        );
        let hidden = 32 * cardinality;
        let conv_weight = rng.normal(conv.weight_len());
        let (conv_bias, fc1_bias) = (rng.normal(conv.out_channels), rng.normal(hidden));
        // Small enough for logits that exp can take without care.
        let mut small = |len| rng.normal(len).iter().map(|v| v * 0.1).collect::<Vec<_>>();
        let fc1_weight = small(hidden * width);
        let fc2_weight = small(channels * radix * 32);
        let fc2_bias = rng.normal(channels * radix);
        let weights = SplitAttentionWeights {
            conv,
            radix,
            cardinality,
            attention_channels: hidden,
            conv_weight: &conv_weight,
            conv_bias: Some(&conv_bias),
            fc1_weight: &fc1_weight,
            fc1_bias: Some(&fc1_bias),
            fc2_weight: &fc2_weight,
            fc2_bias: Some(&fc2_bias),
        };
        let x = rng.normal(input.len());
        let splits = naive::conv2d(&x, input, &conv, &conv_weight, Some(&conv_bias), None, true);
        let splits: Vec<f32> = splits.iter().map(|v| *v as f32).collect();
        let shape = conv.output(input).unwrap();
        let expected = naive::split_attention(&splits, shape, &weights);
        for isa in Isa::available() {
            for algorithm in [
                Algorithm::Direct,
                Algorithm::WinogradF2,
                Algorithm::WinogradF4,
            ] {
                let packed = PackedSplitAttention::new(isa, weights, algorithm).unwrap();
                let found = with_threads(1, || packed.run(&x, input)).unwrap();
                let error = relative_l2(&found, &expected);
                assert!(
                    error < 2e-5,
                    "{isa:?} {algorithm:?} radix {radix}: {error:e}"
                );
                let again = with_threads(3, || packed.run(&x, input)).unwrap();
                assert!(same_bits(&found, &again));
                let output = packed.output(input).unwrap();
                let next = ConvSpec::new(channels, 20, 1);
                let next_weight = &conv_weight[..20 * channels.min(conv_weight.len() / 20)];
                let next =
                    PackedConv::new(isa, next, next_weight, None, Algorithm::Direct).unwrap();
                let apart = next.run(&found, output, Epilogue::default()).unwrap();
                let together = packed
                    .run_then(&x, input, &next, Epilogue::default())
                    .unwrap();
                assert!(
                    same_bits(&apart, &together),
                    "fused with the next convolution"
                );
            }
        }
    }
}

#[test]
fn strided_values_and_bytes_become_channels_last() {
    let shape = Nhwc::new(1, 2, 2, 3);
    let planar: Vec<f32> = (0..12).map(|v| v as f32).collect();
    let found = to_nhwc(&planar, Strides::nchw(shape), shape).unwrap();
    assert_eq!(found, [0., 4., 8., 1., 5., 9., 2., 6., 10., 3., 7., 11.]);
    assert!(to_nhwc(&planar[..11], Strides::nchw(shape), shape).is_err());
    let bytes: Vec<u8> = (0..12).map(|v| v * 20).collect();
    let found = from_bytes(&bytes, shape, &[0.5, 0.25, 0.0], &[0.5, 1.0, 2.0]).unwrap();
    assert_eq!(found[4], (80.0 / 255.0 - 0.25) / 1.0);
    assert_eq!(found[3], (60.0 / 255.0 - 0.5) / 0.5);
}

#[test]
fn a_folded_norm_equals_the_norm_after() {
    let mut rng = Rng::new(16);
    let weight = rng.normal(4 * 9);
    let (gamma, beta, mean) = (rng.normal(4), rng.normal(4), rng.normal(4));
    let var: Vec<f32> = rng.normal(4).iter().map(|v| v * v + 0.1).collect();
    let norm = BatchNorm {
        gamma: &gamma,
        beta: &beta,
        mean: &mean,
        var: &var,
        eps: 1e-5,
    };
    let (folded, shift) = fold_batch_norm(&weight, None, norm).unwrap();
    for o in 0..4 {
        let plain: f32 = weight[o * 9..o * 9 + 9].iter().sum();
        let sum: f32 = folded[o * 9..o * 9 + 9].iter().sum();
        let expected = (plain - mean[o]) / (var[o] + 1e-5).sqrt() * gamma[o] + beta[o];
        assert!((sum + shift[o] - expected).abs() < 1e-4 * (1.0 + expected.abs()));
    }
    assert!(fold_batch_norm(&weight[1..], None, norm).is_err());
}
