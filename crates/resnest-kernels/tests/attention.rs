//! Split attention against the naive loops.

#[allow(dead_code, reason = "each test file uses a part of it")]
mod common;

use common::{Rng, THREADS, bits, cases, most_macs, relative_l2};
use resnest_kernels::{
    Algorithm, ConvInput, ConvOutput, ConvSpec, Epilogue, Isa, Nhwc, PackedConv,
    PackedSplitAttention, SplitAttentionWeights, naive, with_threads,
};

// Miri takes seconds for some ten pixels.
const SIDE: usize = if cfg!(miri) { 3 } else { 30 };
const IMAGES: &[usize] = if cfg!(miri) {
    &[1, 2]
} else {
    &[1, 1, 2, 3, 9]
};
const GROUP_IN: &[usize] = if cfg!(miri) {
    &[1, 2]
} else {
    &[1, 3, 8, 10, 16]
};
const GROUP_OUT: &[usize] = if cfg!(miri) {
    &[1, 3]
} else {
    &[1, 5, 8, 12, 16, 20]
};
const HIDDEN: &[usize] = if cfg!(miri) { &[3] } else { &[8, 16, 32] };

/// The sizes of one split attention.
#[derive(Debug)]
struct Sizes {
    conv: ConvSpec,
    radix: usize,
    cardinality: usize,
    hidden: usize,
    input: Nhwc,
}

impl Sizes {
    fn random(rng: &mut Rng) -> Self {
        let radix = *rng.pick(&[1, 2, 2, 3, 4]);
        let cardinality = *rng.pick(&[1, 1, 2, 4]);
        let groups = radix * cardinality;
        let inputs = groups * *rng.pick(GROUP_IN);
        let outputs = groups * *rng.pick(GROUP_OUT);
        Sizes {
            conv: ConvSpec::new(inputs, outputs, 3)
                .groups(if rng.chance() { groups } else { 1 })
                .stride(*rng.pick(&[1, 1, 1, 2])),
            radix,
            cardinality,
            hidden: cardinality * *rng.pick(HIDDEN),
            input: Nhwc::new(
                *rng.pick(IMAGES),
                1 + rng.below(SIDE),
                1 + rng.below(SIDE),
                inputs,
            ),
        }
    }
}

/// Random values for every layer.
struct Values {
    x: Vec<f32>,
    conv_weight: Vec<f32>,
    conv_bias: Vec<f32>,
    fc1_weight: Vec<f32>,
    fc1_bias: Vec<f32>,
    fc2_weight: Vec<f32>,
    fc2_bias: Vec<f32>,
}

impl Values {
    fn random(rng: &mut Rng, s: &Sizes) -> Self {
        let outputs = s.conv.out_channels;
        let channels = outputs / s.radix;
        // Small enough for logits that exp can take without care.
        let small = |rng: &mut Rng, len| rng.normal(len).iter().map(|v| v * 0.1).collect();
        Values {
            x: rng.normal(s.input.len()),
            conv_weight: rng.normal(s.conv.weight_len()),
            conv_bias: rng.normal(outputs),
            fc1_weight: small(rng, s.hidden * channels / s.cardinality),
            fc1_bias: rng.normal(s.hidden),
            fc2_weight: small(rng, outputs * s.hidden / s.cardinality),
            fc2_bias: rng.normal(outputs),
        }
    }

    fn weights(&self, s: &Sizes, biases: bool) -> SplitAttentionWeights<'_> {
        let bias = |values| biases.then_some(values);
        SplitAttentionWeights {
            conv: s.conv,
            radix: s.radix,
            cardinality: s.cardinality,
            attention_channels: s.hidden,
            conv_weight: &self.conv_weight,
            conv_bias: bias(&self.conv_bias[..]),
            fc1_weight: &self.fc1_weight,
            fc1_bias: bias(&self.fc1_bias[..]),
            fc2_weight: &self.fc2_weight,
            fc2_bias: bias(&self.fc2_bias[..]),
        }
    }
}

fn expected(s: &Sizes, x: &[f32], w: &SplitAttentionWeights) -> Vec<f64> {
    let splits = naive::conv2d(x, s.input, &s.conv, w.conv_weight, w.conv_bias, None, true);
    let splits: Vec<f32> = splits.iter().map(|v| *v as f32).collect();
    naive::split_attention(&splits, s.conv.output(s.input).unwrap(), w)
}

fn check(s: &Sizes, values: &Values, biases: bool) {
    let weights = values.weights(s, biases);
    let expected = expected(s, &values.x, &weights);
    for isa in Isa::available() {
        for (algorithm, bound) in [
            (Algorithm::Direct, 2e-6),
            (Algorithm::WinogradF2, 3e-6),
            (Algorithm::WinogradF4, 2e-5),
            (Algorithm::WinogradF5, 4e-5),
            (Algorithm::WinogradF6, 4e-5),
        ] {
            if !algorithm.supports(&s.conv) {
                continue;
            }
            let packed = PackedSplitAttention::new(isa, weights, algorithm).unwrap();
            let run = |threads| with_threads(threads, || packed.run(&values.x, s.input)).unwrap();
            let found = run(1);
            let error = relative_l2(&found, &expected);
            assert!(error < bound, "{isa:?} {algorithm:?} {s:?}: {error:e}");
            for &threads in THREADS {
                assert!(
                    bits(&run(threads)) == bits(&found),
                    "{threads} threads, {s:?}"
                );
            }
            check_then(isa, &packed, s, values, &found);
        }
    }
}

/// Followed by a 1x1 in one step: the bits of the two steps.
fn check_then(isa: Isa, packed: &PackedSplitAttention, s: &Sizes, values: &Values, found: &[f32]) {
    let output = packed.output(s.input).unwrap();
    let next = ConvSpec::new(output.c, 20, 1);
    let weight: Vec<f32> = (0..20 * output.c).map(|i| (i % 7) as f32 - 3.0).collect();
    let next = PackedConv::new(isa, next, &weight, None, Algorithm::Direct).unwrap();
    let residual = Rng::new(1).normal(output.pixels() * 20);
    let epilogue = || Epilogue {
        relu: true,
        residual: Some(&residual),
        sums: None,
    };
    let apart = next
        .run(ConvInput::Map(found, output), ConvOutput::New, epilogue())
        .unwrap();
    let x = ConvInput::Map(&values.x, s.input);
    let together = || packed.run_then(x, &next, ConvOutput::New, epilogue());
    for threads in [1, 3] {
        let together = with_threads(threads, together).unwrap();
        assert!(bits(&together) == bits(&apart), "with the next, {s:?}");
        let mut onto = residual.clone();
        let run = || {
            let output = ConvOutput::AddTo(&mut onto);
            packed.run_then(x, &next, output, Epilogue::relu())
        };
        with_threads(threads, run).unwrap();
        assert!(bits(&onto) == bits(&apart), "over the residual, {s:?}");
    }
}

#[test]
fn split_attention_equals_the_definition() {
    let mut rng = Rng::new(14);
    let mut tried = 0;
    while tried < cases(60) {
        let sizes = Sizes::random(&mut rng);
        if sizes.conv.macs(sizes.input).unwrap() < most_macs() / 3 {
            let values = Values::random(&mut rng, &sizes);
            check(&sizes, &values, rng.chance());
            tried += 1;
        }
    }
}
