//! GFLOP/s of every distinct convolution of a resnest50d at 224.
//!
//! `cargo run --release -p resnest-kernels --example layers -- [batch] [4s2x40d|1s4x24d|32x4d]`

use resnest_kernels::{
    Algorithm, ConvInput, ConvOutput, ConvSpec, Epilogue, InputScale, Isa, MapChannels, Nhwc,
    PackedConv,
};
use std::time::Instant;

/// Shape of one layer, side of its input, how often it occurs, whether a residual is added.
struct Layer {
    spec: ConvSpec,
    side: usize,
    count: usize,
    residual: bool,
}

/// radix, cardinality, base width, whether the avd pool comes before the 3x3, whether that has its stride.
fn variant(name: &str) -> (usize, usize, usize, bool, bool) {
    match name {
        "4s2x40d" => (4, 2, 40, true, false),
        "1s4x24d" => (1, 4, 24, true, false),
        // ResNeXt-50 32x4d has these convolutions too, but for its stem.
        "32x4d" => (1, 32, 4, false, true),
        _ => (2, 1, 64, false, false),
    }
}

fn layers(name: &str) -> Vec<Layer> {
    let (radix, cardinality, base, avd_first, stride) = variant(name);
    let mut list = Vec::new();
    let mut add = |spec, side, count, residual| {
        list.push(Layer {
            spec,
            side,
            count,
            residual,
        });
    };
    add(ConvSpec::new(3, 32, 3).stride(2), 224, 1, false);
    add(ConvSpec::new(32, 32, 3), 112, 1, false);
    add(ConvSpec::new(32, 64, 3), 112, 1, false);
    let mut input = 64;
    for (stage, (planes, blocks)) in [(64, 3), (128, 4), (256, 6), (512, 3)]
        .into_iter()
        .enumerate()
    {
        let side = 56 >> stage;
        let before = if stage == 0 { side } else { 2 * side };
        let (wide, width) = (4 * planes, planes * base / 64 * cardinality);
        let split = ConvSpec::new(width, width * radix, 3).groups(cardinality * radix);
        add(ConvSpec::new(input, width, 1), before, 1, false);
        let first = if stride {
            split.stride(before / side)
        } else {
            split
        };
        add(first, if avd_first { side } else { before }, 1, false);
        add(ConvSpec::new(input, wide, 1), side, 1, false);
        add(ConvSpec::new(width, wide, 1), side, blocks, true);
        add(ConvSpec::new(wide, width, 1), side, blocks - 1, false);
        add(split, side, blocks - 1, false);
        input = wide;
    }
    list
}

fn main() {
    let mut args = std::env::args().skip(1);
    let batch: usize = args.next().and_then(|a| a.parse().ok()).unwrap_or(1);
    let isa = Isa::detect().expect("an instruction set");
    let calibrated = Algorithm::DirectInt8(InputScale {
        scale: 0.01,
        zero_point: 0,
    });
    let mut algorithms = Algorithm::ALL.to_vec();
    algorithms.push(calibrated);
    println!(
        "{isa:?}, batch {batch}, {} threads",
        resnest_kernels::current_threads()
    );
    let mut totals = vec![[0.0; 2]; algorithms.len()];
    for layer in layers(&args.next().unwrap_or_default()) {
        let input = Nhwc::new(batch, layer.side, layer.side, layer.spec.in_channels);
        let flops = 2.0 * layer.spec.macs(input).expect("fits") as f64;
        print!(
            "{}x{} {:>4} -> {:<4} g{} @{:<3} x{}",
            layer.spec.kernel,
            layer.spec.kernel,
            layer.spec.in_channels,
            layer.spec.out_channels,
            layer.spec.groups,
            layer.side,
            layer.count,
        );
        for (algorithm, total) in algorithms.iter().zip(&mut totals) {
            if !algorithm.supports(&layer.spec) {
                continue;
            }
            let seconds = measure(isa, &layer, input, *algorithm);
            total[usize::from(layer.spec.kernel > 1)] += seconds * layer.count as f64;
            print!(
                "  {} {:7.3} ms {:6.1} GFLOP/s",
                algorithm.name(),
                seconds * 1e3,
                flops / seconds / 1e9
            );
        }
        println!();
    }
    for (algorithm, total) in algorithms.iter().zip(&totals) {
        println!(
            "{}: 1x1 {:.2} ms, larger {:.2} ms",
            algorithm.name(),
            total[0] * 1e3,
            total[1] * 1e3
        );
    }
}

/// The least of many runs; several copies of the weights keep them as cold as in a network.
fn measure(isa: Isa, layer: &Layer, input: Nhwc, algorithm: Algorithm) -> f64 {
    let value = |i: usize| ((i * 7919) % 1000) as f32 / 500.0 - 1.0;
    let weight: Vec<f32> = (0..layer.spec.weight_len()).map(value).collect();
    let bias = vec![0.1; layer.spec.out_channels];
    let copies = (40_000_000 / (4 * weight.len())).clamp(1, 24);
    let convs: Vec<_> = (0..copies)
        .map(|_| PackedConv::new(isa, layer.spec, &weight, Some(&bias), algorithm).expect("packs"))
        .collect();
    let x: Vec<f32> = (0..input.len()).map(value).collect();
    let output = layer.spec.output(input).expect("fits");
    let residual = layer.residual.then(|| vec![0.5; output.len()]);
    let mut out = vec![0.0; output.len()];
    let mut best = f64::INFINITY;
    let begun = Instant::now();
    let mut runs = 0;
    while runs < 40 && begun.elapsed().as_secs_f64() < 0.6 || runs < 5 {
        let start = Instant::now();
        let epilogue = Epilogue {
            relu: true,
            residual: residual.as_deref(),
            sums: None,
        };
        let to = ConvOutput::Channels(MapChannels::new(&mut out, 0, output.c));
        convs[runs % copies]
            .run(ConvInput::Map(&x, input), to, epilogue)
            .expect("runs");
        best = best.min(start.elapsed().as_secs_f64());
        runs += 1;
    }
    best
}
