//! Winograd's transforms F(2x2, 3x3), F(4x4, 3x3), F(5x5, 3x3) and F(6x6, 3x3) (Lavin & Gray 2015),
//! and those of 3x3 at a stride of 2, vectorised over channels.

use super::rows::{load, store};
use super::vector::Vector;
use std::mem::MaybeUninit;

/// The sizes of minimal filtering, by what they compute of the output at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// 2x2 outputs from 4x4 inputs: 16 products instead of 36.
    F2,
    /// 4x4 outputs from 6x6 inputs: 36 products instead of 144.
    F4,
    /// 5x5 outputs from 7x7 inputs: 49 products instead of 225.
    F5,
    /// 6x6 outputs from 8x8 inputs: 64 products instead of 324.
    F6,
    /// 2x2 outputs, at a stride of 2, from 5x5 inputs: 25 products instead of 36.
    S2,
    /// 4x4 outputs, at a stride of 2, from 9x9 inputs: 81 products instead of 144.
    S4,
}

/// A part of the transformed weights: row `left` of G times every kernel times row `right`.
pub(crate) struct Term {
    pub left: usize,
    pub right: usize,
}

/// Products that follow one another and are sums over equally many terms.
pub(crate) struct Band {
    pub first: usize,
    pub count: usize,
    /// Terms of each, and of all products before.
    pub terms: usize,
    pub before: usize,
}

impl Form {
    /// Side of the output tile.
    pub fn outputs(self) -> usize {
        match self {
            Form::F2 | Form::S2 => 2,
            Form::F4 | Form::S4 => 4,
            Form::F5 => 5,
            Form::F6 => 6,
        }
    }

    /// Whether the output has every second pixel.
    ///
    /// Taps 0 and 2 then meet the pixels of one parity, tap 1 those of the other: a filter of two taps
    /// and one of a single tap, transformed with the same points, whose products are added up before
    /// the output transform. The single tap has no product at ∞.
    pub fn strided(self) -> bool {
        matches!(self, Form::S2 | Form::S4)
    }

    /// Products along one side of a tile.
    pub fn points(self) -> usize {
        self.outputs() + if self.strided() { 1 } else { 2 }
    }

    /// Side of the input tile.
    pub fn inputs(self) -> usize {
        match self.strided() {
            true => 2 * self.outputs() + 1,
            false => self.points(),
        }
    }

    /// Products per tile, each a sum over the terms of its band.
    pub fn products(self) -> usize {
        self.points() * self.points()
    }

    /// Multiplications per tile and channel pair.
    pub fn terms(self) -> usize {
        match self.strided() {
            true => self.inputs() * self.inputs(),
            false => self.products(),
        }
    }

    /// The products in their order.
    pub fn bands(self) -> Vec<Band> {
        let points = self.points();
        if !self.strided() {
            return vec![Band {
                first: 0,
                count: self.products(),
                terms: 1,
                before: 0,
            }];
        }
        let mut bands = Vec::new();
        let mut before = 0;
        for i in 0..points {
            let parities = if i + 1 == points { 1 } else { 2 };
            for (first, count, terms) in [
                (i * points, points - 1, 2 * parities),
                (i * points + points - 1, 1, parities),
            ] {
                bands.push(Band {
                    first,
                    count,
                    terms,
                    before,
                });
                before += count * terms;
            }
        }
        bands
    }

    /// The rows of G, those of both parities where the output is strided, and the transforms of the
    /// weights by them, product by product and term by term.
    pub fn weight_terms(self) -> (Vec<[f64; 3]>, Vec<Term>) {
        let points = self.weight_rows();
        let mut rows = Vec::new();
        let mut parities = Vec::new();
        for (i, point) in points.iter().enumerate() {
            let first = rows.len();
            rows.push(*point);
            if self.strided() && i + 1 < points.len() {
                rows.push([0.0, point[0], 0.0]);
            }
            parities.push(first..rows.len());
        }
        let mut terms = Vec::new();
        for i in &parities {
            for j in &parities {
                for left in i.clone() {
                    terms.extend(j.clone().map(|right| Term { left, right }));
                }
            }
        }
        (rows, terms)
    }

    /// G of the weight transform G·g·Gᵀ, row by row; with a stride, that of taps 0 and 2.
    fn weight_rows(self) -> &'static [[f64; 3]] {
        match self {
            Form::S2 => &[[-1.0, 0.0, 0.0], [1.0, 0.0, 1.0], [0.0, 0.0, 1.0]],
            Form::S4 => &[
                [0.5, 0.0, 0.0],
                [-0.5, 0.0, -0.5],
                [-1.0 / 6.0, 0.0, 1.0 / 6.0],
                [1.0 / 6.0, 0.0, 1.0 / 3.0],
                [0.0, 0.0, 1.0],
            ],
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
            Form::F5 => &[
                [-4.0 / 3.0, 0.0, 0.0],
                [-1.0 / 3.0, -1.0 / 3.0, -1.0 / 3.0],
                [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
                [16.0 / 15.0, 8.0 / 15.0, 4.0 / 15.0],
                [16.0 / 21.0, -8.0 / 21.0, 4.0 / 21.0],
                [1.0 / 210.0, 1.0 / 70.0, 3.0 / 70.0],
                [0.0, 0.0, 1.0],
            ],
            Form::F6 => &[
                [1.0, 0.0, 0.0],
                [-2.0 / 9.0, -2.0 / 9.0, -2.0 / 9.0],
                [-2.0 / 9.0, 2.0 / 9.0, -2.0 / 9.0],
                [1.0 / 90.0, 1.0 / 45.0, 2.0 / 45.0],
                [1.0 / 90.0, -1.0 / 45.0, 2.0 / 45.0],
                [32.0 / 45.0, 16.0 / 45.0, 8.0 / 45.0],
                [32.0 / 45.0, -16.0 / 45.0, 8.0 / 45.0],
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
pub(crate) struct F5;
pub(crate) struct F6;

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

// Points 0, 1, -1, 1/2, -1/2, 3, ∞. Of sets with two pairs and one more, simulated on rectified
// inputs, the one with the least error.
impl Transform<7, 5> for F5 {
    #[inline(always)]
    fn input<V: Vector>(d: [V; 7]) -> [V; 7] {
        let times = |factor: f32, x: V, y: V| x.mul_add(V::splat(factor), y);
        // All points but 3 have its factor.
        let e = |i: usize| times(-3.0, d[i], d[i + 1]);
        let e = [e(0), e(1), e(2), e(3), e(4), e(5)];
        let (a, b) = (times(-0.25, e[2], e[4]), times(-0.25, e[1], e[3]));
        let (c, f) = (e[4].sub(e[2]), e[3].sub(e[1]));
        [
            times(0.25, e[0], times(-1.25, e[2], e[4])),
            a.add(b),
            a.sub(b),
            times(0.5, f, c),
            times(-0.5, f, c),
            times(0.25, d[1], times(-1.25, d[3], d[5])),
            times(0.25, e[1], times(-1.25, e[3], e[5])),
        ]
    }

    #[inline(always)]
    fn output<V: Vector>(m: [V; 7]) -> [V; 5] {
        let times = |factor: f32, x: V, y: V| x.mul_add(V::splat(factor), y);
        let (s1, d1) = (m[1].add(m[2]), m[1].sub(m[2]));
        let (s2, d2) = (m[3].add(m[4]), m[3].sub(m[4]));
        [
            m[0].add(s1).add(s2.add(m[5])),
            times(3.0, m[5], times(1.0 / 2.0, d2, d1)),
            times(9.0, m[5], times(1.0 / 4.0, s2, s1)),
            times(27.0, m[5], times(1.0 / 8.0, d2, d1)),
            times(81.0, m[5], times(1.0 / 16.0, s2, s1)).add(m[6]),
        ]
    }
}

// Points 0, 1, -1, 2, -2, 1/2, -1/2, ∞: of 220 sets with fractions of small numbers, simulated on
// rectified inputs, the one with the least error.
impl Transform<8, 6> for F6 {
    #[inline(always)]
    fn input<V: Vector>(d: [V; 8]) -> [V; 8] {
        let times = |factor: f32, x: V, y: V| x.mul_add(V::splat(factor), y);
        let a = times(-4.25, d[4], d[2].add(d[6]));
        let b = times(-4.25, d[3], d[1].add(d[5]));
        let c = times(0.25, d[2], times(-1.25, d[4], d[6]));
        let e = times(0.5, d[1], times(-2.5, d[3], d[5].add(d[5])));
        let f = times(4.0, d[2], times(-5.0, d[4], d[6]));
        let g = times(0.5, d[5], times(-2.5, d[3], d[1].add(d[1])));
        [
            times(5.25, d[4].sub(d[2]), d[0].sub(d[6])),
            a.add(b),
            a.sub(b),
            c.add(e),
            c.sub(e),
            f.add(g),
            f.sub(g),
            times(5.25, d[3].sub(d[5]), d[7].sub(d[1])),
        ]
    }

    #[inline(always)]
    fn output<V: Vector>(m: [V; 8]) -> [V; 6] {
        let times = |factor: f32, x: V, y: V| x.mul_add(V::splat(factor), y);
        let (s1, d1) = (m[1].add(m[2]), m[1].sub(m[2]));
        let (s2, d2) = (m[3].add(m[4]), m[3].sub(m[4]));
        let (s3, d3) = (m[5].add(m[6]), m[5].sub(m[6]));
        [
            m[0].add(s1).add(s2.add(s3)),
            times(2.0, d2, times(1.0 / 2.0, d3, d1)),
            times(4.0, s2, times(1.0 / 4.0, s3, s1)),
            times(8.0, d2, times(1.0 / 8.0, d3, d1)),
            times(16.0, s2, times(1.0 / 16.0, s3, s1)),
            times(32.0, d2, times(1.0 / 32.0, d3, d1)).add(m[7]),
        ]
    }
}

/// One-dimensional transforms of A pixels of one parity and M = A - 1 of the other.
pub(crate) trait StridedTransform<const A: usize, const M: usize>: Transform<A, M> {
    /// Bᵀ·d of the pixels under the single tap, the points but ∞.
    fn single<V: Vector>(d: [V; M]) -> [V; M];
}

pub(crate) struct S2;
pub(crate) struct S4;

// Points 0, 1, ∞.
impl Transform<3, 2> for S2 {
    #[inline(always)]
    fn input<V: Vector>(d: [V; 3]) -> [V; 3] {
        [d[1].sub(d[0]), d[1], d[2].sub(d[1])]
    }

    #[inline(always)]
    fn output<V: Vector>(m: [V; 3]) -> [V; 2] {
        [m[0].add(m[1]), m[1].add(m[2])]
    }
}

impl StridedTransform<3, 2> for S2 {
    #[inline(always)]
    fn single<V: Vector>(d: [V; 2]) -> [V; 2] {
        [d[1].sub(d[0]), d[1]]
    }
}

// Points 0, 1, -1, 2, ∞.
impl Transform<5, 4> for S4 {
    #[inline(always)]
    fn input<V: Vector>(d: [V; 5]) -> [V; 5] {
        let [a, b, c, e] = Self::single([d[0], d[1], d[2], d[3]]);
        let last = d[1].sub(d[3]).mul_add(V::splat(2.0), d[4].sub(d[2]));
        [a, b, c, e, last]
    }

    #[inline(always)]
    fn output<V: Vector>(m: [V; 5]) -> [V; 4] {
        let (two, four, eight) = (V::splat(2.0), V::splat(4.0), V::splat(8.0));
        let (sum, difference) = (m[1].add(m[2]), m[1].sub(m[2]));
        [
            m[0].add(sum).add(m[3]),
            m[3].mul_add(two, difference),
            m[3].mul_add(four, sum),
            m[3].mul_add(eight, difference).add(m[4]),
        ]
    }
}

impl StridedTransform<5, 4> for S4 {
    #[inline(always)]
    fn single<V: Vector>(d: [V; 4]) -> [V; 4] {
        let (two, minus_two) = (V::splat(2.0), V::splat(-2.0));
        let (low, high) = (d[3].sub(d[1]), d[3].sub(d[2]));
        [
            d[0].sub(d[2]).mul_add(two, low),
            d[1].mul_add(minus_two, high),
            d[1].sub(d[2]).mul_add(two, high),
            low,
        ]
    }
}

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
    /// All columns have been set.
    #[inline(always)]
    unsafe fn row(&self, i: usize) -> [V; C] {
        let mut row = [V::splat(0.0); C];
        for (value, kept) in row.iter_mut().zip(&self.0[i]) {
            // SAFETY: the caller's promise.
            *value = unsafe { kept.assume_init() };
        }
        row
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
unsafe fn input_at<V, T, const A: usize, const M: usize, const WHOLE: bool>(
    a: &InputArgs,
    c: usize,
    left: usize,
) where
    V: Vector,
    T: Transform<A, M>,
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
                value.store(a.out.add((i * A + j) * a.stride + c));
            }
        }
    }
}

/// Bᵀ·d·B of a tile at a stride of 2, S = 2A - 1 pixels a side, for all channels: of each product the
/// terms follow one another, each of `channels`, rounded up to whole registers.
///
/// # Safety
/// Each of the S·S pixels that is not in the padding has `channels` readable values; `out` has room for
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
    let (mut even, mut odd) = ([V::splat(0.0); A], [V::splat(0.0); M]);
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
            if j == 1 {
                // Of all products, that of point 1 twice goes into every output once.
                column[1] = column[1].add(V::load(a.bias.add(at)));
            }
            half.set_column(j, T::output(column));
        }
        // One sum for each column of the tile: a single one would be a chain of additions.
        let mut sums = [V::splat(0.0); M];
        for i in 0..rows {
            let pixels = T::output(half.row(i));
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
