//! Colour conversion of rows.

use std::arch::x86_64::*;

use super::{PIXELS, load, steps, words};

/// Red, green and blue of 16 pixels, from words.
#[target_feature(enable = "avx2")]
fn rgb_words(y: __m256i, cb: __m256i, cr: __m256i) -> [__m256i; 3] {
    let centre = _mm256_set1_epi16(128);
    let (cb, cr) = (_mm256_sub_epi16(cb, centre), _mm256_sub_epi16(cr, centre));
    // `(v * weight + 2^15) >> 16`: halving after adding one rounds the doubled product.
    let part = |v, weight| {
        let doubled = _mm256_mulhi_epi16(_mm256_add_epi16(v, v), _mm256_set1_epi16(weight));
        _mm256_srai_epi16::<1>(_mm256_add_epi16(doubled, _mm256_set1_epi16(1)))
    };
    // 91881 = 65536 + 26345 and 116130 = 2 * 65536 - 14942.
    let red = _mm256_add_epi16(_mm256_add_epi16(y, cr), part(cr, 26_345));
    let blue = _mm256_add_epi16(
        _mm256_add_epi16(y, _mm256_add_epi16(cb, cb)),
        part(cb, -14_942),
    );
    // -46802 = 18734 - 65536.
    let weigh = |pair| {
        let sum = _mm256_madd_epi16(pair, words(-22_554, 18_734));
        _mm256_srai_epi32::<16>(_mm256_add_epi32(sum, _mm256_set1_epi32(1 << 15)))
    };
    let both = _mm256_packs_epi32(
        weigh(_mm256_unpacklo_epi16(cb, cr)),
        weigh(_mm256_unpackhi_epi16(cb, cr)),
    );
    let green = _mm256_add_epi16(_mm256_sub_epi16(y, cr), both);
    [red, green, blue]
}

/// Red, green and blue of 32 pixels.
///
/// # Safety
/// The CPU has AVX2, and each plane has at least `PIXELS` samples.
#[target_feature(enable = "avx2")]
unsafe fn rgb_planes(y: &[u8], cb: &[u8], cr: &[u8]) -> [__m256i; 3] {
    // SAFETY: the caller's.
    let planes = unsafe { [load(y), load(cb), load(cr)] };
    let zero = _mm256_setzero_si256();
    let [y, cb, cr] = planes.map(|v| _mm256_unpacklo_epi8(v, zero));
    let low = rgb_words(y, cb, cr);
    let [y, cb, cr] = planes.map(|v| _mm256_unpackhi_epi8(v, zero));
    let high = rgb_words(y, cb, cr);
    // Packing clamps, and undoes the unpacking's order.
    std::array::from_fn(|i| _mm256_packus_epi16(low[i], high[i]))
}

/// The byte at which pixel p's component `c` lies within its 16 bytes is `(3 * p + c) % 16`, another for
/// every p: this shuffle puts all 16 there, and the three runs of 16 bytes differ in what they choose.
const fn spread(c: usize) -> [u8; 16] {
    let mut from = [0; 16];
    let mut p = 0;
    while p < 16 {
        from[(3 * p + c) % 16] = p as u8;
        p += 1;
    }
    from
}

/// All ones where byte t of run `run` is of component `c`.
const fn choose(run: usize, c: usize) -> [u8; 16] {
    let mut mask = [0; 16];
    let mut t = 0;
    while t < 16 {
        if (16 * run + t) % 3 == c {
            mask[t] = 0xff;
        }
        t += 1;
    }
    mask
}

const SPREAD: [[u8; 16]; 3] = [spread(0), spread(1), spread(2)];
const CHOOSE: [[[u8; 16]; 2]; 3] = [
    [choose(0, 1), choose(0, 2)],
    [choose(1, 1), choose(1, 2)],
    [choose(2, 1), choose(2, 2)],
];

/// Sixteen bytes in both lanes.
#[target_feature(enable = "avx2")]
fn broadcast(bytes: &[u8; 16]) -> __m256i {
    // SAFETY: an array of 16 bytes is what the load reads.
    _mm256_broadcastsi128_si256(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) })
}

/// # Safety
/// The CPU has AVX2; the planes have the same length, at least `PIXELS`, and `rgb` three bytes a sample.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn rgb_row(y: &[u8], cb: &[u8], cr: &[u8], rgb: &mut [u8]) {
    let spread = SPREAD.each_ref().map(|bytes| broadcast(bytes));
    let choose = CHOOSE
        .each_ref()
        .map(|two| two.each_ref().map(|bytes| broadcast(bytes)));
    for at in steps(y.len(), PIXELS) {
        // SAFETY: `at + PIXELS` is at most the planes' length.
        let planes = unsafe { rgb_planes(&y[at..], &cb[at..], &cr[at..]) };
        let [r, g, b]: [__m256i; 3] =
            std::array::from_fn(|c| _mm256_shuffle_epi8(planes[c], spread[c]));
        // Sixteen bytes of the low lane's 16 pixels, and of the high lane's.
        let runs = choose
            .map(|[green, blue]| _mm256_blendv_epi8(_mm256_blendv_epi8(r, g, green), b, blue));
        let whole = [
            _mm256_permute2x128_si256::<0x20>(runs[0], runs[1]),
            _mm256_permute2x128_si256::<0x30>(runs[2], runs[0]),
            _mm256_permute2x128_si256::<0x31>(runs[1], runs[2]),
        ];
        let out = &mut rgb[3 * at..3 * (at + PIXELS)];
        for (out, part) in out.chunks_exact_mut(32).zip(whole) {
            // SAFETY: a chunk is what the store writes.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), part) }
        }
    }
}

/// # Safety
/// The CPU has AVX2; the planes have the same length, at least `PIXELS`, and `cmyk` four bytes a sample.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn cmyk_row(y: &[u8], cb: &[u8], cr: &[u8], k: &[u8], cmyk: &mut [u8]) {
    for at in steps(y.len(), PIXELS) {
        // SAFETY: `at + PIXELS` is at most the planes' length.
        let (planes, k) = unsafe { (rgb_planes(&y[at..], &cb[at..], &cr[at..]), load(&k[at..])) };
        let [c, m, y] = planes.map(|v| _mm256_xor_si256(v, _mm256_set1_epi8(-1)));
        let (cm, cm_high) = (_mm256_unpacklo_epi8(c, m), _mm256_unpackhi_epi8(c, m));
        let (yk, yk_high) = (_mm256_unpacklo_epi8(y, k), _mm256_unpackhi_epi8(y, k));
        // Four pixels of the low lane's 16, and of the high lane's.
        let fours = [
            _mm256_unpacklo_epi16(cm, yk),
            _mm256_unpackhi_epi16(cm, yk),
            _mm256_unpacklo_epi16(cm_high, yk_high),
            _mm256_unpackhi_epi16(cm_high, yk_high),
        ];
        let (low, high) = cmyk[4 * at..4 * (at + PIXELS)].split_at_mut(64);
        let halves = low.chunks_exact_mut(16).zip(high.chunks_exact_mut(16));
        for (four, (low, high)) in fours.into_iter().zip(halves) {
            // SAFETY: each chunk is what a store writes.
            unsafe {
                _mm_storeu_si128(low.as_mut_ptr().cast(), _mm256_castsi256_si128(four));
                _mm_storeu_si128(
                    high.as_mut_ptr().cast(),
                    _mm256_extracti128_si256::<1>(four),
                );
            }
        }
    }
}
