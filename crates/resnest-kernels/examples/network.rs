//! All 112 operations of resnest50d, random weights, through the candle layer: whole-network time.
//!
//! `cargo run --release -p resnest-kernels --example network -- [batch] [side] [exact] [runs]`

use candle_core::{Device, Tensor};
use resnest_kernels::{
    Algorithm, ConvSpec, GlobalPool, Isa, Nhwc, PackedConv, PackedSplitAttention, PoolSpec,
    Precision, Residual, SplitAttentionWeights, choose,
};
use std::collections::BTreeMap;
use std::time::Instant;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Makes layers with random weights and keeps count of bytes.
struct Maker {
    isa: Isa,
    precision: Precision,
    batch: usize,
    seed: u64,
    bytes: usize,
}

impl Maker {
    fn values(&mut self, len: usize, scale: f32) -> Vec<f32> {
        let mut next = || {
            self.seed = self
                .seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            ((self.seed >> 40) as f32 / (1 << 23) as f32 - 1.0) * scale
        };
        (0..len).map(|_| next()).collect()
    }

    fn algorithm(&self, spec: &ConvSpec, side: usize) -> Algorithm {
        choose(
            spec,
            Nhwc::new(self.batch, side, side, spec.in_channels),
            self.precision,
        )
    }

    fn conv(&mut self, spec: ConvSpec, side: usize) -> Result<PackedConv> {
        let fan = (spec.group_in() * spec.taps()) as f32;
        let weight = self.values(spec.weight_len(), (6.0 / fan).sqrt());
        let bias = self.values(spec.out_channels, 0.1);
        let algorithm = self.algorithm(&spec, side);
        let conv = PackedConv::new(self.isa, spec, &weight, Some(&bias), algorithm)?;
        self.bytes += conv.bytes();
        Ok(conv)
    }

    fn attention(&mut self, planes: usize, side: usize) -> Result<PackedSplitAttention> {
        let conv = ConvSpec::new(planes, 2 * planes, 3).groups(2);
        let hidden = (planes / 2).max(32);
        let conv_weight = self.values(conv.weight_len(), (6.0 / (planes as f32 * 4.5)).sqrt());
        let fc1_weight = self.values(planes * hidden, 0.1);
        let fc2_weight = self.values(2 * planes * hidden, 0.1);
        let weights = SplitAttentionWeights {
            conv,
            radix: 2,
            cardinality: 1,
            attention_channels: hidden,
            conv_weight: &conv_weight,
            conv_bias: None,
            fc1_weight: &fc1_weight,
            fc1_bias: None,
            fc2_weight: &fc2_weight,
            fc2_bias: None,
        };
        let packed = PackedSplitAttention::new(self.isa, weights, self.algorithm(&conv, side))?;
        self.bytes += packed.bytes();
        Ok(packed)
    }
}

struct Block {
    conv1: PackedConv,
    attention: PackedSplitAttention,
    avd: Option<PoolSpec>,
    conv3: PackedConv,
    downsample: Option<(Option<PoolSpec>, PackedConv)>,
}

struct Network {
    stem: Vec<PackedConv>,
    blocks: Vec<Block>,
    fc: PackedConv,
}

impl Network {
    fn new(maker: &mut Maker, side: usize) -> Result<Self> {
        let half = side.div_ceil(2);
        let stem = vec![
            maker.conv(ConvSpec::new(3, 32, 3).stride(2), side)?,
            maker.conv(ConvSpec::new(32, 32, 3), half)?,
            maker.conv(ConvSpec::new(32, 64, 3), half)?,
        ];
        let mut blocks = Vec::new();
        let (mut channels, mut side) = (64, half.div_ceil(2));
        for (stage, (planes, count)) in [(64, 3), (128, 4), (256, 6), (512, 3)]
            .into_iter()
            .enumerate()
        {
            for index in 0..count {
                let strided = stage > 0 && index == 0;
                let after = if strided { side.div_ceil(2) } else { side };
                let pool = strided.then(|| PoolSpec::shortcut(2));
                let shortcut = ConvSpec::new(channels, 4 * planes, 1);
                blocks.push(Block {
                    conv1: maker.conv(ConvSpec::new(channels, planes, 1), side)?,
                    attention: maker.attention(planes, side)?,
                    avd: strided.then(|| PoolSpec::avg(3, 2, 1)),
                    conv3: maker.conv(ConvSpec::new(planes, 4 * planes, 1), after)?,
                    downsample: if index == 0 {
                        Some((pool, maker.conv(shortcut, after)?))
                    } else {
                        None
                    },
                });
                (channels, side) = (4 * planes, after);
            }
        }
        let fc = maker.conv(ConvSpec::new(channels, 1000, 1), 1)?;
        Ok(Network { stem, blocks, fc })
    }

    fn forward(&self, x: &Tensor, clock: &mut Clock) -> Result<Tensor> {
        let mut x = x.clone();
        for conv in &self.stem {
            x = clock.time(&format!("stem {}", conv.spec().in_channels), || {
                conv.forward(&x, None, true)
            })?;
        }
        x = clock.time("pools", || PoolSpec::max(3, 2, 1).forward(&x))?;
        for block in &self.blocks {
            x = block.forward(&x, clock)?;
        }
        let pooled = clock.time("head", || GlobalPool::Avg.forward(&x))?;
        Ok(clock.time("head", || self.fc.forward(&pooled, None, false))?)
    }
}

impl Block {
    fn forward(&self, x: &Tensor, clock: &mut Clock) -> Result<Tensor> {
        let shortcut = match &self.downsample {
            None => x.clone(),
            Some((pool, conv)) => {
                let pooled = match pool {
                    Some(pool) => clock.time("pools", || pool.forward(x))?,
                    None => x.clone(),
                };
                clock.time("1x1", || conv.forward(&pooled, None, false))?
            }
        };
        let out = clock.time("1x1", || self.conv1.forward(x, None, true))?;
        let side = out.dim(2)?;
        let part = format!("attention @{side}");
        let Some(avd) = self.avd else {
            let part = format!("{part} + 1x1");
            let run = || {
                self.attention.forward_then(
                    &out,
                    &self.conv3,
                    Some(Residual::Borrowed(&shortcut)),
                    true,
                )
            };
            return Ok(clock.time(&part, run)?);
        };
        let out = clock.time(&part, || self.attention.forward(&out))?;
        let out = clock.time("pools", || avd.forward(&out))?;
        Ok(clock.time("1x1", || {
            self.conv3
                .forward(&out, Some(Residual::Borrowed(&shortcut)), true)
        })?)
    }
}

/// Least time of each operation over the runs, so that a busy machine disturbs little.
#[derive(Default)]
struct Clock {
    next: usize,
    best: Vec<(String, f64)>,
}

impl Clock {
    fn time<T>(&mut self, part: &str, f: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = f();
        let seconds = start.elapsed().as_secs_f64();
        match self.best.get_mut(self.next) {
            Some((_, best)) => *best = best.min(seconds),
            None => self.best.push((part.to_string(), seconds)),
        }
        self.next += 1;
        result
    }

    fn parts(&self) -> BTreeMap<&str, f64> {
        let mut parts = BTreeMap::new();
        for (part, seconds) in &self.best {
            *parts.entry(part.as_str()).or_default() += seconds;
        }
        parts
    }
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number =
        |i: usize, default: usize| args.get(i).and_then(|a| a.parse().ok()).unwrap_or(default);
    let (batch, side, runs) = (number(0, 1), number(1, 224), number(3, 60));
    let exact = args.get(2).is_some_and(|a| a == "exact");
    let mut maker = Maker {
        isa: Isa::detect()?,
        precision: if exact {
            Precision::Exact
        } else {
            Precision::Fast
        },
        batch,
        seed: 1,
        bytes: 0,
    };
    let network = Network::new(&mut maker, side)?;
    println!(
        "weights {:.1} MB, {} threads",
        maker.bytes as f64 / 1e6,
        resnest_kernels::current_threads()
    );
    let x = Tensor::from_vec(
        maker.values(batch * 3 * side * side, 1.0),
        (batch, 3, side, side),
        &Device::Cpu,
    )?;
    resnest_kernels::settle_weights();
    let mut clock = Clock::default();
    let mut times = Vec::new();
    for _ in 0..runs {
        let start = Instant::now();
        network.forward(&x, &mut clock)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        clock.next = 0;
    }
    times.sort_by(f64::total_cmp);
    println!(
        "forward: min {:.2} ms, median {:.2} ms",
        times[0],
        times[times.len() / 2]
    );
    let parts = clock.parts();
    println!(
        "least of each operation: {:.2} ms",
        parts.values().sum::<f64>() * 1e3
    );
    for (part, seconds) in parts {
        println!("  {part:16} {:7.3} ms", seconds * 1e3);
    }
    Ok(())
}
