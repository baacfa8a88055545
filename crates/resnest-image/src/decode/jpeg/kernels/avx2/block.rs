//! The inverse DCT of a block.
//!
//! Its eight columns are eight i32 lanes, so one `pmaddwd` makes one rotation's output for all of them from
//! two rows whose words are interleaved. Rows are kept as pairs, written `[a b]`: the low lane holds the
//! first four words of a and then those of b, the high lane the last four.

use std::arch::x86_64::*;

use super::words;

/// # Safety
/// The CPU has AVX2, and `7 * stride + 8 <= out.len()`.
#[target_feature(enable = "avx2")]
pub(super) unsafe fn block(
    coefficients: &[i16; 64],
    quant: &[u16; 64],
    out: &mut [u8],
    stride: usize,
) {
    // SAFETY: two rows are 16 of the 64 words.
    let rows: [__m256i; 4] = std::array::from_fn(|i| unsafe {
        _mm256_loadu_si256(coefficients.as_ptr().add(16 * i).cast())
    });
    // SAFETY: as above.
    let scales: [__m256i; 4] =
        std::array::from_fn(|i| unsafe { _mm256_loadu_si256(quant.as_ptr().add(16 * i).cast()) });
    let first = _mm256_mullo_epi16(rows[0], scales[0]);
    // All rows but the first.
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
/// them. The weights and the names are those of [`super::portable`].
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
