//! Selective kernels against the naive loops.

#[allow(dead_code, reason = "each test file uses a part of it")]
mod common;

use std::sync::Arc;

use common::{Rng, THREADS, bits, cases, most_macs, relative_l2};
use resnest_kernels::{
    Algorithm, ConvInput, ConvOutput, ConvSpec, Epilogue, Isa, Nhwc, PackedConv,
    PackedSplitAttention, SplitAttentionWeights, naive, with_threads,
};

/// Paths of dilation 1, 2, …, and the layers that choose among them.
#[derive(Debug)]
struct Selective {
    paths: Vec<ConvSpec>,
    split_input: bool,
    input: Nhwc,
    hidden: usize,
    weights: Vec<Vec<f32>>,
    bias: Vec<f32>,
    fc1: Vec<f32>,
    fc2: Vec<f32>,
}

impl Selective {
    fn random(rng: &mut Rng) -> Self {
        let paths = *rng.pick(&[1, 2, 2, 2, 3]);
        let (groups, ins, outs) = *rng.pick(&[(1, 5, 16), (1, 16, 20), (8, 4, 4), (2, 10, 8)]);
        let stride = 1 + rng.below(2);
        let path = |dilation| {
            ConvSpec::new(groups * ins, groups * outs, 3)
                .groups(groups)
                .stride(stride)
                .dilation(dilation)
                .padding(dilation)
        };
        let specs: Vec<_> = (1..=paths).map(path).collect();
        let (split_input, hidden) = (rng.chance(), *rng.pick(&[3, 8, 32]));
        let side = if cfg!(miri) { 3 } else { 29 };
        let channels = specs[0].in_channels * if split_input { paths } else { 1 };
        let (n, h, w) = (1 + rng.below(3), 1 + rng.below(side), 1 + rng.below(side));
        let outs = specs[0].out_channels;
        let mut small = |len| rng.normal(len).iter().map(|v| v * 0.1).collect::<Vec<_>>();
        Selective {
            split_input,
            input: Nhwc::new(n, h, w, channels),
            hidden,
            weights: specs.iter().map(|s| small(s.weight_len())).collect(),
            bias: small(outs),
            fc1: small(hidden * outs),
            fc2: small(paths * outs * hidden),
            paths: specs,
        }
    }

    /// What path `index` reads, and its shape.
    fn path_input(&self, x: &[f32], index: usize) -> (Vec<f32>, Nhwc) {
        let c = self.paths[index].in_channels;
        let first = if self.split_input { index * c } else { 0 };
        let pixels = x.chunks_exact(self.input.c);
        let own = pixels.flat_map(|p| p[first..first + c].to_vec()).collect();
        (own, Nhwc { c, ..self.input })
    }

    /// By the loops: the paths side by side, then what split attention does with them.
    fn expected(&self, x: &[f32]) -> Vec<f64> {
        let outs = self.paths[0].out_channels;
        let paths = self.paths.iter().zip(&self.weights).enumerate();
        let paths = paths.map(|(index, (spec, weight))| {
            let (x, shape) = self.path_input(x, index);
            naive::conv2d(&x, shape, spec, weight, Some(&self.bias), None, true)
        });
        let paths: Vec<_> = paths.collect();
        let pixels = paths[0].len() / outs;
        let rows = (0..pixels).flat_map(|p| {
            let rows = paths.iter();
            rows.flat_map(move |path| path[p * outs..(p + 1) * outs].to_vec())
        });
        let splits: Vec<f32> = rows.map(|v| v as f32).collect();
        let (_, shape) = self.path_input(x, 0);
        let one = self.paths[0].output(shape).unwrap();
        let shape = Nhwc {
            c: outs * self.paths.len(),
            ..one
        };
        let weights = SplitAttentionWeights {
            conv: self.paths[0],
            radix: self.paths.len(),
            cardinality: 1,
            attention_channels: self.hidden,
            conv_weight: &[],
            conv_bias: None,
            fc1_weight: &self.fc1,
            fc1_bias: None,
            fc2_weight: &self.fc2,
            fc2_bias: None,
        };
        naive::split_attention(&splits, shape, &weights)
    }

    fn pack(&self, isa: Isa, algorithm: Algorithm) -> PackedSplitAttention {
        let conv = |spec, weight: &[f32], bias, algorithm| {
            Arc::new(PackedConv::new(isa, spec, weight, bias, algorithm).unwrap())
        };
        let paths = self.paths.iter().zip(&self.weights).map(|(&spec, weight)| {
            let supported = algorithm.supports(&spec);
            let algorithm = if supported {
                algorithm
            } else {
                Algorithm::Direct
            };
            conv(spec, weight, Some(&self.bias[..]), algorithm)
        });
        let (outs, radix) = (self.paths[0].out_channels, self.paths.len());
        let fc1 = ConvSpec::new(outs, self.hidden, 1);
        let fc2 = ConvSpec::new(self.hidden, radix * outs, 1);
        let fcs = [
            conv(fc1, &self.fc1, None, Algorithm::Direct),
            conv(fc2, &self.fc2, None, Algorithm::Direct),
        ];
        PackedSplitAttention::selective(paths.collect(), self.split_input, fcs).unwrap()
    }

    fn check(&self, x: &[f32]) {
        let expected = self.expected(x);
        for isa in Isa::available() {
            for (algorithm, bound) in [
                (Algorithm::Direct, 2e-6),
                (Algorithm::WinogradF2, 3e-6),
                (Algorithm::WinogradF4, 2e-5),
                (Algorithm::WinogradF5, 4e-5),
                (Algorithm::WinogradF6, 4e-5),
            ] {
                let packed = self.pack(isa, algorithm);
                let run = |threads| with_threads(threads, || packed.run(x, self.input).unwrap());
                let found = run(1);
                let error = relative_l2(&found, &expected);
                assert!(error < bound, "{isa:?} {algorithm:?} {self:?}: {error:e}");
                for &threads in THREADS {
                    assert!(
                        bits(&run(threads)) == bits(&found),
                        "{threads} threads, {self:?}"
                    );
                }
                self.check_then(isa, &packed, x, &found);
            }
        }
    }

    /// Followed by a 1x1 in one step: the bits of the two steps.
    fn check_then(&self, isa: Isa, packed: &PackedSplitAttention, x: &[f32], found: &[f32]) {
        let output = packed.output(self.input).unwrap();
        let next = ConvSpec::new(output.c, 20, 1);
        let weight: Vec<f32> = (0..20 * output.c).map(|i| (i % 7) as f32 - 3.0).collect();
        let next = PackedConv::new(isa, next, &weight, None, Algorithm::Direct).unwrap();
        let apart = next
            .run(
                ConvInput::Map(found, output),
                ConvOutput::New,
                Epilogue::default(),
            )
            .unwrap();
        let together = packed.run_then(
            ConvInput::Map(x, self.input),
            &next,
            ConvOutput::New,
            Epilogue::default(),
        );
        assert!(
            bits(&together.unwrap()) == bits(&apart),
            "with the next, {self:?}"
        );
    }
}

#[test]
fn selective_kernels_equal_the_definition() {
    let mut rng = Rng::new(31);
    let mut tried = 0;
    while tried < cases(60) {
        let case = Selective::random(&mut rng);
        let (_, shape) = case.path_input(&[], 0);
        if case.paths[0].macs(shape).unwrap() < most_macs() / 4 {
            case.check(&rng.normal(case.input.len()));
            tried += 1;
        }
    }
}

#[test]
fn layers_that_do_not_fit_are_refused() {
    let conv = |spec: ConvSpec| {
        let weight = vec![0.0; spec.weight_len()];
        let packed = PackedConv::new(Isa::portable(), spec, &weight, None, Algorithm::Direct);
        Arc::new(packed.unwrap())
    };
    let path = |outs| conv(ConvSpec::new(4, outs, 3));
    let fcs = || [conv(ConvSpec::new(8, 3, 1)), conv(ConvSpec::new(3, 16, 1))];
    let new = |paths, fcs| {
        let made = PackedSplitAttention::selective(paths, false, fcs);
        made.map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(new(vec![path(8), path(8)], fcs()), Ok(()));
    assert!(new(vec![], fcs()).unwrap_err().contains("no path"));
    assert!(
        new(vec![path(8), path(7)], fcs())
            .unwrap_err()
            .contains("do not fit")
    );
    assert!(
        new(vec![path(8)], fcs())
            .unwrap_err()
            .contains("do not fit")
    );
    let [fc1, fc2] = fcs();
    assert!(
        new(vec![path(8), path(8)], [fc2, fc1])
            .unwrap_err()
            .contains("do not fit")
    );
    let uneven = vec![path(8), conv(ConvSpec::new(4, 8, 3).padding(0))];
    let kernel = PackedSplitAttention::selective(uneven, false, fcs()).unwrap();
    let text = kernel
        .run(&[0.0; 100], Nhwc::new(1, 5, 5, 4))
        .unwrap_err()
        .to_string();
    assert!(text.contains("splits"), "{text}");
}
