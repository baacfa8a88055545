//! The inner loops written plainly: the specification that the SIMD ones are tested against.
//!
//! The values are those of libjpeg-turbo 3.2 as x86-64 computes them (its `simd/x86_64`, and `jdsample.c`
//! and `jdcolor.c` where there is no SIMD), for every input: `tests/pillow/jpeg_kernels.json` holds what
//! Pillow made of blocks that no encoder writes.

/// Fractional bits of the DCT's constants.
const CONST_BITS: u32 = 13;

/// Fractional bits that the column pass leaves for the row pass.
const PASS1_BITS: u32 = 2;

/// Eight columns of one row of a block.
type Row = [i16; 8];

/// Dequantises and transforms one block into eight rows of `out`, `stride` bytes apart.
pub(super) fn idct_islow(
    coefficients: &[i16; 64],
    quant: &[u16; 64],
    out: &mut [u8],
    stride: usize,
) {
    let mut block = [[0; 8]; 8];
    for (i, (&c, &q)) in coefficients.iter().zip(quant).enumerate() {
        // SIMD multiplies 16 bits by 16 and keeps the low half.
        block[i / 8][i % 8] = c.wrapping_mul(q as i16);
    }
    let columns = if coefficients[8..].iter().all(|&c| c == 0) {
        // Not what `one_pass` gives: this shift wraps, while the pass saturates.
        [block[0].map(|dc| dc << PASS1_BITS); 8]
    } else {
        one_pass::<{ CONST_BITS - PASS1_BITS }>(&block)
    };
    let rows = one_pass::<{ CONST_BITS + PASS1_BITS + 3 }>(&transposed(&columns));
    for (y, row) in transposed(&rows).iter().enumerate() {
        for (sample, &value) in out[y * stride..][..8].iter_mut().zip(row) {
            *sample = (value.clamp(-128, 127) + 128) as u8;
        }
    }
}

fn transposed(block: &[Row; 8]) -> [Row; 8] {
    std::array::from_fn(|x| std::array::from_fn(|y| block[y][x]))
}

/// Eight columns of a row whose values have 32 bits.
type Wide = [i32; 8];

fn each<A: Copy, B: Copy, R>(a: [A; 8], b: [B; 8], f: impl Fn(A, B) -> R) -> [R; 8] {
    std::array::from_fn(|x| f(a[x], b[x]))
}

/// `a * wa + b * wb`, which cannot overflow with the weights below.
fn dot(a: Row, wa: i32, b: Row, wb: i32) -> Wide {
    each(a, b, |a, b| i32::from(a) * wa + i32::from(b) * wb)
}

/// The transform of Loeffler, Ligtenberg and Moschytz down each of the eight columns, with each rotation's
/// three products multiplied out to two. The results are shifted right by `SHIFT`, rounded and saturated;
/// sums of two inputs wrap at 16 bits, as in SIMD lanes.
fn one_pass<const SHIFT: u32>(v: &[Row; 8]) -> [Row; 8] {
    let plus = |a: Wide, b: Wide| each(a, b, i32::wrapping_add);
    let minus = |a: Wide, b: Wide| each(a, b, i32::wrapping_sub);
    // The weights are products of cosines times 2^13; jidctint.c derives them.
    let scaled = |row: Row| row.map(|v| i32::from(v) << CONST_BITS);
    let sum = scaled(each(v[0], v[4], i16::wrapping_add));
    let difference = scaled(each(v[0], v[4], i16::wrapping_sub));
    let c = dot(v[2], 4433, v[6], -10704);
    let d = dot(v[2], 10703, v[6], 4433);
    let even = [
        plus(sum, d),
        plus(difference, c),
        minus(difference, c),
        minus(sum, d),
    ];

    let e = each(v[7], v[3], i16::wrapping_add);
    let f = each(v[5], v[1], i16::wrapping_add);
    let g = dot(e, -6436, f, 9633);
    let h = dot(e, 9633, f, 6437);
    let odd = [
        plus(dot(v[7], -7373, v[1], 4926), h),
        plus(dot(v[5], -20995, v[3], 4177), g),
        plus(dot(v[5], -4176, v[3], -20995), h),
        plus(dot(v[7], -4927, v[1], -7373), g),
    ];

    let finish = |row: Wide| {
        row.map(|value| {
            let shifted = value.wrapping_add(1 << (SHIFT - 1)) >> SHIFT;
            shifted.clamp(i16::MIN.into(), i16::MAX.into()) as i16
        })
    };
    std::array::from_fn(|y| match y {
        0..4 => finish(plus(even[y], odd[y])),
        _ => finish(minus(even[7 - y], odd[7 - y])),
    })
}

/// Rows of fewer samples are repeated, not interpolated (`jdsample.c`).
const LEAST_FANCY: usize = 3;

fn repeated(input: &[u8], output: &mut [u8]) {
    for (pair, &sample) in output.chunks_exact_mut(2).zip(input) {
        pair.fill(sample);
    }
}

/// Twice as wide: each sample becomes two, three parts of it and one of the neighbour on that side.
/// The rounding alternates between down (left) and up (right). The outermost samples stay as they are.
pub(super) fn h2v1(input: &[u8], output: &mut [u8]) {
    if input.len() < LEAST_FANCY {
        return repeated(input, output);
    }
    for (three, pair) in input.windows(3).zip(output[2..].chunks_exact_mut(2)) {
        let [left, near, right] = [three[0], three[1], three[2]].map(u16::from);
        pair[0] = ((3 * near + left + 1) >> 2) as u8;
        pair[1] = ((3 * near + right + 2) >> 2) as u8;
    }
    h2v1_edges(input, output);
}

/// The pairs at the edges of a row of at least two samples.
pub(super) fn h2v1_edges(input: &[u8], output: &mut [u8]) {
    let n = input.len();
    let quarters = |near: usize, far: usize| 3 * u16::from(input[near]) + u16::from(input[far]);
    output[0] = input[0];
    output[1] = ((quarters(0, 1) + 2) >> 2) as u8;
    output[2 * n - 2] = ((quarters(n - 1, n - 2) + 1) >> 2) as u8;
    output[2 * n - 1] = input[n - 1];
}

/// One row of twice the width and height: [`h2v1`] of the column sums `3 * near + far`.
pub(super) fn h2v2(near: &[u8], far: &[u8], output: &mut [u8]) {
    if near.len() < LEAST_FANCY {
        return repeated(near, output);
    }
    let rows = near.windows(3).zip(far.windows(3));
    for ((near, far), pair) in rows.zip(output[2..].chunks_exact_mut(2)) {
        let [left, here, right] = std::array::from_fn(|i| column_sum(near[i], far[i]));
        pair[0] = ((3 * here + left + 8) >> 4) as u8;
        pair[1] = ((3 * here + right + 7) >> 4) as u8;
    }
    h2v2_edges(near, far, output);
}

fn column_sum(near: u8, far: u8) -> u16 {
    3 * u16::from(near) + u16::from(far)
}

/// The pairs at the edges of rows of at least two samples.
pub(super) fn h2v2_edges(near: &[u8], far: &[u8], output: &mut [u8]) {
    let n = near.len();
    let sum = |x: usize| column_sum(near[x], far[x]);
    output[0] = ((4 * sum(0) + 8) >> 4) as u8;
    output[1] = ((3 * sum(0) + sum(1) + 7) >> 4) as u8;
    output[2 * n - 2] = ((3 * sum(n - 1) + sum(n - 2) + 8) >> 4) as u8;
    output[2 * n - 1] = ((4 * sum(n - 1) + 7) >> 4) as u8;
}

/// One row of twice the height: the `upper` of the two rows made from `near` rounds down.
pub(super) fn h1v2(near: &[u8], far: &[u8], upper: bool, output: &mut [u8]) {
    let bias = if upper { 1 } else { 2 };
    for ((out, &near), &far) in output.iter_mut().zip(near).zip(far) {
        *out = ((3 * u16::from(near) + u16::from(far) + bias) >> 2) as u8;
    }
}

/// Fractional bits of the colour conversion's constants.
const SCALE_BITS: u32 = 16;

/// BT.601 full range with 16-bit constants: 1.402, 0.71414, 0.34414 and 1.772 times 2^16.
fn rgb_of(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let half = 1 << (SCALE_BITS - 1);
    let red = y + ((91_881 * cr + half) >> SCALE_BITS);
    let green = y + ((half - 22_554 * cb - 46_802 * cr) >> SCALE_BITS);
    let blue = y + ((116_130 * cb + half) >> SCALE_BITS);
    [red, green, blue].map(|value| value.clamp(0, 255) as u8)
}

/// One row of YCbCr to interleaved RGB.
pub(super) fn ycc_to_rgb(y: &[u8], cb: &[u8], cr: &[u8], rgb: &mut [u8]) {
    for (((pixel, &y), &cb), &cr) in rgb.chunks_exact_mut(3).zip(y).zip(cb).zip(cr) {
        pixel.copy_from_slice(&rgb_of(y, cb, cr));
    }
}

/// One row of YCCK to interleaved CMYK: the inks are what RGB leaves of white, K is copied.
pub(super) fn ycck_to_cmyk(y: &[u8], cb: &[u8], cr: &[u8], k: &[u8], cmyk: &mut [u8]) {
    let planes = y.iter().zip(cb).zip(cr).zip(k);
    for (pixel, (((&y, &cb), &cr), &k)) in cmyk.chunks_exact_mut(4).zip(planes) {
        let [r, g, b] = rgb_of(y, cb, cr);
        pixel.copy_from_slice(&[!r, !g, !b, k]);
    }
}
