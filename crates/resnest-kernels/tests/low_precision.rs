//! Convolutions of bf16 and of 8-bit integers, on every instruction set, against the naive loop.

#[allow(dead_code, reason = "each test file uses a part of it")]
mod common;

use common::case::Case;
use common::{Rng, bits, cases, most_macs};
use resnest_kernels::{
    Algorithm, ConvInput, ConvOutput, ConvSpec, Epilogue, InputScale, Isa, Nhwc, PackedConv,
};

/// Tries `wanted` convolutions that low precision has kernels for.
fn each_random(seed: u64, wanted: usize, mut check: impl FnMut(&mut Rng, ConvSpec, Nhwc)) {
    let mut rng = Rng::new(seed);
    let mut tried = 0;
    while tried < cases(wanted) {
        let groups = *rng.pick(&[1, 1, 1, 2, 3]);
        let per_in = match groups {
            1 => *rng.pick(&[8, 9, 10, 16, 24, 33, 40, 64, 80, 130]),
            _ => *rng.pick(&[17, 24, 32, 40]),
        };
        let per_out = *rng.pick(&[1, 4, 7, 8, 16, 17, 32, 40, 50, 64, 70, 80, 130]);
        let kernel = *rng.pick(&[1, 1, 1, 3, 3, 2, 5]);
        let spec = ConvSpec::new(groups * per_in, groups * per_out, kernel)
            .groups(groups)
            .stride(*rng.pick(&[1, 1, 2, 3]))
            .dilation(*rng.pick(&[1, 1, 1, 2]))
            .padding(rng.below(kernel));
        let n = *rng.pick(&[1, 1, 1, 2, 5]);
        let side = *rng.pick(&[9, 13, 25]);
        let input = Nhwc::new(
            n,
            1 + rng.below(side),
            1 + rng.below(side),
            spec.in_channels,
        );
        if spec.macs(input).is_ok_and(|macs| macs < most_macs()) {
            check(&mut rng, spec, input);
            tried += 1;
        }
    }
}

/// The nearest number with a mantissa of 8 bits, ties to even, by arithmetic.
fn to_bf16(x: f32) -> f32 {
    if x == 0.0 || !x.is_finite() {
        return x;
    }
    let ulp = 2.0_f64.powi(f64::from(x.abs()).log2().floor() as i32 - 7);
    ((f64::from(x) / ulp).round_ties_even() * ulp) as f32
}

#[test]
fn bf16_equals_the_definition_on_random_shapes() {
    each_random(21, 150, |rng, spec, input| {
        let round = |values: &mut [f32]| values.iter_mut().for_each(|v| *v = to_bf16(*v));
        let case = Case::new(rng, spec, input).with_factors(round, |weight, _| round(weight));
        case.check(&[(Algorithm::DirectBf16, 1e-6)]);
    });
}

/// First layers: few channels, and windows that begin with a pair of values.
#[test]
fn bf16_of_few_channels_equals_the_definition() {
    let mut rng = Rng::new(27);
    for _ in 0..cases(60) {
        let channels: usize = *rng.pick(&[1, 2, 3, 3, 4, 5]);
        let stride = if channels.is_multiple_of(2) {
            1 + rng.below(3)
        } else {
            2
        };
        let kernel = *rng.pick(&[1, 2, 3, 3, 5, 7]);
        let out = *rng.pick(&[4, 16, 32, 64, 70]);
        let spec = ConvSpec::new(channels, out, kernel)
            .stride(stride)
            .padding(rng.below(kernel));
        let n = 1 + rng.below(3);
        let input = Nhwc::new(n, 7 + rng.below(20), 7 + rng.below(20), channels);
        let round = |values: &mut [f32]| values.iter_mut().for_each(|v| *v = to_bf16(*v));
        let case = Case::new(&mut rng, spec, input).with_factors(round, |weight, _| round(weight));
        case.check(&[(Algorithm::DirectBf16, 1e-6)]);
    }
}

/// Rounding the transformed values is an error of its own, as measured; F(2x2) of small integers has none.
#[test]
fn winograd_of_bf16_is_as_near_as_its_rounding_allows() {
    each_random(26, 250, |rng, mut spec, input| {
        (spec.kernel, spec.stride) = (3, 1);
        spec.padding = rng.below(3);
        let input = Nhwc::new(input.n, input.h + 5, input.w + 5, input.c);
        let few = |values: &mut [f32]| values.iter_mut().for_each(|v| *v = (*v * 4.0).round());
        let case = Case::new(rng, spec, input).with_factors(few, |weight, _| {
            weight
                .iter_mut()
                .for_each(|w| *w = (*w * 2.0).round() * 4.0);
        });
        case.check(&[(Algorithm::WinogradF2Bf16, 1e-6)]);
        Case::new(rng, spec, input).check(&[
            (Algorithm::WinogradF2Bf16, 6e-3),
            (Algorithm::WinogradF4Bf16, 2e-2),
        ]);
    });
}

/// Inputs and weights that integers hold exactly: then so is the result, but for the rounding of bias and residual.
#[test]
fn integers_equal_the_definition_on_random_shapes() {
    each_random(22, 150, |rng, spec, input| {
        let zero_point = *rng.pick(&[0, 0, 3, 128, 255]);
        let mut values = Rng::new(rng.next());
        let case = Case::new(rng, spec, input).with_factors(
            |x| {
                for x in x {
                    *x = (values.below(256) as f32 - f32::from(zero_point)) / 64.0;
                }
            },
            |weight, per_channel| {
                for channel in weight.chunks_exact_mut(per_channel) {
                    for w in channel.iter_mut() {
                        *w = (*w * 40.0).round().clamp(-127.0, 127.0) / 128.0;
                    }
                    channel[0] = 127.0 / 128.0;
                }
            },
        );
        let scale = InputScale {
            scale: 1.0 / 64.0,
            zero_point,
        };
        case.check(&[(Algorithm::DirectInt8(scale), 2e-7)]);
    });
}

/// The same bits whatever multiplies them, channel sums included.
#[test]
fn integers_have_the_bits_of_the_portable_kernel() {
    each_random(23, 100, |rng, spec, input| {
        let scale = InputScale {
            scale: 0.003 + rng.below(100) as f32 * 1.1e-4,
            zero_point: *rng.pick(&[0, 0, 17, 128]),
        };
        let case = Case::new(rng, spec, input);
        let results = case.results(Algorithm::DirectInt8(scale));
        let (_, first, sums) = &results[0];
        for (name, found, found_sums) in &results {
            assert!(bits(found) == bits(first), "{name}: {spec:?} {input:?}");
            assert!(
                bits(found_sums) == bits(sums),
                "sums of {name}: {spec:?} {input:?}"
            );
        }
    });
}

/// A 1x1 convolution that hands every channel on.
fn identity(isa: Isa, channels: usize, algorithm: Algorithm) -> PackedConv {
    let mut weight = vec![0.0; channels * channels];
    weight
        .iter_mut()
        .step_by(channels + 1)
        .for_each(|w| *w = 1.0);
    PackedConv::new(
        isa,
        ConvSpec::new(channels, channels, 1),
        &weight,
        None,
        algorithm,
    )
    .unwrap()
}

fn apply(conv: &PackedConv, x: &[f32]) -> Vec<f32> {
    let channels = conv.spec().in_channels;
    let shape = Nhwc::new(1, 1, x.len() / channels, channels);
    let y = conv.run(
        ConvInput::Map(x, shape),
        ConvOutput::New,
        Epilogue::default(),
    );
    y.unwrap().to_vec()
}

fn choices() -> impl Iterator<Item = Isa> {
    Isa::available().flat_map(Isa::low_precision_choices)
}

#[test]
fn inputs_are_rounded_to_the_nearest_even() {
    let mut rng = Rng::new(24);
    for isa in choices() {
        for channels in [8, 19, 40] {
            let mut x = rng.normal(30 * channels);
            // A tie to either side, and numbers far from one.
            x[..4].copy_from_slice(&[257.0 / 256.0, 259.0 / 256.0, -3e30, 2e-30]);
            let found = apply(&identity(isa, channels, Algorithm::DirectBf16), &x);
            for (x, y) in x.iter().zip(found) {
                assert_eq!(to_bf16(*x), y, "{x} {isa:?} {:?}", isa.low_precision());
            }
        }
    }
}

#[test]
fn inputs_are_quantised_to_the_nearest_even_and_stay_in_their_range() {
    let mut rng = Rng::new(25);
    for isa in choices() {
        for (channels, zero_point) in [(8, 0), (19, 100), (40, 255)] {
            let mut x = rng.normal(30 * channels);
            x[..6].copy_from_slice(&[0.25, 0.75, -0.25, 1e30, -1e30, f32::INFINITY]);
            let input = InputScale {
                scale: 0.5,
                zero_point,
            };
            let found = apply(&identity(isa, channels, Algorithm::DirectInt8(input)), &x);
            let zero = f64::from(zero_point);
            for (x, y) in x.iter().zip(found) {
                let steps = (f64::from(*x) * 2.0)
                    .round_ties_even()
                    .clamp(-zero, 255.0 - zero);
                let expected = (steps * 0.5) as f32;
                assert!(
                    (expected - y).abs() <= 1e-6 * expected.abs(),
                    "{x}: {y} {isa:?}"
                );
            }
        }
    }
}

#[test]
fn bf16_keeps_what_is_no_number() {
    for isa in choices() {
        let conv = identity(isa, 8, Algorithm::DirectBf16);
        let mut x = vec![1.0; 8 * 7];
        x[17] = f32::NAN;
        let found = apply(&conv, &x);
        for (at, y) in found.iter().enumerate() {
            assert_eq!(y.is_nan(), at / 8 == 2, "{at} {isa:?}");
        }
    }
}

/// One convolution after the other: what is handed on as words gives the bits of what is handed on as values.
#[test]
fn words_give_the_bits_of_values() {
    let mut rng = Rng::new(28);
    let input_scale = InputScale {
        scale: 0.05,
        zero_point: 3,
    };
    for case in 0..cases(60) {
        let algorithm = match case % 2 {
            0 => Algorithm::DirectBf16,
            _ => Algorithm::DirectInt8(input_scale),
        };
        let groups = *rng.pick(&[1, 1, 2]);
        let between = groups * *rng.pick(&[20, 24, 32, 64]);
        let first = ConvSpec::new(*rng.pick(&[8, 30, 64]), between, *rng.pick(&[1, 3]));
        let second = ConvSpec::new(
            between,
            groups * *rng.pick(&[7, 16, 40]),
            *rng.pick(&[1, 3]),
        )
        .groups(groups)
        .stride(1 + rng.below(2));
        let input = Nhwc::new(1 + rng.below(2), 9, *rng.pick(&[8, 70]), first.in_channels);
        let x = rng.normal(input.len());
        let weights = [first, second].map(|spec| rng.normal(spec.weight_len()));
        let bias = rng.normal(between);
        for isa in choices() {
            let pack = |spec, weight: &[f32], bias| {
                PackedConv::new(isa, spec, weight, bias, algorithm).unwrap()
            };
            let one = pack(first, &weights[0], Some(&bias[..]));
            let two = pack(second, &weights[1], None);
            let map = one.run(ConvInput::Map(&x, input), ConvOutput::New, Epilogue::relu());
            let shape = first.output(input).unwrap();
            let map = map.unwrap();
            let expected = two.run(
                ConvInput::Map(&map, shape),
                ConvOutput::New,
                Epilogue::relu(),
            );
            assert!(one.rounds_for(&two), "{isa:?} {first} {second}");
            let words = one.run(
                ConvInput::Map(&x, input),
                ConvOutput::For(two.word_format().unwrap()),
                Epilogue::relu(),
            );
            let words: Vec<u32> = words.unwrap().iter().map(|word| word.to_bits()).collect();
            let found = two.run(
                ConvInput::Words(&words, shape),
                ConvOutput::New,
                Epilogue::relu(),
            );
            let what = || format!("{isa:?} {:?} {first} {second}", isa.low_precision());
            assert!(
                bits(&found.unwrap()) == bits(&expected.unwrap()),
                "{}",
                what()
            );
        }
    }
}

#[test]
fn words_are_for_those_that_read_them() {
    let isa = Isa::portable();
    let pack = |spec: ConvSpec, algorithm| {
        PackedConv::new(isa, spec, &vec![1.0; spec.weight_len()], None, algorithm).unwrap()
    };
    let spec = ConvSpec::new(8, 8, 1);
    let [plain, bf16] = [Algorithm::Direct, Algorithm::DirectBf16].map(|a| pack(spec, a));
    // Of an odd number of channels the last pair is half empty.
    let odd = pack(ConvSpec::new(9, 8, 1), Algorithm::DirectBf16);
    let to_odd = pack(ConvSpec::new(8, 9, 1), Algorithm::DirectBf16);
    let (x, shape) = ([1.0; 8], Nhwc::new(1, 1, 1, 8));
    for (first, next) in [(&bf16, &plain), (&plain, &bf16), (&to_odd, &odd)] {
        assert!(!first.rounds_for(next));
    }
    assert!(plain.word_format().is_none() && odd.word_format().is_none());
    let format = ConvOutput::For(bf16.word_format().unwrap());
    let made = plain.run(ConvInput::Map(&x, shape), format, Epilogue::relu());
    assert!(made.unwrap_err().to_string().contains("words"));
    let run = |conv: &PackedConv, words: &[u32]| {
        conv.run(
            ConvInput::Words(words, shape),
            ConvOutput::New,
            Epilogue::relu(),
        )
    };
    assert!(
        run(&plain, &[0; 4])
            .unwrap_err()
            .to_string()
            .contains("words")
    );
    assert!(
        run(&bf16, &[0; 5])
            .unwrap_err()
            .to_string()
            .contains("input")
    );
    assert!(run(&bf16, &[0; 4]).is_ok());
}

#[test]
fn what_has_no_kernel_is_refused() {
    let isa = Isa::portable();
    let pack = |spec: ConvSpec, algorithm| {
        let weight = vec![1.0; spec.weight_len()];
        PackedConv::new(isa, spec, &weight, None, algorithm)
    };
    let few = ConvSpec::new(3, 8, 3);
    let narrow = ConvSpec::new(32, 32, 3).groups(4);
    for spec in [few, narrow] {
        let error = pack(spec, Algorithm::DirectBf16).unwrap_err().to_string();
        assert!(error.contains("direct-bf16 needs groups"), "{error}");
    }
    for scale in [0.0, -1.0, f32::NAN, f32::INFINITY, 1e-45] {
        let scale = InputScale {
            scale,
            zero_point: 0,
        };
        let error = pack(ConvSpec::new(8, 8, 1), Algorithm::DirectInt8(scale));
        let error = error.unwrap_err().to_string();
        assert!(error.contains("input scale"), "{error}");
    }
}
