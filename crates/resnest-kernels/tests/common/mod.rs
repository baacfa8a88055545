//! Seeded random values and error measures for the tests.

pub mod case;
pub mod shapes;

/// A small generator (splitmix64), so that every run sees the same cases.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        // Every test with random cases also looks for races, wherever it runs.
        resnest_kernels::threads::oversubscribe();
        Rng(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    pub fn chance(&mut self) -> bool {
        self.next() & 1 == 1
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// About normal: a sum of four uniform values, scaled to unit variance.
    pub fn normal(&mut self, len: usize) -> Vec<f32> {
        let uniform = |rng: &mut Self| (rng.next() >> 40) as f32 / (1u32 << 24) as f32 - 0.5;
        (0..len)
            .map(|_| (0..4).map(|_| uniform(self)).sum::<f32>() * 1.732)
            .collect()
    }
}

/// |found - expected| / |expected| in the Euclidean norm.
pub fn relative_l2(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let (mut error, mut size) = (0.0, 0.0);
    for (f, e) in found.iter().zip(expected) {
        error += (f64::from(*f) - e).powi(2);
        size += e.powi(2);
    }
    if error == 0.0 {
        0.0
    } else {
        (error / size).sqrt()
    }
}

/// |found - expected| / |terms|: for means, whose terms may cancel; `terms` are those of |x|.
pub fn error_of_means(found: &[f32], expected: &[f64], terms: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let off = found.iter().zip(expected);
    let error: f64 = off.map(|(f, e)| (f64::from(*f) - e).powi(2)).sum();
    (error / terms.iter().map(|t| t * t).sum::<f64>()).sqrt()
}

/// The bits of every value: what "the same result" means.
pub fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// How many random cases to try: a few under Miri, which is a thousand times slower;
/// `RESNEST_TEST_CASES=20` tries twenty times as many, `0.1` a tenth.
pub fn cases(wanted: usize) -> usize {
    if cfg!(miri) {
        return wanted.div_ceil(25);
    }
    let times = std::env::var("RESNEST_TEST_CASES").ok();
    let times = times.map_or(1.0, |times| times.parse().expect("a number"));
    (wanted as f64 * times).ceil() as usize
}

/// Numbers of threads that must give the bits of one.
pub const THREADS: &[usize] = if cfg!(miri) { &[2] } else { &[2, 3, 8] };

/// Most multiply-adds of a case.
pub fn most_macs() -> usize {
    if cfg!(miri) { 15_000 } else { 6_000_000 }
}
