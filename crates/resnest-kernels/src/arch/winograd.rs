//! Winograd's transforms F(2x2, 3x3) and F(4x4, 3x3) (Lavin & Gray 2015), vectorised over channels.

use super::rows::{load, store};
use super::vector::Vector;

/// The two sizes of minimal filtering, by what they compute of the output at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// 2x2 outputs from 4x4 inputs: 16 products instead of 36.
    F2,
    /// 4x4 outputs from 6x6 inputs: 36 products instead of 144.
    F4,
}

impl Form {
    /// Side of the output tile.
    pub fn outputs(self) -> usize {
        match self {
            Form::F2 => 2,
            Form::F4 => 4,
        }
    }

    /// Side of the input tile.
    pub fn inputs(self) -> usize {
        self.outputs() + 2
    }

    /// Products per tile and channel pair.
    pub fn products(self) -> usize {
        self.inputs() * self.inputs()
    }

    /// G of the weight transform G·g·Gᵀ, row by row.
    pub fn weight_rows(self) -> &'static [[f64; 3]] {
        match self {
            Form::F2 => &[
                [1.0, 0.0, 0.0],
                [0.5, 0.5, 0.5],
                [0.5, -0.5, 0.5],
                [0.0, 0.0, 1.0],
            ],
            Form::F4 => &[
                [1.0 / 4.0, 0.0, 0.0],
                [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
                [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
                [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
                [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
                [0.0, 0.0, 1.0],
            ],
        }
    }
}

/// One-dimensional transforms: A inputs, M outputs.
pub(crate) trait Transform<const A: usize, const M: usize> {
    /// Bᵀ·d
    fn input<V: Vector>(d: [V; A]) -> [V; A];
    /// Aᵀ·m
    fn output<V: Vector>(m: [V; A]) -> [V; M];
}

pub(crate) struct F2;
pub(crate) struct F4;

// Points 0, 1, -1, ∞.
impl Transform<4, 2> for F2 {
    #[inline(always)]
    fn input<V: Vector>(d: [V; 4]) -> [V; 4] {
        [
            d[0].sub(d[2]),
            d[1].add(d[2]),
            d[2].sub(d[1]),
            d[3].sub(d[1]),
        ]
    }

    #[inline(always)]
    fn output<V: Vector>(m: [V; 4]) -> [V; 2] {
        let (sum, difference) = (m[1].add(m[2]), m[1].sub(m[2]));
        [m[0].add(sum), difference.add(m[3])]
    }
}

// Points 0, 1, -1, 2, -2, ∞.
impl Transform<6, 4> for F4 {
    #[inline(always)]
    fn input<V: Vector>(d: [V; 6]) -> [V; 6] {
        let (two, four, five) = (V::splat(2.0), V::splat(4.0), V::splat(5.0));
        let minus_four = V::splat(-4.0);
        let a = d[2].mul_add(minus_four, d[4]);
        let b = d[1].mul_add(minus_four, d[3]);
        let c = d[4].sub(d[2]);
        let e = d[3].sub(d[1]).mul(two);
        let minus_five = V::splat(0.0).sub(five);
        [
            d[0].mul_add(four, d[2].mul_add(minus_five, d[4])),
            a.add(b),
            a.sub(b),
            c.add(e),
            c.sub(e),
            d[1].mul_add(four, d[3].mul_add(minus_five, d[5])),
        ]
    }

    #[inline(always)]
    fn output<V: Vector>(m: [V; 6]) -> [V; 4] {
        let (two, four, eight) = (V::splat(2.0), V::splat(4.0), V::splat(8.0));
        let (s1, d1) = (m[1].add(m[2]), m[1].sub(m[2]));
        let (s2, d2) = (m[3].add(m[4]), m[3].sub(m[4]));
        [
            m[0].add(s1).add(s2),
            d2.mul_add(two, d1),
            s2.mul_add(four, s1),
            d2.mul_add(eight, d1).add(m[5]),
        ]
    }
}

/// One tile's input transform.
pub(crate) struct InputArgs {
    /// Of a tile inside the image its first pixel, else the image.
    pub x: *const f32,
    /// A·A element offsets, negative in the padding; null for a tile inside the image.
    pub offsets: *const isize,
    /// From one row, and one pixel, of a tile inside the image to the next.
    pub row_stride: usize,
    pub pixel_stride: usize,
    pub channels: usize,
    /// Where product 0 of this tile goes: `channels` rounded up to whole registers.
    pub out: *mut f32,
    /// From one product to the next.
    pub stride: usize,
}

/// One tile's output transform for one panel.
pub(crate) struct OutputArgs {
    /// `[product][width]`
    pub m: *const f32,
    pub registers: usize,
    /// Valid columns of the panel.
    pub cols: usize,
    pub out: *mut f32,
    /// Laid out like `out`, or null.
    pub residual: *const f32,
    /// From one output row, and one output pixel, to the next.
    pub row_stride: usize,
    pub pixel_stride: usize,
    /// How much of the tile lies inside the output.
    pub rows: usize,
    pub columns: usize,
    /// A panel's width of values.
    pub bias: *const f32,
    pub relu: bool,
    /// A panel's width of running sums, or null.
    pub sums: *mut f32,
}

pub(crate) type InputFn = unsafe fn(&InputArgs);
pub(crate) type OutputFn = unsafe fn(&OutputArgs);

/// Bᵀ·d·B for all channels of a tile.
///
/// # Safety
/// Each of the A·A pixels that is not in the padding has `channels` readable values; `out` has room
/// for `channels`, rounded up to whole registers, at each of A·A places `stride` apart.
#[inline(always)]
pub(crate) unsafe fn input<V: Vector, T: Transform<A, M>, const A: usize, const M: usize>(
    a: &InputArgs,
) {
    let mut c = 0;
    while c < a.channels {
        let left = a.channels - c;
        // SAFETY: the promises above, for the channels from c on.
        unsafe {
            if a.offsets.is_null() && left >= V::LANES {
                input_at::<V, T, A, M, true>(a, c, left);
            } else {
                input_at::<V, T, A, M, false>(a, c, left);
            }
        }
        c += V::LANES;
    }
}

#[inline(always)]
#[expect(
    clippy::needless_range_loop,
    reason = "a transposition reads rows and columns alike"
)]
unsafe fn input_at<V, T, const A: usize, const M: usize, const WHOLE: bool>(
    a: &InputArgs,
    c: usize,
    left: usize,
) where
    V: Vector,
    T: Transform<A, M>,
{
    let mut half = [[V::splat(0.0); A]; A];
    // SAFETY: see `input`.
    unsafe {
        for j in 0..A {
            let mut column = [V::splat(0.0); A];
            for (i, value) in column.iter_mut().enumerate() {
                if WHOLE {
                    let at = i * a.row_stride + j * a.pixel_stride;
                    *value = V::load(a.x.add(at + c));
                } else if let Some(pixel) = pixel::<A>(a, i, j) {
                    *value = V::load_first(pixel.add(c), left.min(V::LANES));
                }
            }
            let column = T::input(column);
            for i in 0..A {
                half[i][j] = column[i];
            }
        }
        for (i, row) in half.iter().enumerate() {
            for (j, value) in T::input(*row).iter().enumerate() {
                value.store(a.out.add((i * A + j) * a.stride + c));
            }
        }
    }
}

/// Pixel (i, j) of a tile, unless it is in the padding.
///
/// # Safety
/// Of [`InputArgs`]: offsets are null or there are A·A of them.
#[inline(always)]
unsafe fn pixel<const A: usize>(a: &InputArgs, i: usize, j: usize) -> Option<*const f32> {
    if a.offsets.is_null() {
        return Some(a.x.wrapping_add(i * a.row_stride + j * a.pixel_stride));
    }
    // SAFETY: i and j are below A.
    let offset = unsafe { *a.offsets.add(i * A + j) };
    (offset >= 0).then(|| a.x.wrapping_offset(offset))
}

/// Aᵀ·m·A, then bias, residual, ReLU, sums and the store, for one tile and panel.
///
/// # Safety
/// Every pointer is valid for what [`OutputArgs`] says of it, pixels outside `rows` and `columns`
/// excepted.
#[inline(always)]
pub(crate) unsafe fn output<V: Vector, T: Transform<A, M>, const A: usize, const M: usize>(
    a: &OutputArgs,
) {
    for register in 0..a.registers {
        let at = register * V::LANES;
        // SAFETY: passed on to the caller.
        unsafe {
            if (a.rows, a.columns) == (M, M) && a.cols >= at + V::LANES {
                output_at::<V, T, A, M, true>(a, at);
            } else {
                output_at::<V, T, A, M, false>(a, at);
            }
        }
    }
}

/// One register of it. `WHOLE`: the tile lies inside the output, and all lanes are channels.
///
/// # Safety
/// That of [`output`].
#[inline(always)]
#[expect(
    clippy::needless_range_loop,
    reason = "a transposition reads rows and columns alike"
)]
unsafe fn output_at<V, T, const A: usize, const M: usize, const WHOLE: bool>(
    a: &OutputArgs,
    at: usize,
) where
    V: Vector,
    T: Transform<A, M>,
{
    let width = a.registers * V::LANES;
    let (rows, columns, valid) = match WHOLE {
        true => (M, M, V::LANES),
        false => (a.rows, a.columns, V::LANES.min(a.cols - at)),
    };
    let mut half = [[V::splat(0.0); A]; M];
    // SAFETY: m holds A·A rows of `width` values, bias and sums one; pixels in rows and columns
    // have `valid` values.
    unsafe {
        for j in 0..A {
            let mut column = [V::splat(0.0); A];
            for (i, value) in column.iter_mut().enumerate() {
                *value = V::load(a.m.add((i * A + j) * width + at));
            }
            if j == 1 {
                // Of all products, that of point 1 twice goes into every output once.
                column[1] = column[1].add(V::load(a.bias.add(at)));
            }
            let column = T::output(column);
            for i in 0..M {
                half[i][j] = column[i];
            }
        }
        // One sum for each column of the tile: a single one would be a chain of additions.
        let mut sums = [V::splat(0.0); M];
        for (i, row) in half.iter().enumerate().take(rows) {
            let pixels = T::output(*row);
            for (j, value) in pixels.iter().enumerate() {
                if j < columns {
                    let offset = i * a.row_stride + j * a.pixel_stride + at;
                    sums[j] = sums[j].add(finish(a, *value, offset, valid));
                }
            }
        }
        if !a.sums.is_null() {
            let mut total = V::load(a.sums.add(at));
            for sum in sums {
                total = total.add(sum);
            }
            total.store(a.sums.add(at));
        }
    }
}

/// Residual, ReLU and the store of one pixel.
///
/// # Safety
/// `offset` is a pixel inside the output, `valid` its columns in this register.
#[inline(always)]
unsafe fn finish<V: Vector>(a: &OutputArgs, mut value: V, offset: usize, valid: usize) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        if !a.residual.is_null() {
            value = value.add(load(a.residual.add(offset), valid));
        }
        if a.relu {
            value = value.max(V::splat(0.0));
        }
        store(value, a.out.add(offset), valid);
    }
    value
}
