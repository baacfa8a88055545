//! The safe way to the row kernels.

use super::Isa;
use super::rows::{ColumnArgs, GateArgs, Reduce, ReduceArgs, WeightedArgs};
use crate::share::SharedMut;

/// Where values go: the memory, where in it the first lies, and how many there are.
pub(crate) type Place<'a> = (&'a SharedMut<'a>, usize, usize);

/// The pixels under one window and the rows of weights that go with them.
#[derive(Default)]
pub(crate) struct Window {
    offsets: Vec<isize>,
    rows: Vec<usize>,
    max: usize,
}

impl Window {
    pub fn clear(&mut self) {
        self.offsets.clear();
        self.rows.clear();
        self.max = 0;
    }

    /// Adds the pixel at element `offset` under tap `row`.
    pub fn push(&mut self, offset: usize, row: usize) {
        self.offsets.push(offset as isize);
        self.rows.push(row);
        self.max = self.max.max(offset);
    }

    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Reduces the window to `out`; an empty window has the sum 0.
    ///
    /// # Safety
    /// Nobody else may touch these places of `out` meanwhile.
    pub unsafe fn reduce(&self, isa: Isa, kind: Reduce, x: &[f32], out: Place, scale: f32) {
        // SAFETY: passed on to the caller.
        unsafe { self.run(isa, kind, x, out, scale, &[], &[]) };
    }

    /// Sum of the pixels weighted with their rows of `weights`, `[tap][channels]`.
    ///
    /// # Safety
    /// Nobody else may touch these places of `out` meanwhile.
    pub unsafe fn dot(&self, isa: Isa, x: &[f32], weights: &[f32], bias: &[f32], out: Place) {
        // SAFETY: passed on to the caller.
        unsafe { self.run(isa, Reduce::Dot, x, out, 1.0, weights, bias) };
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the union of the two callers above"
    )]
    unsafe fn run(
        &self,
        isa: Isa,
        kind: Reduce,
        x: &[f32],
        (out, at, channels): Place,
        scale: f32,
        weights: &[f32],
        bias: &[f32],
    ) {
        assert!(
            self.len() == 0 || self.max + channels <= x.len(),
            "input too short"
        );
        if kind == Reduce::Dot {
            let last = self.rows.iter().copied().max().map_or(0, |row| row + 1);
            assert!(weights.len() >= last * channels, "weights too short");
            assert_eq!(bias.len(), channels, "bias");
        }
        let args = ReduceArgs {
            x: x.as_ptr(),
            offsets: self.offsets.as_ptr(),
            taps: self.len(),
            channels,
            out: out.place(at, channels),
            scale,
            weights: weights.as_ptr(),
            rows: self.rows.as_ptr(),
            bias: if bias.is_empty() {
                std::ptr::null()
            } else {
                bias.as_ptr()
            },
        };
        // SAFETY: bounded above, and the caller has the places; the Isa proves the CPU has it.
        unsafe { isa.kernels().reduce[kind as usize](&args) }
    }
}

/// `out[p][c] = Σ_r weights[r][c] · x[p][r][c]`.
///
/// # Safety
/// Nobody else may touch these places of `out` meanwhile.
pub(crate) unsafe fn weighted(isa: Isa, x: &[f32], weights: &[f32], radix: usize, out: Place) {
    let (out, at, len) = out;
    let channels = weights.len() / radix;
    let pixels = len.checked_div(channels).unwrap_or(0);
    assert_eq!(weights.len(), radix * channels, "weights");
    assert_eq!(len, pixels * channels, "output");
    assert_eq!(x.len(), pixels * radix * channels, "input");
    let args = WeightedArgs {
        x: x.as_ptr(),
        weights: weights.as_ptr(),
        out: out.place(at, len),
        pixels,
        channels,
        radix,
    };
    // SAFETY: the lengths are those the kernel asks for, and the caller has the places; the Isa proves
    // the CPU has it.
    unsafe { (isa.kernels().weighted)(&args) }
}

/// Adds to `out` the sums (or takes in the maxima) of the rows of `x`, which begin `stride` values apart.
pub(crate) fn columns(isa: Isa, max: bool, x: &[f32], stride: usize, out: &mut [f32]) {
    let channels = out.len();
    assert!(channels <= stride, "rows overlap");
    // The last row may end with its channels.
    let pixels = (x.len() + stride - channels)
        .checked_div(stride)
        .unwrap_or(0);
    let args = ColumnArgs {
        x: x.as_ptr(),
        pixels,
        stride,
        channels,
        out: out.as_mut_ptr(),
    };
    let kernels = isa.kernels();
    let kernel = if max {
        kernels.column_max
    } else {
        kernels.column_sum
    };
    // SAFETY: the lengths are those the kernel asks for; the Isa proves the CPU has it.
    unsafe { kernel(&args) }
}

/// `x[p][c] = x[p][c] · gates[c] + residual[p][c]`, then ReLU if `relu`.
pub(crate) fn gate(isa: Isa, x: &mut [f32], gates: &[f32], residual: Option<&[f32]>, relu: bool) {
    let channels = gates.len();
    let pixels = x.len().checked_div(channels).unwrap_or(0);
    assert_eq!(x.len(), pixels * channels, "map");
    assert!(
        residual.is_none_or(|r| r.len() == x.len()),
        "residual length"
    );
    let args = GateArgs {
        x: x.as_mut_ptr(),
        gates: gates.as_ptr(),
        residual: residual.map_or(std::ptr::null(), <[f32]>::as_ptr),
        relu,
        pixels,
        channels,
    };
    // SAFETY: the lengths are those the kernel asks for; the Isa proves the CPU has it.
    unsafe { (isa.kernels().gate)(&args) }
}
