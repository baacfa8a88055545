//! Kernels over rows of channels: windows of pixels, weighted sums, columns, gates.

use crate::arch::isa::Isa;
pub(crate) use crate::arch::kernels::rows::Reduce;
use crate::arch::kernels::rows::{ColumnArgs, GateArgs, ReduceArgs, WeightedArgs};

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
    pub fn reduce(&self, isa: Isa, kind: Reduce, x: &[f32], out: &mut [f32], scale: f32) {
        self.run(isa, kind, x, out, scale, &[], &[]);
    }

    /// Sum of the pixels weighted with their rows of `weights`, `[tap][channels]`.
    pub fn dot(&self, isa: Isa, x: &[f32], weights: &[f32], bias: &[f32], out: &mut [f32]) {
        self.run(isa, Reduce::Dot, x, out, 1.0, weights, bias);
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the union of the two callers above"
    )]
    fn run(
        &self,
        isa: Isa,
        kind: Reduce,
        x: &[f32],
        out: &mut [f32],
        scale: f32,
        weights: &[f32],
        bias: &[f32],
    ) {
        let channels = out.len();
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
            out: out.as_mut_ptr(),
            scale,
            weights: weights.as_ptr(),
            rows: self.rows.as_ptr(),
            bias: if bias.is_empty() {
                std::ptr::null()
            } else {
                bias.as_ptr()
            },
        };
        // SAFETY: every range is bounded above; the Isa proves the CPU has it.
        unsafe { isa.kernels().reduce[kind as usize](&args) }
    }
}

/// `out[p][c] = Σ_r weights[r][c] · x[p][r][c]`.
pub(crate) fn weighted(isa: Isa, x: &[f32], weights: &[f32], radix: usize, out: &mut [f32]) {
    let channels = weights.len() / radix;
    let pixels = out.len().checked_div(channels).unwrap_or(0);
    assert_eq!(weights.len(), radix * channels, "weights");
    assert_eq!(out.len(), pixels * channels, "output");
    assert_eq!(x.len(), pixels * radix * channels, "input");
    let args = WeightedArgs {
        x: x.as_ptr(),
        weights: weights.as_ptr(),
        out: out.as_mut_ptr(),
        pixels,
        channels,
        radix,
    };
    // SAFETY: the lengths are those the kernel asks for; the Isa proves the CPU has it.
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
