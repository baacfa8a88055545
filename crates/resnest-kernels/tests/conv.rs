//! Every convolution path, instruction set and epilogue against the naive loop.

#[allow(dead_code, reason = "each test file uses a part of it")]
mod common;

use common::case::Case;
use common::{Rng, THREADS, bits, cases, most_macs, relative_l2};
use resnest_kernels::{
    Algorithm, ConvInput, ConvOutput, ConvPair, ConvSpec, Epilogue, Isa, MapChannels, Nhwc,
    PackedConv, naive, with_threads,
};

const DIRECT: [(Algorithm, f64); 1] = [(Algorithm::Direct, 5e-7)];
const WINOGRAD: [(Algorithm, f64); 4] = [
    (Algorithm::WinogradF2, 1e-6),
    (Algorithm::WinogradF4, 5e-6),
    (Algorithm::WinogradF5, 8e-6),
    (Algorithm::WinogradF6, 1e-5),
];

/// Tries `wanted` of the cases that `spec` draws, on inputs of up to `side` pixels a side.
fn check_random(
    seed: u64,
    wanted: usize,
    side: usize,
    algorithms: &[(Algorithm, f64)],
    spec: impl Fn(&mut Rng) -> ConvSpec,
) {
    let mut rng = Rng::new(seed);
    let mut tried = 0;
    while tried < cases(wanted) {
        let spec = spec(&mut rng);
        let n = *rng.pick(&[1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let (h, w) = (1 + rng.below(side), 1 + rng.below(side));
        let input = Nhwc::new(n, h, w, spec.in_channels);
        if spec.macs(input).is_ok_and(|macs| macs < most_macs()) {
            Case::new(&mut rng, spec, input).check(algorithms);
            tried += 1;
        }
    }
}

#[test]
fn direct_equals_the_definition_on_random_shapes() {
    check_random(1, 150, 13, &DIRECT, |rng| {
        let groups = *rng.pick(&[1, 1, 1, 2, 3, 4, 8]);
        let per_in = *rng.pick(&[1, 2, 3, 4, 5, 8, 10, 16, 24, 33, 40]);
        let per_out = *rng.pick(&[1, 2, 4, 7, 8, 10, 16, 17, 24, 32, 40, 50]);
        let kernel = *rng.pick(&[1, 1, 3, 3, 3, 2, 5, 7]);
        ConvSpec::new(groups * per_in, groups * per_out, kernel)
            .groups(groups)
            .stride(*rng.pick(&[1, 1, 2, 3]))
            .dilation(*rng.pick(&[1, 1, 2, 3]))
            .padding(rng.below(kernel + 1))
    });
}

#[test]
fn depthwise_equals_the_definition_on_random_shapes() {
    check_random(5, 60, 13, &DIRECT, |rng| {
        let c = *rng.pick(&[2, 7, 8, 15, 16, 24, 33, 64]);
        let kernel = *rng.pick(&[1, 2, 3, 3, 5, 7]);
        ConvSpec::new(c, c, kernel)
            .groups(c)
            .stride(1 + rng.below(3))
            .dilation(1 + rng.below(3))
            .padding(rng.below(kernel + 1))
    });
}

#[test]
fn narrow_groups_equal_the_definition_on_random_shapes() {
    check_random(6, 150, 21, &DIRECT, |rng| {
        let group = *rng.pick(&[2, 4, 4, 8, 8, 16]);
        let c = group * *rng.pick(&[2, 3, 5, 8, 16, 32]);
        let kernel = *rng.pick(&[1, 2, 3, 3, 3, 3, 3, 5]);
        ConvSpec::new(c, c, kernel)
            .groups(c / group)
            .stride(*rng.pick(&[1, 1, 2, 3]))
            .dilation(*rng.pick(&[1, 1, 1, 2, 3]))
            .padding(rng.below(kernel + 1))
    });
}

#[test]
fn winograd_equals_the_definition_on_random_shapes() {
    check_random(3, 120, 29, &WINOGRAD, |rng| {
        let groups = *rng.pick(&[1, 1, 2, 3, 8]);
        let per_in = *rng.pick(&[1, 3, 8, 10, 16, 24, 33, 40, 64]);
        let per_out = *rng.pick(&[1, 4, 8, 10, 16, 17, 24, 32, 40, 50]);
        ConvSpec::new(groups * per_in, groups * per_out, 3)
            .groups(groups)
            .padding(rng.below(4))
    });
}

#[test]
fn dilated_winograd_equals_the_definition_on_random_shapes() {
    check_random(7, 120, 29, &WINOGRAD, |rng| {
        let groups = *rng.pick(&[1, 1, 2, 3]);
        let per_in = *rng.pick(&[1, 3, 8, 16, 33, 64]);
        let per_out = *rng.pick(&[1, 4, 10, 16, 17, 32, 50]);
        let (stride, dilation) =
            *rng.pick(&[(1, 2), (1, 2), (2, 2), (1, 3), (3, 3), (2, 4), (1, 5)]);
        ConvSpec::new(groups * per_in, groups * per_out, 3)
            .groups(groups)
            .stride(stride)
            .dilation(dilation)
            .padding(rng.below(dilation + 3))
    });
}

#[test]
fn winograd_of_stride_2_equals_the_definition_on_random_shapes() {
    check_random(8, 120, 29, &WINOGRAD[..2], |rng| {
        let groups = *rng.pick(&[1, 1, 2, 3]);
        let per_in = *rng.pick(&[1, 3, 8, 10, 16, 24, 33, 64]);
        let per_out = *rng.pick(&[1, 4, 10, 16, 17, 32, 50]);
        ConvSpec::new(groups * per_in, groups * per_out, 3)
            .groups(groups)
            .stride(2)
            .padding(rng.below(4))
    });
}

#[test]
#[cfg(not(miri))]
fn direct_equals_the_definition_on_long_sums_and_many_pixels() {
    let mut rng = Rng::new(2);
    for (spec, input) in [
        (ConvSpec::new(1030, 20, 1), Nhwc::new(1, 5, 3, 1030)),
        (ConvSpec::new(70, 40, 3), Nhwc::new(2, 25, 24, 70)),
        (ConvSpec::new(3, 32, 3).stride(2), Nhwc::new(1, 57, 64, 3)),
        (ConvSpec::new(3, 24, 7).stride(2), Nhwc::new(1, 61, 50, 3)),
        (ConvSpec::new(80, 320, 3).groups(8), Nhwc::new(1, 9, 9, 80)),
        (ConvSpec::new(64, 24, 1).stride(2), Nhwc::new(3, 40, 33, 64)),
    ] {
        Case::new(&mut rng, spec, input).check(&DIRECT);
    }
}

/// Rows so wide that several tasks share an image.
#[test]
#[cfg(not(miri))]
fn narrow_groups_equal_the_definition_on_wide_images() {
    let mut rng = Rng::new(7);
    for group in [2, 4, 8, 16] {
        for (stride, padding) in [(1, 0), (1, 1), (2, 0), (2, 1), (2, 3)] {
            let spec = ConvSpec::new(3 * group, 3 * group, 3)
                .groups(3)
                .stride(stride)
                .padding(padding);
            Case::new(&mut rng, spec, Nhwc::new(2, 9, 150, 3 * group)).check(&DIRECT);
        }
    }
}

#[test]
#[cfg(not(miri))]
fn winograd_holds_its_error_on_deep_layers() {
    let mut rng = Rng::new(4);
    for (spec, input) in [
        (ConvSpec::new(512, 48, 3), Nhwc::new(1, 7, 7, 512)),
        (ConvSpec::new(256, 32, 3), Nhwc::new(2, 14, 14, 256)),
        (ConvSpec::new(64, 64, 3).groups(2), Nhwc::new(1, 37, 40, 64)),
    ] {
        Case::new(&mut rng, spec, input).check(&WINOGRAD);
    }
    for (spec, input) in [
        (ConvSpec::new(512, 48, 3), Nhwc::new(1, 14, 14, 512)),
        (ConvSpec::new(128, 64, 3), Nhwc::new(2, 56, 56, 128)),
    ] {
        Case::new(&mut rng, spec.stride(2), input).check(&WINOGRAD[..2]);
    }
}

#[test]
fn an_empty_batch_gives_nothing() {
    let spec = ConvSpec::new(4, 4, 3);
    let conv =
        PackedConv::new(Isa::portable(), spec, &[0.5; 144], None, Algorithm::Direct).unwrap();
    let none = ConvInput::Map(&[], Nhwc::new(0, 5, 5, 4));
    let out = conv.run(none, ConvOutput::New, Epilogue::default());
    assert!(out.unwrap().is_empty());
}

#[test]
fn misfits_are_errors_that_name_the_argument() {
    let isa = Isa::portable();
    let spec = ConvSpec::new(4, 4, 3);
    let new = |spec, weight: &[f32]| PackedConv::new(isa, spec, weight, None, Algorithm::Direct);
    let text = new(spec, &[0.0; 143]).unwrap_err().to_string();
    assert!(text.contains("weight holds 143"), "{text}");
    let text = new(spec.groups(3), &[0.0; 144]).unwrap_err().to_string();
    assert!(text.contains("in_channels"), "{text}");
    let conv = new(spec, &[0.0; 144]).unwrap();
    let run = |conv: &PackedConv, x: &[f32], shape| {
        let made = conv.run(
            ConvInput::Map(x, shape),
            ConvOutput::New,
            Epilogue::default(),
        );
        made.map_err(|error| error.to_string())
    };
    let text = run(&conv, &[0.0; 7], Nhwc::new(1, 1, 2, 4)).unwrap_err();
    assert!(text.contains("input holds 7"), "{text}");
    let small = run(&conv, &[0.0; 4], Nhwc::new(1, 1, 1, 4));
    assert_eq!(small.unwrap(), [0.0; 4]);
    let conv = new(spec.padding(0), &[0.0; 144]).unwrap();
    let text = run(&conv, &[0.0; 4], Nhwc::new(1, 1, 1, 4)).unwrap_err();
    assert!(text.contains("kernel"), "{text}");
}

/// What each output and input refuses, without having written anything.
#[test]
fn outputs_that_do_not_fit_are_errors() {
    let isa = Isa::portable();
    let spec = ConvSpec::new(4, 4, 3);
    let pack = |algorithm| PackedConv::new(isa, spec, &[0.5; 144], None, algorithm).unwrap();
    let (direct, winograd) = (pack(Algorithm::Direct), pack(Algorithm::WinogradF2));
    let (values, shape) = ([1.0; 4 * 6 * 9], Nhwc::new(1, 2, 2, 4));
    let x = ConvInput::Map(&values[..16], shape);
    let channels = |first| ConvInput::Channels {
        map: &values[..24],
        shape: Nhwc { c: 6, ..shape },
        first,
    };
    let none = Epilogue::default;
    fn fails(conv: &PackedConv, x: ConvInput, to: ConvOutput, epilogue: Epilogue, word: &str) {
        let text = conv.run(x, to, epilogue).unwrap_err().to_string();
        assert!(text.contains(word), "{text}");
    }
    let mut out = [7.0; 24];
    let short = Epilogue {
        residual: Some(&values[..15]),
        ..none()
    };
    fails(&direct, x, ConvOutput::New, short, "residual");
    let mut sums = [0.0; 3];
    let few = Epilogue {
        sums: Some(&mut sums),
        ..none()
    };
    fails(&direct, x, ConvOutput::New, few, "sums");
    fails(&direct, channels(3), ConvOutput::New, none(), "input");
    fails(&direct, x, ConvOutput::AddTo(&mut out), none(), "output");
    fails(
        &winograd,
        x,
        ConvOutput::AddTo(&mut out[..16]),
        none(),
        "output",
    );
    let second = Epilogue {
        residual: Some(&values[..16]),
        ..none()
    };
    fails(
        &direct,
        x,
        ConvOutput::AddTo(&mut out[..16]),
        second,
        "residual",
    );
    for (first, of, word) in [(3, 6, "output"), (0, 5, "output")] {
        let to = ConvOutput::Channels(MapChannels::new(&mut out, first, of));
        fails(&direct, x, to, none(), word);
    }
    assert_eq!(out, [7.0; 24]);
}

/// From some channels of a map to some channels of another: the bits of maps of their own, and nothing beside them
/// is touched.
#[test]
fn channels_of_maps_are_read_and_written_like_maps_of_their_own() {
    let mut rng = Rng::new(13);
    for isa in Isa::available() {
        for (spec, algorithm) in [
            (ConvSpec::new(8, 20, 1), Algorithm::Direct),
            (ConvSpec::new(3, 8, 3).stride(2), Algorithm::Direct),
            (ConvSpec::new(6, 10, 3).dilation(2), Algorithm::Direct),
            (ConvSpec::new(8, 8, 3).groups(2), Algorithm::Direct),
            (ConvSpec::new(8, 8, 3).groups(8), Algorithm::Direct),
            (ConvSpec::new(8, 12, 3), Algorithm::WinogradF4),
        ] {
            let weight = rng.normal(spec.weight_len());
            let conv = PackedConv::new(isa, spec, &weight, None, algorithm).unwrap();
            let shape = Nhwc::new(2, 5, 6, spec.in_channels + 5);
            let map = rng.normal(shape.len());
            let own: Vec<f32> = map
                .chunks_exact(shape.c)
                .flat_map(|pixel| &pixel[3..3 + spec.in_channels])
                .copied()
                .collect();
            let own_shape = Nhwc {
                c: spec.in_channels,
                ..shape
            };
            let x = ConvInput::Map(&own, own_shape);
            let expected = conv.run(x, ConvOutput::New, Epilogue::relu()).unwrap();
            let (c, of) = (spec.out_channels, spec.out_channels + 3);
            let mut out = vec![7.0; spec.output(own_shape).unwrap().pixels() * of];
            let x = ConvInput::Channels {
                map: &map,
                shape,
                first: 3,
            };
            let to = ConvOutput::Channels(MapChannels::new(&mut out, 2, of));
            assert!(conv.run(x, to, Epilogue::relu()).unwrap().is_empty());
            for (pixel, expected) in out.chunks_exact(of).zip(expected.chunks_exact(c)) {
                assert_eq!(bits(&pixel[2..2 + c]), bits(expected), "{isa:?} {spec:?}");
                assert_eq!([pixel[0], pixel[1], pixel[2 + c]], [7.0; 3]);
            }
        }
    }
}

/// A 1x1 convolution and a grouped one after it, the map between them cut into planes.
#[test]
fn pairs_equal_the_definition_and_one_after_the_other() {
    let mut rng = Rng::new(12);
    let mut pairs = 0;
    for _ in 0..cases(40) {
        let group = *rng.pick(&[2, 4, 8, 16]);
        let (from, widths, side) = match cfg!(miri) {
            true => (6, [16, 32].as_slice(), 5),
            false => (70, [16, 32, 48, 64, 96, 128].as_slice(), 30),
        };
        let (from, width) = (1 + rng.below(from), *rng.pick(widths));
        let stride = *rng.pick(&[1, 2]);
        let first = ConvSpec::new(from, width, 1);
        let second = ConvSpec::new(width, width, 3)
            .groups(width / group)
            .stride(stride);
        let (n, h, w) = (1 + rng.below(3), 1 + rng.below(side), 1 + rng.below(side));
        let (input, relu) = (Nhwc::new(n, h, w, from), [rng.chance(), rng.chance()]);
        let middle = first.output(input).unwrap();
        let x = rng.normal(input.len());
        let [weight, next_weight] = [first, second].map(|spec| rng.normal(spec.weight_len()));
        let (bias, next_bias) = (rng.normal(width), rng.normal(width));
        let between = naive::conv2d(&x, input, &first, &weight, Some(&bias), None, relu[0]);
        let between: Vec<f32> = between.iter().map(|v| *v as f32).collect();
        let bias_of_next = Some(next_bias.as_slice());
        let expected = naive::conv2d(
            &between,
            middle,
            &second,
            &next_weight,
            bias_of_next,
            None,
            relu[1],
        );
        for isa in Isa::available() {
            let pack = |spec, weight, bias| {
                PackedConv::new(isa, spec, weight, bias, Algorithm::Direct).unwrap()
            };
            let conv = pack(first, &weight, Some(bias.as_slice()));
            let next = pack(second, &next_weight, bias_of_next);
            let Some(pair) = ConvPair::new(&conv, &next) else {
                continue;
            };
            pairs += 1;
            let run = |conv: &PackedConv, x: &[f32], input, relu| {
                let epilogue = Epilogue {
                    relu,
                    ..Epilogue::default()
                };
                let x = ConvInput::Map(x, input);
                conv.run(x, ConvOutput::New, epilogue).unwrap()
            };
            let apart = run(&next, &run(&conv, &x, input, relu[0]), middle, relu[1]);
            for threads in THREADS {
                let found = with_threads(*threads, || pair.run(&x, input, relu));
                assert_eq!(bits(&found.unwrap()), bits(&apart), "{isa:?} {second:?}");
            }
            assert!(relative_l2(&apart, &expected) < 1e-6, "{isa:?} {second:?}");
        }
    }
    // A panel of the portable loop is a cache line, on any machine.
    assert!(pairs > 0);
}
