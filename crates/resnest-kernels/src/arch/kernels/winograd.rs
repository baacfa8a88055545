//! Winograd's transforms of input and output tiles, vectorised over channels.

use super::rows::{load, store};
use crate::arch::dot::{Bf16Dot, Rounding};
use crate::arch::form::{StridedTransform, Transform};
use crate::arch::vector::Vector;
use std::mem::MaybeUninit;

/// A tile transformed one way, to be read the other way: R rows of C values, not set to zero first,
/// which took a tenth of the larger transforms' time.
struct Half<V, const R: usize, const C: usize>([[MaybeUninit<V>; C]; R]);

impl<V: Vector, const R: usize, const C: usize> Half<V, R, C> {
    #[inline(always)]
    fn new() -> Self {
        Half([[const { MaybeUninit::uninit() }; C]; R])
    }

    #[inline(always)]
    fn set_column(&mut self, j: usize, values: [V; R]) {
        for (row, value) in self.0.iter_mut().zip(values) {
            row[j].write(value);
        }
    }

    /// # Safety
    /// The CPU has the instruction set; all columns have been set.
    #[inline(always)]
    unsafe fn row(&self, i: usize) -> [V; C] {
        // SAFETY: the caller's promise.
        unsafe {
            let mut row = [V::splat(0.0); C];
            for (value, kept) in row.iter_mut().zip(&self.0[i]) {
                *value = kept.assume_init();
            }
            row
        }
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
    /// Where product 0 of this tile goes: `channels` rounded up to whole registers, of the size that they are put in.
    pub out: *mut f32,
    /// From one product to the next, in values of that size.
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

/// In what V is stored.
pub(crate) trait Put<V> {
    /// Stores a register at value `at` of `out`.
    ///
    /// # Safety
    /// The CPU has the instruction set; there is room for a register.
    unsafe fn put(value: V, out: *mut f32, at: usize);
}

/// As it is.
pub(crate) struct AsF32;

impl<V: Vector> Put<V> for AsF32 {
    #[inline(always)]
    unsafe fn put(value: V, out: *mut f32, at: usize) {
        // SAFETY: passed on to the caller.
        unsafe { value.store(out.add(at)) }
    }
}

/// Rounded to bf16.
pub(crate) struct AsBf16<D>(std::marker::PhantomData<D>);

impl<D: Bf16Dot> Put<D::V> for AsBf16<D> {
    #[inline(always)]
    unsafe fn put(value: D::V, out: *mut f32, at: usize) {
        // SAFETY: passed on to the caller.
        unsafe {
            let p = out.cast::<u16>().add(at).cast();
            D::store_rounded(value, p, D::V::LANES, Rounding::default());
        }
    }
}

pub(crate) type InputFn = unsafe fn(&InputArgs);
pub(crate) type OutputFn = unsafe fn(&OutputArgs);

/// Bᵀ·d·B for all channels of a tile.
///
/// # Safety
/// The CPU has the instruction set. Each of the A·A pixels that is not in the padding has `channels` readable values; `out` has room
/// for `channels`, rounded up to whole registers, at each of A·A places `stride` apart.
#[inline(always)]
pub(crate) unsafe fn input<V, T, P, const A: usize, const M: usize>(a: &InputArgs)
where
    V: Vector,
    T: Transform<A, M>,
    P: Put<V>,
{
    let mut c = 0;
    while c < a.channels {
        let left = a.channels - c;
        // SAFETY: the promises above, for the channels from c on.
        unsafe {
            if a.offsets.is_null() && left >= V::LANES {
                input_at::<V, T, P, A, M, true>(a, c, left);
            } else {
                input_at::<V, T, P, A, M, false>(a, c, left);
            }
        }
        c += V::LANES;
    }
}

#[inline(always)]
unsafe fn input_at<V, T, P, const A: usize, const M: usize, const WHOLE: bool>(
    a: &InputArgs,
    c: usize,
    left: usize,
) where
    V: Vector,
    T: Transform<A, M>,
    P: Put<V>,
{
    let mut half = Half::<V, A, A>::new();
    // SAFETY: see `input`; each value of `half` is written before it is read.
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
            half.set_column(j, T::input(column));
        }
        for i in 0..A {
            for (j, value) in T::input(half.row(i)).iter().enumerate() {
                P::put(*value, a.out, (i * A + j) * a.stride + c);
            }
        }
    }
}

/// Bᵀ·d·B of a tile at a stride of 2, S = 2A - 1 pixels a side, for all channels: of each product the
/// terms follow one another, each of `channels`, rounded up to whole registers.
///
/// # Safety
/// The CPU has the instruction set. Each of the S·S pixels that is not in the padding has `channels` readable values; `out` has room for
/// four times `channels`, rounded up to whole registers, at each of A·A places `stride` apart.
#[inline(always)]
pub(crate) unsafe fn input_strided<V, T, const A: usize, const M: usize, const S: usize>(
    a: &InputArgs,
) where
    V: Vector,
    T: StridedTransform<A, M>,
{
    let mut c = 0;
    while c < a.channels {
        let left = (a.channels - c).min(V::LANES);
        // SAFETY: the promises above, for the channels from c on; every value of both halves is
        // written before it is read.
        unsafe {
            let mut pairs = Half::<V, A, S>::new();
            let mut singles = Half::<V, M, S>::new();
            for j in 0..S {
                let mut column = [V::splat(0.0); S];
                for (i, value) in column.iter_mut().enumerate() {
                    if let Some(pixel) = pixel::<S>(a, i, j) {
                        *value = load(pixel.add(c), left);
                    }
                }
                let (pair, single) = parities(column);
                pairs.set_column(j, T::input(pair));
                singles.set_column(j, T::single(single));
            }
            for i in 0..A {
                put_row::<V, T, A, M, S>(a, pairs.row(i), i, 0, c);
            }
            for i in 0..M {
                put_row::<V, T, A, M, S>(a, singles.row(i), i, 1, c);
            }
        }
        c += V::LANES;
    }
}

/// Those at even places, and those between.
#[inline(always)]
fn parities<V: Vector, const A: usize, const M: usize, const S: usize>(
    values: [V; S],
) -> ([V; A], [V; M]) {
    let zero = values[0].all(0.0);
    let (mut even, mut odd) = ([zero; A], [zero; M]);
    for (i, value) in even.iter_mut().enumerate() {
        *value = values[2 * i];
    }
    for (i, value) in odd.iter_mut().enumerate() {
        *value = values[2 * i + 1];
    }
    (even, odd)
}

/// Transforms a row, of pixels of one `parity` down, and stores it as terms of the products of row `i`.
///
/// # Safety
/// That of [`input_strided`].
#[inline(always)]
unsafe fn put_row<V, T, const A: usize, const M: usize, const S: usize>(
    a: &InputArgs,
    row: [V; S],
    i: usize,
    parity: usize,
    c: usize,
) where
    V: Vector,
    T: StridedTransform<A, M>,
{
    let (pair, single) = parities::<V, A, M, S>(row);
    let channels = a.channels.next_multiple_of(V::LANES);
    let out = a.out.wrapping_add(i * A * a.stride + c);
    // SAFETY: the caller's promise.
    unsafe {
        for (j, value) in T::input(pair).iter().enumerate() {
            // At ∞ across there is no other parity: its terms are half as many.
            let term = if j + 1 == A { parity } else { 2 * parity };
            value.store(out.add(j * a.stride + term * channels));
        }
        for (j, value) in T::single(single).iter().enumerate() {
            value.store(out.add(j * a.stride + (2 * parity + 1) * channels));
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
/// The CPU has the instruction set. Every pointer is valid for what [`OutputArgs`] says of it, pixels outside `rows` and `columns`
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
    let mut half = Half::<V, M, A>::new();
    // SAFETY: m holds A·A rows of `width` values, bias and sums one; pixels in rows and columns have
    // `valid` values; each value of `half` is written before it is read.
    unsafe {
        for j in 0..A {
            let mut column = [V::splat(0.0); A];
            for (i, value) in column.iter_mut().enumerate() {
                *value = V::load(a.m.add((i * A + j) * width + at));
            }
            if T::HAS_ONE && j == 1 {
                // Of all products, that of point 1 twice goes into every output once.
                column[1] = column[1].add(V::load(a.bias.add(at)));
            }
            half.set_column(j, T::output(column));
        }
        // One sum for each column of the tile: a single one would be a chain of additions.
        let mut sums = [V::splat(0.0); M];
        let bias = V::load(a.bias.add(at));
        for i in 0..rows {
            let pixels = T::output(half.row(i));
            for (j, value) in pixels.iter().enumerate() {
                if j < columns {
                    let offset = i * a.row_stride + j * a.pixel_stride + at;
                    let value = if T::HAS_ONE { *value } else { value.add(bias) };
                    sums[j] = sums[j].add(epilogue(a, value, offset, valid));
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
unsafe fn epilogue<V: Vector>(a: &OutputArgs, mut value: V, offset: usize, valid: usize) -> V {
    // SAFETY: the caller's promise.
    unsafe {
        if !a.residual.is_null() {
            value = value.add(load(a.residual.add(offset), valid));
        }
        if a.relu {
            value = value.relu();
        }
        store(value, a.out.add(offset), valid);
    }
    value
}
