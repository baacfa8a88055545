//! Packed layers written to a file and mapped: the same layers.
#![cfg(not(miri))] // of a file there is nothing to see that `conv` does not show of memory

#[allow(dead_code, reason = "each test file uses a part of it")]
mod common;

use std::fs::File;
use std::io::{Seek, Write};
use std::sync::Arc;

use common::{Rng, bits, cases};
use resnest_kernels::{
    Algorithm, ConvInput, ConvOutput, ConvSpec, Epilogue, InputScale, Isa, MappedLayer,
    MappedWeights, Nhwc, PackedConv,
};

/// Every kind of packing: direct with taps alone, of a row and gathered, panels of all widths; depthwise, narrow,
/// Winograd's forms, words.
const SPECS: [(usize, usize, usize, usize); 12] = [
    // in, out, kernel, groups
    (3, 32, 3, 1),
    (3, 20, 7, 1),
    (64, 40, 1, 1),
    (32, 72, 3, 1),
    (700, 24, 1, 1),
    (6, 10, 3, 2),
    (24, 24, 3, 24),
    (32, 32, 3, 8),
    (64, 64, 3, 4),
    (48, 48, 3, 3),
    (40, 17, 3, 1),
    (96, 1000, 1, 1),
];

fn algorithms() -> Vec<Algorithm> {
    let input = InputScale {
        scale: 0.03,
        zero_point: 117,
    };
    let mut all = Algorithm::ALL.to_vec();
    all.push(Algorithm::DirectInt8(input));
    all
}

fn mapped(bytes: &[u8]) -> Arc<MappedWeights> {
    let mut file: File = tempfile();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    // SAFETY: the file has no name, so nobody else can write to it.
    unsafe { MappedWeights::map(&file).unwrap() }
}

/// A file without a name.
fn tempfile() -> File {
    let name = format!(
        "resnest-mapped-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    );
    let path = std::env::temp_dir().join(name);
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    std::fs::remove_file(path).unwrap();
    file
}

fn run(conv: &PackedConv, x: &[f32], input: Nhwc) -> Vec<u32> {
    let x = ConvInput::Map(x, input);
    bits(&conv.run(x, ConvOutput::New, Epilogue::relu()).unwrap())
}

#[test]
fn a_mapped_layer_computes_the_bits_of_the_one_that_was_written() {
    let mut rng = Rng::new(5);
    let isas: Vec<Isa> = Isa::available()
        .flat_map(Isa::low_precision_choices)
        .collect();
    for (inputs, outputs, kernel, groups) in SPECS {
        for stride in [1, 2] {
            let spec = ConvSpec::new(inputs, outputs, kernel)
                .groups(groups)
                .stride(stride);
            let fits = |algorithm: &Algorithm| algorithm.supports(&spec);
            for algorithm in algorithms().into_iter().filter(fits) {
                let weight = rng.normal(spec.weight_len());
                let bias = rng.chance().then(|| rng.normal(outputs));
                let input = Nhwc::new(2, 7, 9, inputs);
                let x = rng.normal(input.len());
                for &isa in &isas {
                    let conv =
                        PackedConv::new(isa, spec, &weight, bias.as_deref(), algorithm).unwrap();
                    // Not at the beginning of the file.
                    let mut bytes = vec![7; 128];
                    conv.write_to(&mut bytes).unwrap();
                    assert!(bytes.len() - 128 >= conv.bytes());
                    let file = mapped(&bytes);
                    let layer = MappedLayer::new(&file, 128..bytes.len()).unwrap();
                    let again = PackedConv::mapped(isa, spec, algorithm, layer).unwrap();
                    assert_eq!(again.bytes(), conv.bytes());
                    let mut written = vec![7; 128];
                    again.write_to(&mut written).unwrap();
                    assert!(written == bytes, "{spec} {algorithm:?} {isa:?}");
                    let (found, expected) = (run(&again, &x, input), run(&conv, &x, input));
                    assert!(found == expected, "{spec} {algorithm:?} {isa:?}");
                }
            }
        }
    }
}

#[test]
fn a_layer_of_another_size_is_an_error_and_never_read_past_its_end() {
    let mut rng = Rng::new(6);
    let spec = ConvSpec::new(16, 24, 3);
    let algorithm = Algorithm::WinogradF4;
    let isa = Isa::portable();
    let weight = rng.normal(spec.weight_len());
    let conv = PackedConv::new(isa, spec, &weight, None, algorithm).unwrap();
    let mut bytes = Vec::new();
    conv.write_to(&mut bytes).unwrap();
    bytes.extend([0; 192]);
    let (whole, file) = (bytes.len() - 192, mapped(&bytes));
    for _ in 0..cases(200) {
        let end = 64 * rng.below(bytes.len() / 64 + 1);
        let layer = MappedLayer::new(&file, 0..end).unwrap();
        let taken = PackedConv::mapped(isa, spec, algorithm, layer);
        assert_eq!(taken.is_ok(), end == whole, "{end}");
    }
    // Another layer's place, and places that are none.
    let layer = MappedLayer::new(&file, 0..whole).unwrap();
    let other = PackedConv::mapped(isa, ConvSpec::new(16, 32, 3), algorithm, layer);
    assert!(other.unwrap_err().to_string().contains("packed layer"));
    for range in [1..65, 0..whole + 1, 0..bytes.len() + 64, 64..usize::MAX] {
        assert!(
            MappedLayer::new(&file, range.clone()).is_none(),
            "{range:?}"
        );
    }
    #[expect(clippy::reversed_empty_ranges, reason = "what a damaged file may say")]
    let backwards = 128..64;
    assert!(MappedLayer::new(&file, backwards).is_none());
}
