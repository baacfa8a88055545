//! The convolutions of the real networks.

use resnest_kernels::ConvSpec;

/// What tells one ResNeSt's convolutions from another's.
pub struct Variant {
    pub radix: usize,
    pub cardinality: usize,
    pub base_width: usize,
    pub stem_width: usize,
    pub side: usize,
}

/// resnest14d, 26d and 50d; 50d_4s2x40d; 50d_1s4x24d, all at 224.
pub const SMALL: [Variant; 3] = [
    variant(2, 1, 64, 32, 224),
    variant(4, 2, 40, 32, 224),
    variant(1, 4, 24, 32, 224),
];

/// resnest101e at 256, 200e at 320 and 269e at 416.
pub const LARGE: [Variant; 3] = [
    variant(2, 1, 64, 64, 256),
    variant(2, 1, 64, 64, 320),
    variant(2, 1, 64, 64, 416),
];

const fn variant(
    radix: usize,
    cardinality: usize,
    base_width: usize,
    stem_width: usize,
    side: usize,
) -> Variant {
    Variant {
        radix,
        cardinality,
        base_width,
        stem_width,
        side,
    }
}

/// The distinct convolutions with the side of their inputs, the deep stem first.
pub fn convolutions(v: &Variant) -> Vec<(ConvSpec, usize)> {
    let stem = v.stem_width;
    let mut list = vec![
        (ConvSpec::new(3, stem, 3).stride(2), v.side),
        (ConvSpec::new(stem, stem, 3), v.side / 2),
        (ConvSpec::new(stem, 2 * stem, 3), v.side / 2),
    ];
    let mut input = 2 * stem;
    for (stage, planes) in [64, 128, 256, 512].into_iter().enumerate() {
        let side = (v.side / 4) >> stage;
        let before = if stage == 0 { side } else { 2 * side };
        let (wide, width) = (4 * planes, planes * v.base_width / 64 * v.cardinality);
        let groups = v.cardinality * v.radix;
        let split = ConvSpec::new(width, width * v.radix, 3).groups(groups);
        list.push((ConvSpec::new(input, width, 1), before));
        list.push((split, before));
        list.push((ConvSpec::new(input, wide, 1), side));
        list.push((ConvSpec::new(width, wide, 1), side));
        list.push((ConvSpec::new(wide, width, 1), side));
        list.push((split, side));
        input = wide;
    }
    list.dedup();
    list
}
