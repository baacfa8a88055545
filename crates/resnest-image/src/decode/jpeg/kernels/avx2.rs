//! The loops with AVX2, equal to [`super::portable`] to the byte.
//!
//! A block's eight columns are eight i32 lanes, so one `pmaddwd` makes one rotation's output for all of them
//! from two rows whose words are interleaved. Rows are kept as pairs, written `[a b]`: the low lane holds the
//! first four words of a and then those of b, the high lane the last four.

use std::arch::x86_64::*;

use super::portable;

/// Samples that one step of a row takes.
const STEP: usize = 16;

/// Pixels that one step of the colour conversion takes.
const PIXELS: usize = 32;

/// Proof that the CPU runs AVX2.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx2(());

impl Avx2 {
    /// The one place that asks the CPU.
    pub fn new() -> Option<Self> {
        std::is_x86_feature_detected!("avx2").then_some(Self(()))
    }

    /// As [`portable::idct_islow`].
    pub fn idct_islow(
        &self,
        coefficients: &[i16; 64],
        quant: &[u16; 64],
        out: &mut [u8],
        stride: usize,
    ) {
        assert!(
            out.len() >= 8 && stride <= (out.len() - 8) / 7,
            "eight rows {stride} apart in {} samples",
            out.len()
        );
        // SAFETY: `self` proves AVX2; row 7 ends inside `out`.
        unsafe { block(coefficients, quant, out, stride) }
    }

    /// As [`portable::h2v1`].
    pub fn h2v1(&self, input: &[u8], output: &mut [u8]) {
        let output = &mut output[..2 * input.len()];
        if input.len() < STEP + 2 {
            return portable::h2v1(input, output);
        }
        // SAFETY: `self` proves AVX2; the rows have at least a step between the edges, and the output twice
        // their length.
        unsafe { wider(input, output) }
    }

    /// As [`portable::h2v2`].
    pub fn h2v2(&self, near: &[u8], far: &[u8], output: &mut [u8]) {
        let (far, output) = (&far[..near.len()], &mut output[..2 * near.len()]);
        if near.len() < STEP + 2 {
            return portable::h2v2(near, far, output);
        }
        // SAFETY: as for `h2v1`; both rows have the same length.
        unsafe { wider_of_two(near, far, output) }
    }

    /// As [`portable::h1v2`].
    pub fn h1v2(&self, near: &[u8], far: &[u8], upper: bool, output: &mut [u8]) {
        let (far, output) = (&far[..near.len()], &mut output[..near.len()]);
        if near.len() < STEP {
            return portable::h1v2(near, far, upper, output);
        }
        // SAFETY: `self` proves AVX2; the three rows are of one length, at least a step.
        unsafe { taller(near, far, upper, output) }
    }

    /// As [`portable::ycc_to_rgb`].
    pub fn ycc_to_rgb(&self, y: &[u8], cb: &[u8], cr: &[u8], rgb: &mut [u8]) {
        let n = y.len();
        let (cb, cr, rgb) = (&cb[..n], &cr[..n], &mut rgb[..3 * n]);
        if n < PIXELS {
            return portable::ycc_to_rgb(y, cb, cr, rgb);
        }
        // SAFETY: `self` proves AVX2; the planes are of one length, at least a step, and `rgb` holds three
        // bytes a pixel.
        unsafe { rgb_row(y, cb, cr, rgb) }
    }

    /// As [`portable::ycck_to_cmyk`].
    pub fn ycck_to_cmyk(&self, y: &[u8], cb: &[u8], cr: &[u8], k: &[u8], cmyk: &mut [u8]) {
        let n = y.len();
        let (cb, cr, k, cmyk) = (&cb[..n], &cr[..n], &k[..n], &mut cmyk[..4 * n]);
        if n < PIXELS {
            return portable::ycck_to_cmyk(y, cb, cr, k, cmyk);
        }
        // SAFETY: as for `ycc_to_rgb`, with four bytes a pixel.
        unsafe { cmyk_row(y, cb, cr, k, cmyk) }
    }
}

/// Where steps of `step` start so that they cover `n >= step`; the last two may overlap.
fn steps(n: usize, step: usize) -> impl Iterator<Item = usize> {
    (0..n.div_ceil(step)).map(move |i| (i * step).min(n - step))
}

/// # Safety
/// The CPU has AVX2; `source` has at least 32 bytes.
#[target_feature(enable = "avx2")]
unsafe fn load(source: &[u8]) -> __m256i {
    debug_assert!(source.len() >= 32);
    // SAFETY: the caller's.
    unsafe { _mm256_loadu_si256(source.as_ptr().cast()) }
}

/// Sixteen samples as words.
///
/// # Safety
/// The CPU has AVX2; `source` has at least 16 bytes.
#[target_feature(enable = "avx2")]
unsafe fn load_words(source: &[u8]) -> __m256i {
    debug_assert!(source.len() >= 16);
    // SAFETY: the caller's.
    _mm256_cvtepu8_epi16(unsafe { _mm_loadu_si128(source.as_ptr().cast()) })
}

/// Both words of an i32 lane.
#[target_feature(enable = "avx2")]
fn words(low: i16, high: i16) -> __m256i {
    _mm256_set1_epi32(i32::from(low as u16) | i32::from(high) << 16)
}

/// # Safety
/// The CPU has AVX2, and `7 * stride + 8 <= out.len()`.
#[target_feature(enable = "avx2")]
unsafe fn block(coefficients: &[i16; 64], quant: &[u16; 64], out: &mut [u8], stride: usize) {
    // SAFETY: two rows are 16 of the 64 words.
    let rows: [__m256i; 4] = std::array::from_fn(|i| unsafe {
        _mm256_loadu_si256(coefficients.as_ptr().add(16 * i).cast())
    });
    // SAFETY: as above.
    let scales: [__m256i; 4] =
        std::array::from_fn(|i| unsafe { _mm256_loadu_si256(quant.as_ptr().add(16 * i).cast()) });
    let first = _mm256_mullo_epi16(rows[0], scales[0]);
    // All but the first row, and all but the first word.
    let later = _mm256_or_si256(
        _mm256_or_si256(rows[1], rows[2]),
        _mm256_or_si256(rows[3], _mm256_permute2x128_si256::<0x81>(rows[0], rows[0])),
    );
    let columns = if _mm256_testz_si256(later, later) == 1 {
        let row = _mm256_castsi256_si128(first);
        if coefficients[1..8].iter().all(|&c| c == 0) {
            let dc = _mm_extract_epi16::<0>(row) as i16;
            let samples = [_mm256_set1_epi8(flat(dc) as i8); 2];
            // SAFETY: the caller's bound is that of row 7.
            return unsafe { store(samples, out, stride) };
        }
        first_row_only(row)
    } else {
        let scaled = |i: usize| _mm256_mullo_epi16(rows[i], scales[i]);
        let (a, b) = pairs(first, scaled(2));
        let (c, d) = pairs(scaled(1), scaled(3));
        transposed(one_pass::<11>([a, b, c, d]))
    };
    let samples = packed(one_pass::<18>(columns));
    // SAFETY: the caller's bound is that of row 7.
    unsafe { store(samples, out, stride) }
}

/// Rows n and n + 1, and rows n + 4 and n + 5, to `[n n+4]` and `[n+1 n+5]`.
#[target_feature(enable = "avx2")]
fn pairs(upper: __m256i, lower: __m256i) -> (__m256i, __m256i) {
    let first = _mm256_unpacklo_epi64(upper, lower);
    let last = _mm256_unpackhi_epi64(upper, lower);
    (
        _mm256_permute2x128_si256::<0x20>(first, last),
        _mm256_permute2x128_si256::<0x31>(first, last),
    )
}

/// What both passes make of a DC alone; the shift wraps as in [`first_row_only`].
fn flat(dc: i16) -> u8 {
    (((i32::from(dc << 2) + (1 << 4)) >> 5).clamp(-128, 127) + 128) as u8
}

/// The column pass where only the first row has coefficients: each column is constant, as pairs
/// `[0 4] [1 5] [2 6] [3 7]`. Unlike the pass, the shift wraps.
#[target_feature(enable = "avx2")]
fn first_row_only(row: __m128i) -> [__m256i; 4] {
    let row = _mm256_broadcastsi128_si256(_mm_slli_epi16::<2>(row));
    // Words n and n + 4, four times each.
    let pick = |n: i16| {
        let (low, high) = (0x0100 + 0x0202 * n, 0x0908 + 0x0202 * n);
        let both = _mm_unpacklo_epi64(_mm_set1_epi16(low), _mm_set1_epi16(high));
        _mm256_shuffle_epi8(row, _mm256_broadcastsi128_si256(both))
    };
    [pick(0), pick(1), pick(2), pick(3)]
}

/// One pass of the transform over `[0 4] [1 5] [2 6] [3 7]`, to eight rows of i32, saturated by who packs
/// them. The weights and the names are those of [`portable`].
#[target_feature(enable = "avx2")]
fn one_pass<const SHIFT: i32>([a, b, c, d]: [__m256i; 4]) -> [__m256i; 8] {
    let zero = _mm256_setzero_si256();
    let half = _mm256_set1_epi32(1 << (SHIFT - 1));
    // Low halves of the lanes: 0 + 4, and 0 - 4.
    let swapped = _mm256_shuffle_epi32::<0x4e>(a);
    let times_2_13 = |v| _mm256_srai_epi32::<3>(_mm256_unpacklo_epi16(zero, v));
    let sum = _mm256_add_epi32(times_2_13(_mm256_add_epi16(a, swapped)), half);
    let difference = _mm256_add_epi32(times_2_13(_mm256_sub_epi16(a, swapped)), half);

    let two_six = _mm256_unpacklo_epi16(c, _mm256_shuffle_epi32::<0x4e>(c));
    let rotated = _mm256_madd_epi16(two_six, words(4433, -10704));
    let rotated_up = _mm256_madd_epi16(two_six, words(10703, 4433));
    let even = [
        _mm256_add_epi32(sum, rotated_up),
        _mm256_add_epi32(difference, rotated),
        _mm256_sub_epi32(difference, rotated),
        _mm256_sub_epi32(sum, rotated_up),
    ];

    let swapped = _mm256_shuffle_epi32::<0x4e>(d);
    let one_seven = _mm256_unpacklo_epi16(b, swapped);
    let five_three = _mm256_unpackhi_epi16(b, swapped);
    let sums = _mm256_add_epi16(one_seven, five_three);
    let g = _mm256_madd_epi16(sums, words(9633, -6436));
    let h = _mm256_madd_epi16(sums, words(6437, 9633));
    let dot =
        |pair, low, high, more| _mm256_add_epi32(_mm256_madd_epi16(pair, words(low, high)), more);
    let odd = [
        dot(one_seven, 4926, -7373, h),
        dot(five_three, -20995, 4177, g),
        dot(five_three, -4176, -20995, h),
        dot(one_seven, -7373, -4927, g),
    ];
    let finish = |v| _mm256_srai_epi32::<SHIFT>(v);
    let upper = |i: usize| finish(_mm256_add_epi32(even[i], odd[i]));
    let lower = |i: usize| finish(_mm256_sub_epi32(even[i], odd[i]));
    [
        upper(0),
        upper(1),
        upper(2),
        upper(3),
        lower(3),
        lower(2),
        lower(1),
        lower(0),
    ]
}

/// Eight rows, saturated to words and transposed, as `[0 4] [1 5] [2 6] [3 7]`.
#[target_feature(enable = "avx2")]
fn transposed(rows: [__m256i; 8]) -> [__m256i; 4] {
    // Columns 0 to 3 in the low lane, 4 to 7 in the high one.
    let even = _mm256_packs_epi32(rows[0], rows[2]);
    let odd = _mm256_packs_epi32(rows[1], rows[3]);
    let (first, second) = (
        _mm256_unpacklo_epi16(even, odd),
        _mm256_unpackhi_epi16(even, odd),
    );
    let top = [
        _mm256_unpacklo_epi32(first, second),
        _mm256_unpackhi_epi32(first, second),
    ];
    let even = _mm256_packs_epi32(rows[4], rows[6]);
    let odd = _mm256_packs_epi32(rows[5], rows[7]);
    let (first, second) = (
        _mm256_unpacklo_epi16(even, odd),
        _mm256_unpackhi_epi16(even, odd),
    );
    let bottom = [
        _mm256_unpacklo_epi32(first, second),
        _mm256_unpackhi_epi32(first, second),
    ];
    // `[c | c+4]`, then the halves of the lanes exchanged.
    let whole = [
        _mm256_unpacklo_epi64(top[0], bottom[0]),
        _mm256_unpackhi_epi64(top[0], bottom[0]),
        _mm256_unpacklo_epi64(top[1], bottom[1]),
        _mm256_unpackhi_epi64(top[1], bottom[1]),
    ];
    whole.map(|v| _mm256_permute4x64_epi64::<0xd8>(v))
}

/// Eight columns of a block (lanes are its rows) to samples: rows 0, 1 | 4, 5 and rows 2, 3 | 6, 7.
#[target_feature(enable = "avx2")]
fn packed(columns: [__m256i; 8]) -> [__m256i; 2] {
    let [c0, c1, c2, c3, c4, c5, c6, c7] = columns;
    let left = _mm256_packs_epi16(_mm256_packs_epi32(c0, c1), _mm256_packs_epi32(c2, c3));
    let right = _mm256_packs_epi16(_mm256_packs_epi32(c4, c5), _mm256_packs_epi32(c6, c7));
    let turn = _mm256_broadcastsi128_si256(_mm_setr_epi8(
        0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15,
    ));
    let centre = _mm256_set1_epi8(-128);
    let turned = |v| _mm256_xor_si256(_mm256_shuffle_epi8(v, turn), centre);
    let (left, right) = (turned(left), turned(right));
    [
        _mm256_unpacklo_epi32(left, right),
        _mm256_unpackhi_epi32(left, right),
    ]
}

/// # Safety
/// The CPU has AVX2, and `7 * stride + 8 <= out.len()`.
#[target_feature(enable = "avx2")]
unsafe fn store(samples: [__m256i; 2], out: &mut [u8], stride: usize) {
    for (pair, both) in samples.into_iter().enumerate() {
        let halves = [
            _mm256_castsi256_si128(both),
            _mm256_extracti128_si256::<1>(both),
        ];
        for (half, rows) in halves.into_iter().enumerate() {
            let row = 4 * half + 2 * pair;
            // SAFETY: `row + 1 <= 7`, so both stores of 8 bytes end inside `out`.
            unsafe {
                let at = out.as_mut_ptr().add(row * stride);
                _mm_storel_epi64(at.cast(), rows);
                _mm_storeh_pd(at.add(stride).cast(), _mm_castsi128_pd(rows));
            }
        }
    }
}

/// `3 * v`.
#[target_feature(enable = "avx2")]
fn thrice(v: __m256i) -> __m256i {
    _mm256_add_epi16(v, _mm256_add_epi16(v, v))
}

/// Stores words whose values are bytes as the even and the odd bytes of a row.
///
/// # Safety
/// The CPU has AVX2, and `output` has at least 32 bytes.
#[target_feature(enable = "avx2")]
unsafe fn store_interleaved(even: __m256i, odd: __m256i, output: &mut [u8]) {
    debug_assert!(output.len() >= 32);
    let both = _mm256_or_si256(even, _mm256_slli_epi16::<8>(odd));
    // SAFETY: the caller's.
    unsafe { _mm256_storeu_si256(output.as_mut_ptr().cast(), both) }
}

/// # Safety
/// The CPU has AVX2; `input` has at least `STEP + 2` samples and `output` twice as many.
#[target_feature(enable = "avx2")]
unsafe fn wider(input: &[u8], output: &mut [u8]) {
    let n = input.len();
    for at in steps(n - 2, STEP) {
        // SAFETY: the samples `at..at + STEP + 2` exist, the steps covering all but the two at the edges.
        let (left, here, right) = unsafe {
            (
                load_words(&input[at..]),
                load_words(&input[at + 1..]),
                load_words(&input[at + 2..]),
            )
        };
        let here = thrice(here);
        let even = _mm256_add_epi16(_mm256_add_epi16(here, left), _mm256_set1_epi16(1));
        let odd = _mm256_add_epi16(_mm256_add_epi16(here, right), _mm256_set1_epi16(2));
        let (even, odd) = (_mm256_srli_epi16::<2>(even), _mm256_srli_epi16::<2>(odd));
        // SAFETY: `2 * (at + 1) + 32 <= 2 * (n - 1)`.
        unsafe { store_interleaved(even, odd, &mut output[2 * at + 2..]) };
    }
    portable::h2v1_edges(input, output);
}

/// # Safety
/// As [`wider`]; `far` has as many samples as `near`.
#[target_feature(enable = "avx2")]
unsafe fn wider_of_two(near: &[u8], far: &[u8], output: &mut [u8]) {
    let n = near.len();
    for at in steps(n - 2, STEP) {
        let sums = |x: usize| {
            // SAFETY: `x <= at + 2`, and `at + 2 + STEP <= n`.
            let (near, far) = unsafe { (load_words(&near[x..]), load_words(&far[x..])) };
            _mm256_add_epi16(thrice(near), far)
        };
        let (left, here, right) = (sums(at), thrice(sums(at + 1)), sums(at + 2));
        let even = _mm256_add_epi16(_mm256_add_epi16(here, left), _mm256_set1_epi16(8));
        let odd = _mm256_add_epi16(_mm256_add_epi16(here, right), _mm256_set1_epi16(7));
        let (even, odd) = (_mm256_srli_epi16::<4>(even), _mm256_srli_epi16::<4>(odd));
        // SAFETY: `2 * (at + 1) + 32 <= 2 * (n - 1)`.
        unsafe { store_interleaved(even, odd, &mut output[2 * at + 2..]) };
    }
    portable::h2v2_edges(near, far, output);
}

/// # Safety
/// The CPU has AVX2, and the three rows have the same length, at least `STEP`.
#[target_feature(enable = "avx2")]
unsafe fn taller(near: &[u8], far: &[u8], upper: bool, output: &mut [u8]) {
    let bias = _mm256_set1_epi16(if upper { 1 } else { 2 });
    for at in steps(near.len(), STEP) {
        // SAFETY: `at + STEP` is at most the length of each row.
        let (near, far) = unsafe { (load_words(&near[at..]), load_words(&far[at..])) };
        let sum = _mm256_add_epi16(_mm256_add_epi16(thrice(near), far), bias);
        let words = _mm256_srli_epi16::<2>(sum);
        let bytes = _mm_packus_epi16(
            _mm256_castsi256_si128(words),
            _mm256_extracti128_si256::<1>(words),
        );
        // SAFETY: as above.
        unsafe { _mm_storeu_si128(output[at..].as_mut_ptr().cast(), bytes) }
    }
}

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
unsafe fn rgb_row(y: &[u8], cb: &[u8], cr: &[u8], rgb: &mut [u8]) {
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
unsafe fn cmyk_row(y: &[u8], cb: &[u8], cr: &[u8], k: &[u8], cmyk: &mut [u8]) {
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
