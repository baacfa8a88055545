//! Convolutions over the splits of a map against the naive loops.

#[allow(dead_code, reason = "each test file uses a part of it")]
mod common;

use common::{Rng, THREADS, bits, cases, most_macs, relative_l2};
use resnest_kernels::{
    Algorithm, ConvSpec, Isa, Nhwc, PackedConv, PoolSpec, Rest, SplitConvs, naive, with_threads,
};

/// A map cut into splits, and a convolution for each of the first.
#[derive(Debug)]
struct Sizes {
    spec: ConvSpec,
    convs: usize,
    splits: usize,
    rest: Rest,
    input: Nhwc,
}

impl Sizes {
    fn random(rng: &mut Rng) -> Self {
        let (groups, per) = *rng.pick(&[(1, 3), (1, 7), (1, 14), (1, 26), (1, 40), (8, 4), (4, 1)]);
        let width = groups * per;
        let (convs, more) = *rng.pick(&[(1, 0), (1, 1), (2, 1), (3, 1), (3, 1), (2, 2)]);
        let stride = 1 + rng.below(2);
        let chained = stride == 1 && rng.chance();
        let pool = PoolSpec::avg(3, stride, 1);
        let side = if cfg!(miri) { 4 } else { 25 };
        let (n, h, w) = (1 + rng.below(3), 1 + rng.below(side), 1 + rng.below(side));
        Sizes {
            spec: ConvSpec::new(width, width, 3).groups(groups).stride(stride),
            convs,
            splits: convs + more,
            rest: if chained {
                Rest::Chained
            } else {
                Rest::Pooled(pool)
            },
            input: Nhwc::new(n, h, w, width * (convs + more)),
        }
    }

    /// The channels of one split, as a map.
    fn split(&self, x: &[f32], index: usize) -> Vec<f32> {
        let width = self.spec.in_channels;
        let pixels = x.chunks_exact(width * self.splits);
        pixels
            .flat_map(|p| p[index * width..][..width].to_vec())
            .collect()
    }
}

/// Weight and bias of each convolution.
type Weights = Vec<(Vec<f32>, Vec<f32>)>;

/// By the loops, split by split.
fn expected(s: &Sizes, x: &[f32], weights: &Weights) -> Vec<f64> {
    let shape = Nhwc {
        c: s.spec.in_channels,
        ..s.input
    };
    let mut parts: Vec<Vec<f64>> = Vec::new();
    for index in 0..s.splits {
        let mut own = s.split(x, index);
        let part = match (weights.get(index), s.rest) {
            (Some((weight, bias)), rest) => {
                if let (Rest::Chained, Some(before)) = (rest, parts.last()) {
                    own.iter_mut()
                        .zip(before)
                        .for_each(|(x, b)| *x += *b as f32);
                }
                naive::conv2d(&own, shape, &s.spec, weight, Some(bias), None, true)
            }
            (None, Rest::Chained) => own.iter().map(|&v| f64::from(v)).collect(),
            (None, Rest::Pooled(pool)) => naive::pool2d(&own, shape, pool),
        };
        parts.push(part);
    }
    let pixels = parts[0].len() / shape.c;
    let row = |pixel: usize| {
        let parts = parts.iter();
        parts.flat_map(move |part| part[pixel * shape.c..][..shape.c].to_vec())
    };
    (0..pixels).flat_map(row).collect()
}

fn check(rng: &mut Rng, s: &Sizes) {
    let x = rng.normal(s.input.len());
    let scale = 1.0 / (s.spec.group_in() as f32 * 9.0).sqrt();
    let mut weight = || -> Vec<f32> {
        let values = rng.normal(s.spec.weight_len());
        values.iter().map(|v| v * scale).collect()
    };
    let mut weights: Weights = (0..s.convs).map(|_| (weight(), Vec::new())).collect();
    for (_, bias) in &mut weights {
        *bias = rng.normal(s.spec.out_channels);
    }
    let expected = expected(s, &x, &weights);
    for isa in Isa::available() {
        for (algorithm, bound) in [
            (Algorithm::Direct, 1e-6),
            (Algorithm::WinogradF2, 2e-6),
            (Algorithm::WinogradF4, 1e-5),
            (Algorithm::WinogradF5, 2e-5),
            (Algorithm::WinogradF6, 2e-5),
        ] {
            if !algorithm.supports(&s.spec) {
                continue;
            }
            let pack = |(weight, bias): &(Vec<f32>, Vec<f32>)| {
                PackedConv::new(isa, s.spec, weight, Some(bias), algorithm).unwrap()
            };
            let convs: Vec<_> = weights.iter().map(pack).collect();
            let kernel = SplitConvs {
                convs: convs.iter().collect(),
                rest: s.rest,
            };
            let run = |threads| with_threads(threads, || kernel.run(&x, s.input).unwrap());
            let found = run(1);
            let error = relative_l2(&found, &expected);
            assert!(error < bound, "{isa:?} {algorithm:?} {s:?}: {error:e}");
            for &threads in THREADS {
                assert!(
                    bits(&run(threads)) == bits(&found),
                    "{threads} threads, {s:?}"
                );
            }
        }
    }
}

#[test]
fn splits_equal_the_definition_on_random_shapes() {
    let mut rng = Rng::new(21);
    let mut tried = 0;
    while tried < cases(80) {
        let sizes = Sizes::random(&mut rng);
        let split = Nhwc {
            c: sizes.spec.in_channels,
            ..sizes.input
        };
        if sizes.spec.macs(split).unwrap() * sizes.convs < most_macs() / 2 {
            check(&mut rng, &sizes);
            tried += 1;
        }
    }
}

#[test]
fn what_is_no_splits_is_refused_by_name() {
    let isa = Isa::portable();
    let conv = |spec: ConvSpec| {
        PackedConv::new(
            isa,
            spec,
            &vec![0.0; spec.weight_len()],
            None,
            Algorithm::Direct,
        )
        .unwrap()
    };
    let (four, two) = (
        conv(ConvSpec::new(4, 4, 3)),
        conv(ConvSpec::new(4, 4, 3).stride(2)),
    );
    let text = |convs: Vec<_>, channels| {
        let kernel = SplitConvs {
            convs,
            rest: Rest::Chained,
        };
        let input = Nhwc::new(1, 5, 5, channels);
        kernel
            .run(&vec![0.0; input.len()], input)
            .unwrap_err()
            .to_string()
    };
    assert!(text(vec![], 8).contains("no convolution"));
    assert!(text(vec![&four, &two], 8).contains("alike"));
    assert!(text(vec![&four, &four], 6).contains("6 channels are no splits of 4"));
    assert!(text(vec![&four, &four], 4).contains("4 channels are no splits of 4"));
    assert!(text(vec![&two], 8).contains("different sizes"));
    let short = SplitConvs {
        convs: vec![&four],
        rest: Rest::Chained,
    };
    let short = short.run(&[0.0; 7], Nhwc::new(1, 5, 5, 8)).unwrap_err();
    assert!(short.to_string().contains("input holds 7"), "{short}");
}
