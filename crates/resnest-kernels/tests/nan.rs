//! What is no number, or no finite one, goes through every kernel as PyTorch lets it through.
//!
//! The definitions of `naive` are held to values recorded from PyTorch first, the kernels to them then:
//! of every output value its kind, and of those that are numbers, in `pools`, the value too.

#[allow(dead_code, reason = "each test file uses a part of it")]
mod common;

use common::{Rng, cases};
use resnest_kernels::gate::{GateEpilogue, gate_in_place, gated_sum};
use resnest_kernels::pool::{global_pool, pool2d};
use resnest_kernels::{
    Algorithm, ConvInput, ConvOutput, ConvSpec, Epilogue, GlobalPool, Isa, Nhwc, PackedConv,
    PackedSplitAttention, PoolKind, PoolSpec, SplitAttentionWeights, naive,
};

const SPECIAL: [f32; 3] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Nan,
    Infinity,
    MinusInfinity,
    Number,
}

fn kind(value: f64) -> Kind {
    match value {
        v if v.is_nan() => Kind::Nan,
        f64::INFINITY => Kind::Infinity,
        f64::NEG_INFINITY => Kind::MinusInfinity,
        _ => Kind::Number,
    }
}

fn kinds(values: &[f32]) -> Vec<Kind> {
    values.iter().map(|v| kind(f64::from(*v))).collect()
}

fn kinds_of(values: &[f64]) -> Vec<Kind> {
    values.iter().map(|v| kind(*v)).collect()
}

/// The values with one of them replaced by one that is no number or infinite.
fn plant(rng: &mut Rng, values: &mut [f32]) -> usize {
    let at = rng.below(values.len());
    values[at] = *rng.pick(&SPECIAL);
    at
}

/// Recorded from torch 2.x on the CPU, by hand: the functions timm calls, of the values in the comments.
#[test]
fn the_definitions_are_pytorchs() {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    let same = |found: &[f64], expected: &[f64]| {
        let equal = |(a, b): (&f64, &f64)| a == b || a.is_nan() && b.is_nan();
        assert!(found.iter().zip(expected).all(equal), "{found:?}");
    };
    let (n, i) = (f64::NAN, f64::INFINITY);
    // torch.relu([nan, inf, -inf, -1, 2])
    let row = Nhwc::new(1, 1, 5, 1);
    let one = ConvSpec::new(1, 1, 1);
    let x = [nan, inf, -inf, -1.0, 2.0];
    let relu = naive::conv2d(&x, row, &one, &[1.0], None, None, true);
    same(&relu, &[n, i, 0.0, 0.0, 2.0]);
    // F.max_pool2d of windows [nan, 1], [1, nan], [-inf, -inf], [-inf, 3], [inf, 3]
    let x = [nan, 1.0, 1.0, nan, -inf, -inf, -inf, 3.0, inf, 3.0];
    let spec = PoolSpec::max(2, 2, 0);
    let columns = Nhwc::new(1, 2, 10, 1);
    let twice = [x, x].concat();
    same(&naive::pool2d(&twice, columns, spec), &[n, n, -i, 3.0, i]);
    // F.avg_pool2d of the windows [nan, 1], [-inf, 3], [inf, -inf]
    let x = [nan, 1.0, -inf, 3.0, inf, -inf];
    let twice = [x, x].concat();
    let columns = Nhwc::new(1, 2, 6, 1);
    let means = naive::pool2d(&twice, columns, PoolSpec::avg(2, 2, 0));
    same(&means, &[n, -i, n]);
    // softmax([nan, 0]) = [nan, nan], ([inf, 0]) = [nan, nan], ([-inf, 0]) = [0, 1]; the weighted sums
    // of the splits 2 and 3 by them, and by softmax([1000, 0]) = [1, 0].
    for (logit, expected) in [(nan, n), (inf, n), (-inf, 3.0), (1000.0, 2.0)] {
        same(&attention_of(&[2.0, 3.0], &[logit, 0.0]), &[expected]);
    }
    // sigmoid(nan) = nan, sigmoid(inf) = 1, sigmoid(-inf) = 0
    for (logit, expected) in [(nan, n), (inf, 2.0), (-inf, 0.0)] {
        same(&attention_of(&[2.0], &[logit]), &[expected]);
    }
}

/// The weighted sum of the splits of one pixel and channel whose attention has these logits.
fn attention_of(splits: &[f32], logits: &[f32]) -> Vec<f64> {
    let radix = splits.len();
    let weights = SplitAttentionWeights {
        conv: ConvSpec::new(1, radix, 1),
        radix,
        cardinality: 1,
        attention_channels: 1,
        conv_weight: &vec![1.0; radix],
        conv_bias: None,
        fc1_weight: &[0.0],
        fc1_bias: None,
        fc2_weight: &vec![0.0; radix],
        fc2_bias: Some(logits),
    };
    naive::split_attention(splits, Nhwc::new(1, 1, 1, radix), &weights)
}

/// A convolution with one special value in its input, weights, bias or residual.
struct Planted {
    spec: ConvSpec,
    input: Nhwc,
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    residual: Vec<f32>,
    relu: bool,
}

impl Planted {
    fn new(rng: &mut Rng, spec: ConvSpec, input: Nhwc) -> Self {
        let output = spec.output(input).unwrap();
        let mut case = Planted {
            spec,
            input,
            x: rng.normal(input.len()),
            weight: rng.normal(spec.weight_len()),
            bias: rng.normal(spec.out_channels),
            residual: rng.normal(output.len()),
            relu: rng.chance(),
        };
        match rng.below(4) {
            0 => plant(rng, &mut case.x),
            1 => plant(rng, &mut case.weight),
            2 => plant(rng, &mut case.bias),
            _ => plant(rng, &mut case.residual),
        };
        case
    }

    fn definition(&self, relu: bool) -> Vec<f64> {
        let (bias, residual) = (Some(&self.bias[..]), Some(&self.residual[..]));
        let x = &self.x;
        naive::conv2d(
            x,
            self.input,
            &self.spec,
            &self.weight,
            bias,
            residual,
            relu,
        )
    }

    /// The same with the zeros of the padding multiplied: a weight that is not finite makes them NaN.
    fn definition_with_zeros(&self) -> Vec<f64> {
        let (p, c) = (self.spec.padding, self.input.c);
        let padded = Nhwc {
            h: self.input.h + 2 * p,
            w: self.input.w + 2 * p,
            ..self.input
        };
        let mut x = vec![0.0; padded.len()];
        for (pixel, values) in self.x.chunks_exact(c).enumerate() {
            let (row, column) = (pixel / self.input.w, pixel % self.input.w);
            let (image, y) = (row / self.input.h, row % self.input.h);
            let at = ((image * padded.h + y + p) * padded.w + column + p) * c;
            x[at..at + c].copy_from_slice(values);
        }
        let (bias, residual) = (Some(&self.bias[..]), Some(&self.residual[..]));
        let spec = self.spec.padding(0);
        naive::conv2d(&x, padded, &spec, &self.weight, bias, residual, self.relu)
    }

    fn run(&self, isa: Isa, algorithm: Algorithm) -> (Vec<f32>, Vec<f32>) {
        let bias = Some(&self.bias[..]);
        let conv = PackedConv::new(isa, self.spec, &self.weight, bias, algorithm).unwrap();
        let mut sums = vec![0.0; self.input.n * self.spec.out_channels];
        let epilogue = Epilogue {
            relu: self.relu,
            residual: Some(&self.residual),
            sums: Some(&mut sums),
        };
        let x = ConvInput::Map(&self.x, self.input);
        let out = conv.run(x, ConvOutput::New, epilogue).unwrap().to_vec();
        if conv.adds_in_place() {
            let mut onto = self.residual.clone();
            let epilogue = Epilogue {
                relu: self.relu,
                ..Epilogue::default()
            };
            conv.run(x, ConvOutput::AddTo(&mut onto), epilogue).unwrap();
            assert_eq!(kinds(&onto), kinds(&out), "over the residual");
        }
        (out, sums)
    }

    /// A sum over an image's channel is what its values make it.
    fn check_sums(&self, out: &[f32], sums: &[f32]) {
        let c = self.spec.out_channels;
        let image = out.len() / self.input.n;
        for (index, sum) in sums.iter().enumerate() {
            let values = out[index / c * image..][..image].iter();
            let expected: f64 = values
                .skip(index % c)
                .step_by(c)
                .copied()
                .map(f64::from)
                .sum();
            assert_eq!(kind(f64::from(*sum)), kind(expected), "{:?}", self.spec);
        }
    }

    /// Every value is of the kind that the definition gives.
    fn check_direct(&self) {
        let expected = kinds_of(&self.definition(self.relu));
        let multiplied = kinds_of(&self.definition_with_zeros());
        for isa in Isa::available() {
            let (out, sums) = self.run(isa, Algorithm::Direct);
            for (at, found) in kinds(&out).into_iter().enumerate() {
                assert!(
                    found == expected[at] || found == multiplied[at],
                    "{isa:?} {:?} {:?}: {found:?} for {:?} at {at}",
                    self.spec,
                    self.input,
                    expected[at]
                );
            }
            self.check_sums(&out, &sums);
        }
    }

    /// A tile shares what it has: what the definition makes NaN is, infinities are no numbers, and
    /// nothing far away or of another image is touched.
    fn check_winograd(&self, algorithm: Algorithm) {
        let output = self.spec.output(self.input).unwrap();
        let bare = kinds_of(&self.definition(false));
        let touched = |at: usize| bare[at] != Kind::Number;
        let (touched_images, touched_channels): (Vec<_>, Vec<_>) = (0..bare.len())
            .filter(|&at| touched(at))
            .map(|at| (at / (output.h * output.w * output.c), at % output.c))
            .unzip();
        for isa in Isa::available() {
            let (out, sums) = self.run(isa, algorithm);
            for (at, found) in kinds(&out).into_iter().enumerate() {
                let what = || {
                    format!(
                        "{isa:?} {algorithm:?} {:?} {:?} {at}",
                        self.spec, self.input
                    )
                };
                match bare[at] {
                    Kind::Nan => assert_eq!(found, Kind::Nan, "{}", what()),
                    Kind::Infinity => assert_ne!(found, Kind::Number, "{}", what()),
                    Kind::MinusInfinity if !self.relu => {
                        assert_ne!(found, Kind::Number, "{}", what())
                    }
                    Kind::MinusInfinity => {
                        assert_ne!(found, Kind::Infinity, "{}", what())
                    }
                    Kind::Number if found != Kind::Number => {
                        let image = at / (output.h * output.w * output.c);
                        let near = touched_images.contains(&image)
                            && touched_channels.contains(&(at % output.c));
                        // A weight whose every pixel is padding here still is in all tiles.
                        assert!(
                            near || self.weight.iter().any(|w| !w.is_finite()),
                            "{}",
                            what()
                        );
                    }
                    Kind::Number => {}
                }
            }
            self.check_sums(&out, &sums);
        }
    }
}

fn shape(rng: &mut Rng, channels: usize) -> Nhwc {
    let side = if cfg!(miri) { 3 } else { 12 };
    let (n, h, w) = (1 + rng.below(3), 1 + rng.below(side), 1 + rng.below(side));
    Nhwc::new(n, h, w, channels)
}

/// Among them each way to compute one: by single taps, rows of taps, gathered taps, channel by channel,
/// and in narrow groups of every width by rows and by pixels.
#[test]
fn direct_convolutions_let_them_through() {
    let mut rng = Rng::new(41);
    let mut tried = 0;
    while tried < cases(300) {
        let (kernel, group) = (*rng.pick(&[1, 3, 3, 5]), *rng.pick(&[1, 2, 4, 8, 16]));
        let dense = ConvSpec::new(1 + rng.below(40), 1 + rng.below(40), kernel);
        let groups = 2 + rng.below(3);
        let narrow = ConvSpec::new(groups * group, groups * group, kernel).groups(groups);
        let spec = if rng.chance() { dense } else { narrow }
            .stride(1 + rng.below(2))
            .dilation(*rng.pick(&[1, 1, 2]))
            .padding(rng.below(kernel));
        let input = shape(&mut rng, spec.in_channels);
        if spec.output(input).is_ok() {
            Planted::new(&mut rng, spec, input).check_direct();
            tried += 1;
        }
    }
}

#[test]
fn winograds_convolutions_let_them_through() {
    let mut rng = Rng::new(42);
    let mut tried = 0;
    while tried < cases(150) {
        let groups = 1 + rng.below(2);
        let (ins, outs) = (groups * (1 + rng.below(20)), groups * (1 + rng.below(20)));
        let spec = ConvSpec::new(ins, outs, 3)
            .groups(groups)
            .stride(1 + rng.below(2))
            .padding(rng.below(3));
        let input = shape(&mut rng, spec.in_channels);
        if spec.output(input).is_err() {
            continue;
        }
        tried += 1;
        let case = Planted::new(&mut rng, spec, input);
        for algorithm in Algorithm::ALL {
            if algorithm != Algorithm::Direct && algorithm.supports(&spec) {
                case.check_winograd(algorithm);
            }
        }
    }
}

/// Wherever in a window they are, and beside each other: the values too.
#[test]
fn pools_let_them_through() {
    let mut rng = Rng::new(43);
    let mut tried = 0;
    while tried < cases(200) {
        let kernel = 1 + rng.below(4);
        let spec = PoolSpec {
            kind: *rng.pick(&[
                PoolKind::Max,
                PoolKind::Max,
                PoolKind::Avg,
                PoolKind::AvgCounted,
            ]),
            kernel,
            stride: 1 + rng.below(3),
            padding: [rng.below(kernel), rng.below(kernel)],
            ceil: rng.chance(),
        };
        let channels = 1 + rng.below(40);
        let shape = shape(&mut rng, channels);
        if spec.output(shape).is_err() {
            continue;
        }
        tried += 1;
        let mut x = rng.normal(shape.len());
        for _ in 0..1 + x.len() / 10 {
            plant(&mut rng, &mut x);
        }
        let expected = naive::pool2d(&x, shape, spec);
        for isa in Isa::available() {
            let found = pool2d(isa, &x, shape, spec).unwrap();
            assert_eq!(kinds(&found), kinds_of(&expected), "{isa:?} {spec:?}");
            let numbers = found.iter().zip(&expected).filter(|(f, _)| f.is_finite());
            let tolerance = if spec.kind == PoolKind::Max {
                0.0
            } else {
                1e-5
            };
            numbers.for_each(|(f, e)| assert!((f64::from(*f) - e).abs() <= tolerance));
        }
        check_global(&x, shape);
    }
}

fn check_global(x: &[f32], shape: Nhwc) {
    let per_image = shape.h * shape.w * shape.c;
    let channel = |index: usize| {
        let image = &x[index / shape.c * per_image..][..per_image];
        let values = image.iter().skip(index % shape.c).step_by(shape.c);
        values.map(|v| f64::from(*v))
    };
    let largest = |a: f64, b: f64| if a.is_nan() || a > b { a } else { b };
    let all = 0..shape.n * shape.c;
    let most: Vec<f64> = all
        .clone()
        .map(|i| channel(i).fold(f64::NEG_INFINITY, largest))
        .collect();
    let sums: Vec<f64> = all.map(|i| channel(i).sum()).collect();
    for isa in Isa::available() {
        let found = global_pool(isa, x, shape, GlobalPool::Max).unwrap();
        assert_eq!(kinds(&found), kinds_of(&most), "{isa:?} {shape:?}");
        let numbers = found.iter().zip(&most).filter(|(f, _)| f.is_finite());
        numbers.for_each(|(f, e)| assert_eq!(f64::from(*f), *e));
        let found = global_pool(isa, x, shape, GlobalPool::Avg).unwrap();
        assert_eq!(kinds(&found), kinds_of(&sums), "{isa:?} {shape:?}");
    }
}

#[test]
fn weighted_sums_let_them_through() {
    let mut rng = Rng::new(44);
    for _ in 0..cases(100) {
        let channels = 1 + rng.below(40);
        let shape = shape(&mut rng, channels);
        let mut values = [shape.len(), shape.len(), shape.n * shape.c].map(|len| rng.normal(len));
        let planted = rng.below(3);
        plant(&mut rng, &mut values[planted]);
        let [x, residual, gates] = &values;
        let relu = rng.chance();
        let expected = (0..shape.len()).map(|i| {
            let gate = gates[i / (shape.h * shape.w * shape.c) * shape.c + i % shape.c];
            let value = f64::from(x[i]) * f64::from(gate) + f64::from(residual[i]);
            if relu && value < 0.0 { 0.0 } else { value }
        });
        let expected = kinds_of(&expected.collect::<Vec<_>>());
        let epilogue = GateEpilogue {
            residual: Some(residual),
            relu,
        };
        let found = gated_sum(&[x], gates, shape, epilogue).unwrap();
        assert_eq!(kinds(&found), expected);
        for isa in Isa::available() {
            let mut found = x.clone();
            gate_in_place(isa, &mut found, gates, shape, epilogue).unwrap();
            assert_eq!(kinds(&found), expected, "{isa:?}");
        }
    }
}

/// The whole of a split attention: convolution, means, both small layers, softmax or sigmoid, sum.
#[test]
fn split_attention_lets_them_through() {
    let mut rng = Rng::new(45);
    for round in 0..cases(120) {
        let (radix, cardinality) = (1 + rng.below(4), 1 + rng.below(2));
        let groups = radix * cardinality;
        let (ins, outs) = (groups * (1 + rng.below(8)), groups * (1 + rng.below(12)));
        let conv = ConvSpec::new(ins, outs, 3).groups(groups);
        let hidden = cardinality * (1 + rng.below(8));
        let input = shape(&mut rng, ins);
        let channels = outs / radix;
        let lens = [
            input.len(),
            conv.weight_len(),
            outs,
            hidden * channels / cardinality,
            hidden,
            outs * hidden / cardinality,
            outs,
        ];
        let mut values = lens.map(|len| rng.normal(len));
        plant(&mut rng, &mut values[round % lens.len()]);
        let [
            x,
            conv_weight,
            conv_bias,
            fc1_weight,
            fc1_bias,
            fc2_weight,
            fc2_bias,
        ] = &values;
        let weights = SplitAttentionWeights {
            conv,
            radix,
            cardinality,
            attention_channels: hidden,
            conv_weight,
            conv_bias: Some(conv_bias),
            fc1_weight,
            fc1_bias: Some(fc1_bias),
            fc2_weight,
            fc2_bias: Some(fc2_bias),
        };
        let splits = splits_of(x, input, &conv, conv_weight, conv_bias);
        let output = conv.output(input).unwrap();
        let expected = splits.map(|splits| naive::split_attention(&splits, output, &weights));
        let [expected, multiplied] = expected.map(|values| kinds_of(&values));
        for isa in Isa::available() {
            let packed = PackedSplitAttention::new(isa, weights, Algorithm::Direct).unwrap();
            let found = kinds(&packed.run(x, input).unwrap());
            assert!(
                found == expected || found == multiplied,
                "{isa:?} {conv:?} {input:?}, {round}: {found:?} for {expected:?}"
            );
        }
    }
}

/// A convolution with ReLU, the zeros of the padding left out, and multiplied.
fn splits_of(
    x: &[f32],
    input: Nhwc,
    spec: &ConvSpec,
    weight: &[f32],
    bias: &[f32],
) -> [Vec<f32>; 2] {
    let output = spec.output(input).unwrap();
    let case = Planted {
        spec: *spec,
        input,
        x: x.to_vec(),
        weight: weight.to_vec(),
        bias: bias.to_vec(),
        residual: vec![0.0; output.len()],
        relu: true,
    };
    let both = [case.definition(true), case.definition_with_zeros()];
    both.map(|splits| splits.into_iter().map(|v| v as f32).collect())
}
