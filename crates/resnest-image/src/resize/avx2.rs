//! The two passes with AVX2, equal to [`super::portable`] to the byte.
//!
//! `pmaddwd` multiplies i16 only and a weight has 23 bits, so a weight is split as
//! `weight = high * 2^11 + low` with `0 <= low < 2^11`. Two chains of sums are kept and joined at the end.
//! i32 sums wrap, hence their order is free and the joined result is the portable one.

use std::arch::x86_64::*;

use super::filter::{PRECISION_BITS, TapTable};

/// Low bits of a split weight.
const LOW_BITS: i32 = 11;

/// Taps that one step of the RGB row pass takes, and the bytes that it reads for them.
const RGB_TAPS: usize = 4;
const RGB_READ: usize = 16;

/// Taps that one step of the luma row pass takes; it reads as many bytes.
const LUMA_TAPS: usize = 16;

/// Columns (bytes) that one step of the column pass makes.
const COLUMNS: usize = 16;

/// Pairs of rows that share one load of the weights; a vector holds a pair.
const PAIRS: usize = 2;
const ROWS: usize = 2 * PAIRS;

/// Proof that the CPU runs AVX2.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx2(());

fn split(weight: i32) -> (i16, i16) {
    // |weight| is at most about 2^22, so the high part stays far inside i16.
    (
        (weight >> LOW_BITS) as i16,
        (weight & ((1 << LOW_BITS) - 1)) as i16,
    )
}

/// Weights of one output pixel, in the order of the row pass's lanes.
struct Packed {
    /// Byte in the row at which the first tap lies.
    offset: usize,
    /// First group of vectors, and how many groups.
    start: usize,
    groups: usize,
}

/// All weights of a row: groups of `PER_GROUP` vectors of `LANES` lanes.
struct PackedRow<const LANES: usize, const PER_GROUP: usize> {
    pixels: Vec<Packed>,
    vectors: Vec<[[i16; LANES]; PER_GROUP]>,
    /// Bytes of a row that are read, counted from its start; more than the row has, near its end.
    reads: usize,
}

impl<const LANES: usize, const PER_GROUP: usize> PackedRow<LANES, PER_GROUP> {
    /// `arrange` turns the weights of one group of `size` taps into vectors.
    fn new(
        taps: &TapTable,
        origin: usize,
        (channels, size, read): (usize, usize, usize),
        arrange: impl Fn(&[i32]) -> [[i16; LANES]; PER_GROUP],
    ) -> Self {
        let mut row = Self {
            pixels: Vec::with_capacity(taps.len()),
            vectors: Vec::new(),
            reads: 0,
        };
        for taps in taps.iter() {
            let offset = taps.first.saturating_sub(origin) * channels;
            let start = row.vectors.len();
            row.vectors.extend(taps.weights.chunks(size).map(&arrange));
            let groups = row.vectors.len() - start;
            if groups > 0 {
                row.reads = row
                    .reads
                    .max(offset + (groups - 1) * size * channels + read);
            }
            row.pixels.push(Packed {
                offset,
                start,
                groups,
            });
        }
        row
    }

    /// Rows whose reads all stay inside `source`.
    fn safe_rows(&self, source: &[u8], stride: usize, rows: usize) -> usize {
        match source.len().checked_sub(self.reads) {
            Some(slack) => (slack / stride + 1).min(rows),
            None => 0,
        }
    }
}

/// Lanes of [`rgb_rows`]: `R0R1 G0G1 B0B1 --` in the first vector and `R2R3 G2G3 B2B3 --` in the second,
/// of the high parts and then of the low ones.
fn arrange_rgb(weights: &[i32]) -> [[i16; 8]; 4] {
    let mut vectors = [[0; 8]; 4];
    for (tap, &weight) in weights.iter().enumerate() {
        let (high, low) = split(weight);
        let (pair, odd) = (tap / 2, tap % 2);
        for channel in 0..3 {
            let lane = channel * 2 + odd;
            vectors[pair][lane] = high;
            vectors[pair + 2][lane] = low;
        }
    }
    vectors
}

fn arrange_luma(weights: &[i32]) -> [[i16; 16]; 2] {
    let mut vectors = [[0; 16]; 2];
    for (tap, &weight) in weights.iter().enumerate() {
        (vectors[0][tap], vectors[1][tap]) = split(weight);
    }
    vectors
}

impl Avx2 {
    /// The one place that asks the CPU.
    pub fn new() -> Option<Self> {
        std::is_x86_feature_detected!("avx2").then_some(Self(()))
    }

    /// Resamples rows of RGB pixels; returns how many were done, those at the end being left out
    /// where whole-vector loads would leave `source`.
    pub fn horizontal_rgb(
        &self,
        source: &[u8],
        stride: usize,
        origin: usize,
        taps: &TapTable,
        out: &mut [u8],
    ) -> usize {
        let packed = PackedRow::new(taps, origin, (3, RGB_TAPS, RGB_READ), arrange_rgb);
        let rows = packed.safe_rows(source, stride, out.len() / (taps.len() * 3));
        for first in (0..rows).step_by(ROWS) {
            // The last rows again where fewer are left.
            let block = std::array::from_fn(|row| (first + row).min(rows - 1));
            // SAFETY: `self` proves AVX2; the rows are within `safe_rows`.
            unsafe { rgb_rows(source, stride, block, &packed, out) };
        }
        rows
    }

    /// Resamples rows of one channel; returns how many were done, as [`Self::horizontal_rgb`].
    pub fn horizontal_luma(
        &self,
        source: &[u8],
        stride: usize,
        origin: usize,
        taps: &TapTable,
        out: &mut [u8],
    ) -> usize {
        let packed = PackedRow::new(taps, origin, (1, LUMA_TAPS, LUMA_TAPS), arrange_luma);
        let rows = packed.safe_rows(source, stride, out.len() / taps.len());
        for (row, out) in out.chunks_exact_mut(taps.len()).take(rows).enumerate() {
            // SAFETY: `self` proves AVX2; the row is within `safe_rows`.
            unsafe { luma_row(&source[row * stride..], &packed, out) };
        }
        rows
    }

    /// Makes one output row from `weights.len()` rows that begin at `source[0]`, `stride` bytes apart;
    /// returns the bytes done, a multiple of 16.
    pub fn vertical(&self, source: &[u8], stride: usize, weights: &[i32], out: &mut [u8]) -> usize {
        let Some(last) = weights.len().checked_sub(1) else {
            return 0;
        };
        let reachable = source.len().saturating_sub(last * stride).min(out.len());
        let pairs: Vec<(i32, i32)> = weights.chunks(2).map(pack_pair).collect();
        let done = reachable / COLUMNS * COLUMNS;
        for x in (0..done).step_by(COLUMNS) {
            let out: &mut [u8; COLUMNS] = match (&mut out[x..x + COLUMNS]).try_into() {
                Ok(out) => out,
                Err(_) => return x,
            };
            // SAFETY: `self` proves AVX2; row `last` has COLUMNS bytes from column x on because
            // `x + COLUMNS <= reachable`, and the rows before it lie before it.
            unsafe { column_block(&source[x..], stride, last, &pairs, out) };
        }
        done
    }
}

/// Two neighbouring weights as the (high, low) pairs that `pmaddwd` broadcasts.
fn pack_pair(pair: &[i32]) -> (i32, i32) {
    let (high0, low0) = split(pair.first().copied().unwrap_or(0));
    let (high1, low1) = split(pair.get(1).copied().unwrap_or(0));
    let join = |a: i16, b: i16| i32::from(a as u16) | (i32::from(b) << 16);
    (join(high0, high1), join(low0, low1))
}

/// Some rows at once, so that each load of weights serves them all.
///
/// # Safety
/// The CPU has AVX2. For each of the rows, `row * stride + packed.reads <= source.len()`.
#[target_feature(enable = "avx2")]
unsafe fn rgb_rows(
    source: &[u8],
    stride: usize,
    rows: [usize; ROWS],
    packed: &PackedRow<8, 4>,
    out: &mut [u8],
) {
    const NONE: i8 = -128;
    // Bytes of 4 pixels RGBRGBRGBRGB to the i16 pairs of `arrange_rgb`.
    let first_pairs = _mm256_broadcastsi128_si256(_mm_setr_epi8(
        0, NONE, 3, NONE, 1, NONE, 4, NONE, 2, NONE, 5, NONE, NONE, NONE, NONE, NONE,
    ));
    let second_pairs = _mm256_broadcastsi128_si256(_mm_setr_epi8(
        6, NONE, 9, NONE, 7, NONE, 10, NONE, 8, NONE, 11, NONE, NONE, NONE, NONE, NONE,
    ));
    let out_stride = packed.pixels.len() * 3;
    for (x, pixel) in packed.pixels.iter().enumerate() {
        let mut high = [_mm256_setzero_si256(); PAIRS];
        let mut low = [_mm256_setzero_si256(); PAIRS];
        let groups = &packed.vectors[pixel.start..pixel.start + pixel.groups];
        for (group, weights) in groups.iter().enumerate() {
            let [high0, high1, low0, low1] = load_pair(weights);
            let at = pixel.offset + group * RGB_TAPS * 3;
            for pair in 0..PAIRS {
                // SAFETY: the caller's bound covers `at + RGB_READ` of each row.
                let samples = unsafe {
                    let load =
                        |row: usize| _mm_loadu_si128(source.as_ptr().add(row * stride + at).cast());
                    _mm256_set_m128i(load(rows[2 * pair + 1]), load(rows[2 * pair]))
                };
                let even = _mm256_shuffle_epi8(samples, first_pairs);
                let odd = _mm256_shuffle_epi8(samples, second_pairs);
                high[pair] = _mm256_add_epi32(high[pair], _mm256_madd_epi16(even, high0));
                high[pair] = _mm256_add_epi32(high[pair], _mm256_madd_epi16(odd, high1));
                low[pair] = _mm256_add_epi32(low[pair], _mm256_madd_epi16(even, low0));
                low[pair] = _mm256_add_epi32(low[pair], _mm256_madd_epi16(odd, low1));
            }
        }
        // Each half has the pixel of one row of the first pair, and of one of the second.
        let sums = [join(high[0], low[0]), join(high[1], low[1])];
        let bytes = round(sums);
        let halves = [
            _mm256_castsi256_si128(bytes),
            _mm256_extracti128_si256::<1>(bytes),
        ];
        for (row, half) in halves.into_iter().enumerate() {
            let both = _mm_cvtsi128_si64(half).to_le_bytes();
            for pair in 0..PAIRS {
                let at = rows[2 * pair + row] * out_stride + x * 3;
                let pixel = &both[4 * pair..4 * pair + 4];
                // The fourth byte is the next pixel's, which comes after.
                match x + 1 < packed.pixels.len() {
                    true => out[at..at + 4].copy_from_slice(pixel),
                    false => out[at..at + 3].copy_from_slice(&pixel[..3]),
                }
            }
        }
    }
}

/// Each vector in both halves of a wider one.
#[target_feature(enable = "avx2")]
fn load_pair<const N: usize>(weights: &[[i16; 8]; N]) -> [__m256i; N] {
    weights.each_ref().map(|lanes| {
        // SAFETY: an array of 8 i16 is the 16 bytes of the load, which needs no alignment.
        let vector = unsafe { _mm_loadu_si128(lanes.as_ptr().cast()) };
        _mm256_broadcastsi128_si256(vector)
    })
}

/// # Safety
/// The CPU has AVX2.
#[target_feature(enable = "avx2")]
unsafe fn load_weights<const N: usize>(weights: &[[i16; 16]; N]) -> [__m256i; N] {
    // SAFETY: an array of 16 i16 is the 32 bytes of the load, which needs no alignment.
    weights
        .each_ref()
        .map(|lanes| unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) })
}

/// Joins the two chains: `high * 2^11 + low`.
#[target_feature(enable = "avx2")]
fn join(high: __m256i, low: __m256i) -> __m256i {
    _mm256_add_epi32(_mm256_slli_epi32::<LOW_BITS>(high), low)
}

/// Sums to clamped bytes. In each half: four of the first vector's, four of the second's, both again.
#[target_feature(enable = "avx2")]
fn round(sums: [__m256i; 2]) -> __m256i {
    let [first, second] = sums.map(|sum| {
        let sum = _mm256_add_epi32(sum, _mm256_set1_epi32(1 << (PRECISION_BITS - 1)));
        _mm256_srai_epi32::<{ PRECISION_BITS as i32 }>(sum)
    });
    // The shifted sums have 10 bits, so saturation to i16 changes nothing and to u8 is the clamp.
    let words = _mm256_packs_epi32(first, second);
    _mm256_packus_epi16(words, words)
}

/// # Safety
/// The CPU has AVX2, and `packed.reads <= source.len()`.
#[target_feature(enable = "avx2")]
unsafe fn luma_row(source: &[u8], packed: &PackedRow<16, 2>, out: &mut [u8]) {
    for (value, pixel) in out.iter_mut().zip(&packed.pixels) {
        let mut high = _mm256_setzero_si256();
        let mut low = _mm256_setzero_si256();
        let groups = &packed.vectors[pixel.start..pixel.start + pixel.groups];
        for (group, weights) in groups.iter().enumerate() {
            // SAFETY: each array is 32 bytes.
            let [high_weights, low_weights] = unsafe { load_weights(weights) };
            let at = pixel.offset + group * LUMA_TAPS;
            // SAFETY: the caller's bound covers `at + LUMA_TAPS`.
            let samples = unsafe { _mm_loadu_si128(source.as_ptr().add(at).cast()) };
            let samples = _mm256_cvtepu8_epi16(samples);
            high = _mm256_add_epi32(high, _mm256_madd_epi16(samples, high_weights));
            low = _mm256_add_epi32(low, _mm256_madd_epi16(samples, low_weights));
        }
        let sum = join(high, low);
        // Each half's four sums into one, then the halves.
        let sum = _mm256_add_epi32(sum, _mm256_shuffle_epi32::<0b01_00_11_10>(sum));
        let sum = _mm256_add_epi32(sum, _mm256_shuffle_epi32::<0b10_11_00_01>(sum));
        let sum = _mm256_add_epi32(sum, _mm256_permute2x128_si256::<1>(sum, sum));
        *value = _mm256_cvtsi256_si32(round([sum, sum])) as u8;
    }
}

/// 16 neighbouring columns of one output row.
///
/// # Safety
/// The CPU has AVX2, and `last * stride + COLUMNS <= source.len()`; `pairs` holds `last / 2 + 1` pairs.
#[target_feature(enable = "avx2")]
unsafe fn column_block(
    source: &[u8],
    stride: usize,
    last: usize,
    pairs: &[(i32, i32)],
    out: &mut [u8; COLUMNS],
) {
    let mut high = [_mm256_setzero_si256(); 2];
    let mut low = [_mm256_setzero_si256(); 2];
    for (pair, &(high_pair, low_pair)) in pairs.iter().enumerate() {
        let first = pair * 2;
        // The partner of an odd last row has weight 0; any row in bounds will do.
        let second = (first + 1).min(last);
        // SAFETY: both rows are at most `last`, which the caller's bound covers.
        let (a, b) = unsafe {
            let row = |row: usize| source.as_ptr().add(row * stride).cast();
            (_mm_loadu_si128(row(first)), _mm_loadu_si128(row(second)))
        };
        let high_weights = _mm256_set1_epi32(high_pair);
        let low_weights = _mm256_set1_epi32(low_pair);
        let halves = [_mm_unpacklo_epi8(a, b), _mm_unpackhi_epi8(a, b)];
        for (half, bytes) in halves.into_iter().enumerate() {
            // (a0, b0, a1, b1, ..) as i16: 8 columns
            let samples = _mm256_cvtepu8_epi16(bytes);
            high[half] = _mm256_add_epi32(high[half], _mm256_madd_epi16(samples, high_weights));
            low[half] = _mm256_add_epi32(low[half], _mm256_madd_epi16(samples, low_weights));
        }
    }
    let bytes = round([join(high[0], low[0]), join(high[1], low[1])]);
    // Columns 0 to 3 and 8 to 11 are in the first half, 4 to 7 and 12 to 15 in the second.
    let bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 0, 4, 1, 5));
    // SAFETY: `out` is 16 bytes.
    unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), _mm256_castsi256_si128(bytes)) };
}
