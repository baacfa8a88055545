//! Several callers at once, and callers that are cut short: always the same bits.

#[allow(dead_code, reason = "each test file uses a part of it")]
mod common;

use common::{Rng, bits, cases};
use resnest_kernels::{
    Algorithm, ConvInput, ConvOutput, ConvSpec, Epilogue, Isa, Map, Nhwc, PackedConv,
    PackedSplitAttention, PoolSpec, SplitAttentionWeights, pool, with_threads,
};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A bottleneck in small: 1x1, split attention, a pool, 1x1 with a residual.
struct Network {
    isa: Isa,
    reduce: PackedConv,
    attention: PackedSplitAttention,
    expand: PackedConv,
    residual: Vec<f32>,
}

/// Side of the input, and channels: of the input, in between, of the output.
const SIDE: usize = if cfg!(miri) { 2 } else { 26 };
const CHANNELS: [usize; 3] = if cfg!(miri) { [3, 4, 5] } else { [24, 16, 40] };

impl Network {
    fn new(isa: Isa, seed: u64, algorithm: Algorithm) -> Self {
        let mut rng = Rng::new(seed);
        let mut pack = |inputs, outputs| {
            let spec = ConvSpec::new(inputs, outputs, 1);
            let weight = rng.normal(spec.weight_len());
            PackedConv::new(isa, spec, &weight, None, Algorithm::Direct).unwrap()
        };
        let [inputs, width, outputs] = CHANNELS;
        let (reduce, expand) = (pack(inputs, width), pack(width, outputs));
        let conv = ConvSpec::new(width, 2 * width, 3).groups(2);
        let hidden = width / 2;
        let weights = [conv.weight_len(), hidden * width, 2 * width * hidden];
        let weights = weights.map(|len| rng.normal(len));
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
        Network {
            isa,
            reduce,
            attention: PackedSplitAttention::new(isa, weights, algorithm).unwrap(),
            expand,
            residual: rng.normal(SIDE * SIDE / 4 * outputs),
        }
    }

    /// `between` runs after each layer.
    fn forward(&self, x: &[f32], between: impl Fn(usize)) -> Map {
        let shape = Nhwc::new(1, SIDE, SIDE, CHANNELS[0]);
        let x = self
            .reduce
            .run(ConvInput::Map(x, shape), ConvOutput::New, Epilogue::relu())
            .unwrap();
        between(0);
        let shape = Nhwc {
            c: CHANNELS[1],
            ..shape
        };
        let x = self.attention.run(&x, shape).unwrap();
        between(1);
        let halve = PoolSpec::shortcut(2);
        let x = pool::pool2d(self.isa, &x, shape, halve).unwrap();
        between(2);
        let last = Epilogue {
            residual: Some(&self.residual),
            ..Epilogue::relu()
        };
        let x = ConvInput::Map(&x, halve.output(shape).unwrap());
        self.expand.run(x, ConvOutput::New, last).unwrap()
    }
}

fn input() -> Vec<f32> {
    Rng::new(30).normal(SIDE * SIDE * CHANNELS[0])
}

fn two_networks(isa: Isa) -> [Network; 2] {
    [
        Network::new(isa, 31, Algorithm::Direct),
        Network::new(isa, 32, Algorithm::WinogradF4),
    ]
}

#[test]
fn two_networks_on_four_threads_give_the_bits_of_one_alone() {
    let x = input();
    for isa in Isa::available() {
        let networks = two_networks(isa);
        let alone = networks
            .each_ref()
            .map(|n| with_threads(1, || bits(&n.forward(&x, |_| ()))));
        std::thread::scope(|scope| {
            for caller in 0..4 {
                let (network, alone, x) = (&networks[caller % 2], &alone[caller % 2], &x);
                scope.spawn(move || {
                    for round in 0..cases(60) {
                        let threads = 1 + (caller + round) % 4;
                        let found = with_threads(threads, || network.forward(x, |_| ()));
                        assert!(bits(&found) == *alone, "caller {caller}, round {round}");
                    }
                });
            }
        });
    }
}

#[test]
fn a_cancelled_caller_disturbs_no_other() {
    let x = input();
    let networks = two_networks(Isa::available().last().unwrap());
    let alone = networks
        .each_ref()
        .map(|n| with_threads(1, || bits(&n.forward(&x, |_| ()))));
    std::thread::scope(|scope| {
        for caller in 0..4 {
            let (network, alone, x) = (&networks[caller % 2], &alone[caller % 2], &x);
            scope.spawn(move || {
                for round in 0..cases(60) {
                    // Half of the callers give up after some layer.
                    let cut = |layer| assert!(caller < 2 || layer != round % 3, "cancelled");
                    let forward = || with_threads(3, || network.forward(x, cut));
                    match catch_unwind(AssertUnwindSafe(forward)) {
                        Ok(found) => assert!(bits(&found) == *alone, "caller {caller}"),
                        Err(_) => assert!(caller >= 2, "caller {caller} was not to be cancelled"),
                    }
                }
                let found = with_threads(3, || network.forward(x, |_| ()));
                assert!(bits(&found) == *alone, "caller {caller} afterwards");
            });
        }
    });
}

#[test]
fn a_caller_whose_thread_died_leaves_the_pool_working() {
    let x = input();
    let [network, _] = two_networks(Isa::available().last().unwrap());
    let alone = with_threads(1, || bits(&network.forward(&x, |_| ())));
    for layer in 0..3 {
        std::thread::scope(|scope| {
            let dies = scope.spawn(|| {
                with_threads(4, || {
                    network.forward(&x, |at| assert!(at != layer, "cancelled"))
                })
            });
            assert!(dies.join().is_err());
        });
        let found = with_threads(4, || network.forward(&x, |_| ()));
        assert!(bits(&found) == alone, "after a death in layer {layer}");
    }
}
