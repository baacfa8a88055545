//! The forms of Winograd's minimal filtering: F(2x2, 3x3), F(4x4, 3x3), F(5x5, 3x3) and F(6x6, 3x3)
//! (Lavin & Gray 2015), those of 3x3 at a stride of 2, and the one-dimensional transforms of each.

use super::vector::Vector;

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
    /// As F4, at points whose products are rounded less: for bf16.
    B4,
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
            Form::F4 | Form::S4 | Form::B4 => 4,
            Form::F5 => 5,
            Form::F6 => 6,
        }
    }

    /// Whether the output has every second pixel.
    ///
    /// Taps 0 and 2 then read pixels of one parity, tap 1 those of the other: a filter of two taps
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
            Form::B4 => &B4_WEIGHTS,
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
    /// Whether product 1 is that of point 1, which goes into every output once: where a bias is added.
    const HAS_ONE: bool = true;
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
        let (two, four, five) = (d[0].all(2.0), d[0].all(4.0), d[0].all(5.0));
        let minus_four = d[0].all(-4.0);
        let a = d[2].mul_add(minus_four, d[4]);
        let b = d[1].mul_add(minus_four, d[3]);
        let c = d[4].sub(d[2]);
        let e = d[3].sub(d[1]).mul(two);
        let minus_five = d[0].all(0.0).sub(five);
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
        let (two, four, eight) = (m[0].all(2.0), m[0].all(4.0), m[0].all(8.0));
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

/// The points of [`B4`] besides 0 and ∞, each with both signs. With 1 and 2 the rounding of V and U to bf16 is an error of
/// 7.7e-3 a layer on a resnet50's maps, with these 4.7e-3, where direct bf16 has 2.4e-3.
const B4_POINTS: [f64; 2] = [0.625, 1.625];

const B4_WEIGHTS: [[f64; 3]; 6] = {
    let [a, b] = B4_POINTS;
    let (a2, b2) = (a * a, b * b);
    let (n, m) = (2.0 * a2 * (a2 - b2), 2.0 * b2 * (b2 - a2));
    [
        [1.0 / (a2 * b2), 0.0, 0.0],
        [1.0 / n, a / n, a2 / n],
        [1.0 / n, -a / n, a2 / n],
        [1.0 / m, b / m, b2 / m],
        [1.0 / m, -b / m, b2 / m],
        [0.0, 0.0, 1.0],
    ]
};

pub(crate) struct B4;

// Points 0, a, -a, b, -b, ∞. Bᵀ has the coefficients of Π(x - p) without the factor of a row's point.
impl Transform<6, 4> for B4 {
    const HAS_ONE: bool = false;

    #[inline(always)]
    fn input<V: Vector>(d: [V; 6]) -> [V; 6] {
        const A: f32 = B4_POINTS[0] as f32;
        const B: f32 = B4_POINTS[1] as f32;
        let times = |factor: f32, x: V, y: V| x.mul_add(x.all(factor), y);
        let even = |square: f32| times(-square, d[2], d[4]);
        let odd = |point: f32, square: f32| times(-square, d[1], d[3]).mul(d[0].all(point));
        let (ea, oa) = (even(B * B), odd(A, B * B));
        let (eb, ob) = (even(A * A), odd(B, A * A));
        let outer = |x: V, y: V, z: V| times(A * A * B * B, x, times(-(A * A + B * B), y, z));
        [
            outer(d[0], d[2], d[4]),
            ea.add(oa),
            ea.sub(oa),
            eb.add(ob),
            eb.sub(ob),
            outer(d[1], d[3], d[5]),
        ]
    }

    #[inline(always)]
    fn output<V: Vector>(m: [V; 6]) -> [V; 4] {
        const A: f32 = B4_POINTS[0] as f32;
        const B: f32 = B4_POINTS[1] as f32;
        let (s1, d1) = (m[1].add(m[2]), m[1].sub(m[2]));
        let (s2, d2) = (m[3].add(m[4]), m[3].sub(m[4]));
        let both = |x: V, by_a: f32, y: V, by_b: f32| y.mul_add(y.all(by_b), x.mul(x.all(by_a)));
        [
            m[0].add(s1).add(s2),
            both(d1, A, d2, B),
            both(s1, A * A, s2, B * B),
            both(d1, A * A * A, d2, B * B * B).add(m[5]),
        ]
    }
}

// Points 0, 1, -1, 1/2, -1/2, 3, ∞. Of sets with two pairs and one more, simulated on rectified
// inputs, the one with the least error.
impl Transform<7, 5> for F5 {
    #[inline(always)]
    fn input<V: Vector>(d: [V; 7]) -> [V; 7] {
        let times = |factor: f32, x: V, y: V| x.mul_add(x.all(factor), y);
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
        let times = |factor: f32, x: V, y: V| x.mul_add(x.all(factor), y);
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
        let times = |factor: f32, x: V, y: V| x.mul_add(x.all(factor), y);
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
        let times = |factor: f32, x: V, y: V| x.mul_add(x.all(factor), y);
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
        let last = d[1].sub(d[3]).mul_add(d[0].all(2.0), d[4].sub(d[2]));
        [a, b, c, e, last]
    }

    #[inline(always)]
    fn output<V: Vector>(m: [V; 5]) -> [V; 4] {
        let (two, four, eight) = (m[0].all(2.0), m[0].all(4.0), m[0].all(8.0));
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
        let (two, minus_two) = (d[0].all(2.0), d[0].all(-2.0));
        let (low, high) = (d[3].sub(d[1]), d[3].sub(d[2]));
        [
            d[0].sub(d[2]).mul_add(two, low),
            d[1].mul_add(minus_two, high),
            d[1].sub(d[2]).mul_add(two, high),
            low,
        ]
    }
}
