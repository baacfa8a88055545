//! Every convolution path, instruction set and epilogue against the naive loop.

mod common;

use common::{Rng, cases, most_macs, relative_l2};
use resnest_kernels::{Algorithm, ConvSpec, Epilogue, Isa, Nhwc, PackedConv, naive, with_threads};

/// One random convolution with its input.
struct Case {
    spec: ConvSpec,
    input: Nhwc,
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
    residual: Option<Vec<f32>>,
    relu: bool,
}

impl Case {
    fn new(rng: &mut Rng, spec: ConvSpec, input: Nhwc) -> Self {
        let output = spec.output(input).unwrap();
        Case {
            spec,
            input,
            x: rng.normal(input.len()),
            weight: rng.normal(spec.weight_len()),
            bias: rng.chance().then(|| rng.normal(spec.out_channels)),
            residual: rng.chance().then(|| rng.normal(output.len())),
            relu: rng.chance(),
        }
    }

    fn expected(&self) -> Vec<f64> {
        let bias = self.bias.as_deref();
        let residual = self.residual.as_deref();
        naive::conv2d(
            &self.x,
            self.input,
            &self.spec,
            &self.weight,
            bias,
            residual,
            self.relu,
        )
    }

    fn pack(&self, isa: Isa, algorithm: Algorithm) -> PackedConv {
        PackedConv::new(
            isa,
            self.spec,
            &self.weight,
            self.bias.as_deref(),
            algorithm,
        )
        .unwrap()
    }

    fn run(&self, conv: &PackedConv, sums: Option<&mut [f32]>) -> Vec<f32> {
        let epilogue = Epilogue {
            relu: self.relu,
            residual: self.residual.as_deref(),
            sums,
        };
        conv.run(&self.x, self.input, epilogue).unwrap()
    }

    /// Values, sums, and the same bits for other thread counts and without sums.
    fn check(&self, algorithm: Algorithm, bound: f64) {
        let expected = self.expected();
        let output = self.spec.output(self.input).unwrap();
        for isa in Isa::available() {
            let conv = self.pack(isa, algorithm);
            let mut sums = vec![f32::NAN; output.n * output.c];
            let found = with_threads(1, || self.run(&conv, Some(&mut sums)));
            let error = relative_l2(&found, &expected);
            assert!(
                error <= bound,
                "{isa:?} {algorithm:?} {:?} {:?}: {error:e}",
                self.spec,
                self.input
            );
            self.check_sums(&found, &sums);
            for threads in [2, 3, 7] {
                let mut again = vec![f32::NAN; sums.len()];
                let other = with_threads(threads, || self.run(&conv, Some(&mut again)));
                assert_eq!(
                    bits(&other),
                    bits(&found),
                    "{threads} threads, {:?}",
                    self.spec
                );
                assert_eq!(bits(&again), bits(&sums), "sums, {threads} threads");
            }
            let plain = with_threads(2, || self.run(&conv, None));
            assert_eq!(bits(&plain), bits(&found), "without sums, {:?}", self.spec);
        }
    }

    fn check_sums(&self, found: &[f32], sums: &[f32]) {
        let c = self.spec.out_channels;
        let image = found.len() / self.input.n;
        for (index, sum) in sums.iter().enumerate() {
            let column = found[index / c * image..][..image]
                .iter()
                .skip(index % c)
                .step_by(c);
            let (mut exact, mut size) = (0.0, 0.0);
            for value in column {
                exact += f64::from(*value);
                size += f64::from(value.abs());
            }
            assert!(
                (f64::from(*sum) - exact).abs() <= 1e-6 * size + 1e-9,
                "{sum} for {exact}"
            );
        }
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

fn random_spec(rng: &mut Rng) -> ConvSpec {
    let groups = *rng.pick(&[1, 1, 1, 2, 3, 4, 8]);
    let per_in = *rng.pick(&[1, 2, 3, 4, 5, 8, 10, 16, 24, 33, 40]);
    let per_out = *rng.pick(&[1, 2, 4, 7, 8, 10, 16, 17, 24, 32, 40, 50]);
    let kernel = *rng.pick(&[1, 1, 3, 3, 3, 2, 5, 7]);
    ConvSpec::new(groups * per_in, groups * per_out, kernel)
        .groups(groups)
        .stride(*rng.pick(&[1, 1, 2, 3]))
        .dilation(*rng.pick(&[1, 1, 2, 3]))
        .padding(rng.below(kernel + 1))
}

#[test]
fn direct_equals_the_definition_on_random_shapes() {
    let mut rng = Rng::new(1);
    let mut tried = 0;
    while tried < cases(150) {
        let spec = random_spec(&mut rng);
        let n = *rng.pick(&[1, 1, 2, 3, 9]);
        let input = Nhwc::new(n, 1 + rng.below(13), 1 + rng.below(13), spec.in_channels);
        if spec.macs(input).is_ok_and(|macs| macs < most_macs()) {
            Case::new(&mut rng, spec, input).check(Algorithm::Direct, 5e-7);
            tried += 1;
        }
    }
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
        Case::new(&mut rng, spec, input).check(Algorithm::Direct, 5e-7);
    }
}

#[test]
fn winograd_equals_the_definition_on_random_shapes() {
    let mut rng = Rng::new(3);
    let mut tried = 0;
    while tried < cases(120) {
        let groups = *rng.pick(&[1, 1, 2, 3, 8]);
        let per_in = *rng.pick(&[1, 3, 8, 10, 16, 24, 33, 40, 64]);
        let per_out = *rng.pick(&[1, 4, 8, 10, 16, 17, 24, 32, 40, 50]);
        let spec = ConvSpec::new(groups * per_in, groups * per_out, 3)
            .groups(groups)
            .padding(rng.below(4));
        let n = *rng.pick(&[1, 1, 2, 3, 9]);
        let input = Nhwc::new(n, 1 + rng.below(29), 1 + rng.below(29), spec.in_channels);
        if spec.macs(input).is_ok_and(|macs| macs < most_macs()) {
            let case = Case::new(&mut rng, spec, input);
            case.check(Algorithm::WinogradF2, 1e-6);
            case.check(Algorithm::WinogradF4, 5e-6);
            tried += 1;
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
        let case = Case::new(&mut rng, spec, input);
        case.check(Algorithm::WinogradF2, 1e-6);
        case.check(Algorithm::WinogradF4, 5e-6);
    }
}

#[test]
fn an_empty_batch_gives_nothing() {
    let spec = ConvSpec::new(4, 4, 3);
    let conv =
        PackedConv::new(Isa::portable(), spec, &[0.5; 144], None, Algorithm::Direct).unwrap();
    let out = conv
        .run(&[], Nhwc::new(0, 5, 5, 4), Epilogue::default())
        .unwrap();
    assert!(out.is_empty());
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
    let text = conv
        .run(&[0.0; 7], Nhwc::new(1, 1, 2, 4), Epilogue::default())
        .unwrap_err();
    assert!(text.to_string().contains("input holds 7"), "{text}");
    let small = conv.run(&[0.0; 4], Nhwc::new(1, 1, 1, 4), Epilogue::default());
    assert_eq!(small.unwrap(), [0.0; 4]);
    let conv = new(spec.padding(0), &[0.0; 144]).unwrap();
    let text = conv
        .run(&[0.0; 4], Nhwc::new(1, 1, 1, 4), Epilogue::default())
        .unwrap_err();
    assert!(text.to_string().contains("kernel"), "{text}");
}
