//! One convolution with random values, held against the naive loop.

use super::{Rng, THREADS, bits, relative_l2};
use resnest_kernels::{
    Algorithm, ConvInput, ConvOutput, ConvSpec, Epilogue, Isa, Nhwc, PackedConv, naive,
    with_threads,
};

/// A convolution, its input and its epilogue.
pub struct Case {
    spec: ConvSpec,
    input: Nhwc,
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
    residual: Option<Vec<f32>>,
    relu: bool,
}

impl Case {
    /// Bias, residual and ReLU by chance.
    pub fn new(rng: &mut Rng, spec: ConvSpec, input: Nhwc) -> Self {
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

    /// With inputs and weights changed: `(values, values of an output channel)` for the weights.
    pub fn with_factors(
        mut self,
        x: impl FnOnce(&mut [f32]),
        weight: impl FnOnce(&mut [f32], usize),
    ) -> Self {
        x(&mut self.x);
        weight(
            &mut self.weight,
            self.spec.weight_len() / self.spec.out_channels,
        );
        self
    }

    /// The results on every instruction set and choice of low-precision kernels.
    pub fn results(&self, algorithm: Algorithm) -> Vec<(String, Vec<f32>, Vec<f32>)> {
        let choices = Isa::available().flat_map(Isa::low_precision_choices);
        let result = |isa: Isa| {
            let mut sums = vec![f32::NAN; self.input.n * self.spec.out_channels];
            let found = self.run(&self.pack(isa, algorithm), 2, Some(&mut sums));
            (format!("{isa:?} {:?}", isa.low_precision()), found, sums)
        };
        choices.map(result).collect()
    }

    fn pack(&self, isa: Isa, algorithm: Algorithm) -> PackedConv {
        let bias = self.bias.as_deref();
        PackedConv::new(isa, self.spec, &self.weight, bias, algorithm).unwrap()
    }

    fn run(&self, conv: &PackedConv, threads: usize, sums: Option<&mut [f32]>) -> Vec<f32> {
        let epilogue = Epilogue {
            relu: self.relu,
            residual: self.residual.as_deref(),
            sums,
        };
        let x = ConvInput::Map(&self.x, self.input);
        let map = with_threads(threads, || conv.run(x, ConvOutput::New, epilogue).unwrap());
        map.to_vec()
    }

    /// All values by the naive loop.
    fn expected(&self) -> Vec<f64> {
        naive::conv2d(
            &self.x,
            self.input,
            &self.spec,
            &self.weight,
            self.bias.as_deref(),
            self.residual.as_deref(),
            self.relu,
        )
    }

    /// On every instruction set and for each algorithm: values within its bound of the
    /// definition, sums, and the same bits for other numbers of threads and without sums.
    pub fn check(&self, algorithms: &[(Algorithm, f64)]) {
        let expected = self.expected();
        // A handful of values may happen to be small against their terms, and a column of equal
        // values (padding alone) is rounded the same way at each addition.
        let few = if expected.len() < 100 { 2.0 } else { 1.0 };
        self.check_each(algorithms, 2e-6, |found| {
            relative_l2(found, &expected) / few
        });
    }

    /// The same, holding only `count` values chosen at random to the definition; gives the
    /// largest error of each algorithm on any instruction set.
    pub fn check_sample(
        &self,
        rng: &mut Rng,
        count: usize,
        algorithms: &[(Algorithm, f64)],
    ) -> Vec<f64> {
        let output = self.spec.output(self.input).unwrap();
        let places: Vec<usize> = (0..count).map(|_| rng.below(output.len())).collect();
        let expected: Vec<f64> = places
            .iter()
            .map(|&at| self.expected_at(output, at))
            .collect();
        self.check_each(algorithms, 1e-6, |found| {
            let found: Vec<f32> = places.iter().map(|&at| found[at]).collect();
            relative_l2(&found, &expected)
        })
    }

    fn expected_at(&self, output: Nhwc, at: usize) -> f64 {
        let (pixel, o) = (at / output.c, at % output.c);
        let (row, ox) = (pixel / output.w, pixel % output.w);
        let place = [row / output.h, row % output.h, ox, o];
        let sum = naive::conv2d_at(&self.x, self.input, &self.spec, &self.weight, place);
        let bias = self.bias.as_ref().map_or(0.0, |b| f64::from(b[o]));
        let residual = self.residual.as_ref().map_or(0.0, |r| f64::from(r[at]));
        let value = sum + bias + residual;
        if self.relu { value.max(0.0) } else { value }
    }

    fn check_each(
        &self,
        algorithms: &[(Algorithm, f64)],
        sums_bound: f64,
        error: impl Fn(&[f32]) -> f64,
    ) -> Vec<f64> {
        let mut worst = vec![0.0; algorithms.len()];
        for (&(algorithm, bound), worst) in algorithms.iter().zip(&mut worst) {
            let low = matches!(
                algorithm,
                Algorithm::DirectBf16
                    | Algorithm::WinogradF2Bf16
                    | Algorithm::WinogradF4Bf16
                    | Algorithm::DirectInt8(_)
            );
            let choices = |isa: Isa| match low {
                true => isa.low_precision_choices().collect(),
                false => vec![isa],
            };
            for isa in Isa::available().flat_map(choices) {
                let found = self.check_threads(isa, algorithm, sums_bound);
                let error = error(&found);
                assert!(
                    error <= bound,
                    "{isa:?} {algorithm:?} {:?} {:?}: {error:e}",
                    self.spec,
                    self.input
                );
                *worst = error.max(*worst);
            }
        }
        worst
    }

    fn check_threads(&self, isa: Isa, algorithm: Algorithm, sums_bound: f64) -> Vec<f32> {
        let conv = self.pack(isa, algorithm);
        let mut sums = vec![f32::NAN; self.input.n * self.spec.out_channels];
        let found = self.run(&conv, 1, Some(&mut sums));
        self.check_sums(&found, &sums, sums_bound);
        let what = || format!("{isa:?} {algorithm:?} {:?} {:?}", self.spec, self.input);
        for &threads in THREADS {
            let mut again = vec![f32::NAN; sums.len()];
            let other = self.run(&conv, threads, Some(&mut again));
            assert!(
                bits(&other) == bits(&found),
                "{threads} threads, {}",
                what()
            );
            assert!(
                bits(&again) == bits(&sums),
                "sums, {threads} threads, {}",
                what()
            );
        }
        let plain = self.run(&conv, 2, None);
        assert!(bits(&plain) == bits(&found), "without sums, {}", what());
        if let Some(residual) = self.residual.as_ref().filter(|_| conv.adds_in_place()) {
            let (mut onto, mut again) = (residual.clone(), vec![f32::NAN; sums.len()]);
            let epilogue = Epilogue {
                relu: self.relu,
                residual: None,
                sums: Some(&mut again),
            };
            let x = ConvInput::Map(&self.x, self.input);
            let run = || conv.run(x, ConvOutput::AddTo(&mut onto), epilogue);
            assert!(with_threads(2, run).unwrap().is_empty());
            assert!(bits(&onto) == bits(&found), "over the residual, {}", what());
            assert!(bits(&again) == bits(&sums), "sums over it, {}", what());
        }
        found
    }

    fn check_sums(&self, found: &[f32], sums: &[f32], bound: f64) {
        let c = self.spec.out_channels;
        let image = found.len() / self.input.n;
        for (index, sum) in sums.iter().enumerate() {
            let values = &found[index / c * image..][..image];
            let (mut exact, mut size) = (0.0, 0.0);
            for value in values.iter().skip(index % c).step_by(c) {
                exact += f64::from(*value);
                size += f64::from(value.abs());
            }
            assert!(
                (f64::from(*sum) - exact).abs() <= bound * size + 1e-9,
                "{sum} for {exact}, {:?} {:?}",
                self.spec,
                self.input
            );
        }
    }
}
