//! The micro-kernel of words over one panel of output channels and a run of pixels, and rounding to words.

use super::offsets::OffsetTable;
use super::tile::OutputPrefetch;
use crate::arch::dot::{Element, Rounding};
use crate::arch::isa::Isa;
use crate::arch::kernels::dot_tile::{DotTileArgs, DotTileFn};
use crate::memory::share::SharedMut;
use crate::tuning::FAR_OUTPUT;

/// One panel of output channels over the pixels of an offset table, whose offsets count words.
///
/// As [`Panel`](super::tile::Panel) it may be repeated over `batches` products of its own weights and outputs each.
pub(crate) struct DotPanel<'a> {
    pub element: Element,
    pub batches: usize,
    /// From one batch to the next in `x`, and in `out`.
    pub x_batch: usize,
    pub out_batch: usize,
    pub x: &'a [u32],
    /// Added to every offset: the group's first word.
    pub x_start: usize,
    pub table: &'a OffsetTable,
    /// What a pixel in the padding reads: at least `k` words.
    pub padding: &'a [u32],
    /// `[batch][tap][k][width]`
    pub weights: &'a [u32],
    /// What will be multiplied next, to be fetched meanwhile.
    pub next_weights: &'a [u32],
    /// Words of a group's input channels.
    pub k: usize,
    /// Width of the panel in registers.
    pub registers: usize,
    /// Valid columns.
    pub cols: usize,
    /// Of integers what sums start from, `[batch][width]`, and the factors of the sums.
    pub integers: Option<(&'a [u32], &'a [f32])>,
    /// `[batch][width]`
    pub bias: Option<&'a [f32]>,
    pub out: &'a SharedMut<'a>,
    /// Where in `out` (and `residual`) the first pixel's first column lies.
    pub out_start: usize,
    /// From one pixel to the next in `out` and `residual`.
    pub row_stride: usize,
    pub residual: Option<&'a [f32]>,
    /// The residual is what `out` holds.
    pub accumulate: bool,
    pub relu: bool,
    /// `out` gets words, rounded with this as the inputs are: places and steps in it count words. No residual then.
    pub rounding: Option<Rounding>,
    /// What will be written next.
    pub prefetch_output: OutputPrefetch<'a>,
}

impl DotPanel<'_> {
    /// Computes the panel; with `sums`, adds the column sums of the finished values to them, `[batch][width]`.
    ///
    /// # Safety
    /// Nobody else may touch the written ranges of `out` meanwhile. With `accumulate` they hold values.
    pub unsafe fn run(&self, isa: Isa, sums: Option<&mut [f32]>) {
        let kernels = isa.dots(self.element);
        let width = self.registers * kernels.lanes;
        self.check(width, (kernels.lanes, kernels.values), sums.as_deref());
        let sums = sums.map(|s| s.as_mut_ptr());
        let tiles = match self.rounding {
            Some(_) => kernels.rounded_tile,
            None => kernels.tile,
        };
        let tiles = tiles[self.registers - 1];
        let mut runs = self.runs(tiles);
        let per_batch = self.table.taps * self.k * width;
        for batch in 0..self.batches {
            self.prefetch_output.fetch(batch, self.batches);
            let column = batch * width;
            let at = |values: &[f32]| values[column..].as_ptr();
            let weights = &self.weights[batch * per_batch..][..per_batch];
            let rest = &self.weights[(batch + 1) * per_batch..];
            let next = match rest.is_empty() {
                true => self.next_weights,
                false => &rest[..per_batch],
            };
            let wanted = next.len().min(per_batch);
            let count = runs.iter().map(|(_, args, _)| args.tiles).sum::<usize>();
            let share = wanted.div_ceil(count.max(1));
            let mut prefetch = next.as_ptr();
            for (kernel, args, start) in &mut runs {
                if args.tiles == 0 {
                    continue;
                }
                let place = self.out_start + batch * self.out_batch + *start;
                args.x = self
                    .x
                    .as_ptr()
                    .wrapping_add(self.x_start + batch * self.x_batch);
                args.w = weights.as_ptr();
                args.out = self.out.as_ptr().wrapping_add(place);
                if let Some((start, scale)) = self.integers {
                    args.start = start[column..].as_ptr();
                    args.scale = at(scale);
                }
                args.bias = self.bias.map_or(std::ptr::null(), at);
                args.residual = match self.residual {
                    Some(residual) => residual.as_ptr().wrapping_add(place),
                    None if self.accumulate => args.out,
                    None => std::ptr::null(),
                };
                args.sums = sums.map_or(std::ptr::null_mut(), |s| s.wrapping_add(column));
                args.prefetch = prefetch;
                args.prefetch_step = share.div_ceil((self.table.taps * self.k).max(1));
                prefetch = prefetch.wrapping_add(share * args.tiles);
                // SAFETY: `check` has compared every range with what the tiles will touch; the Isa proves that the CPU has the
                // instructions.
                unsafe { kernel(args) };
            }
        }
    }

    /// The pixels in tiles whose sizes differ by at most one: kernel, arguments, and where their pixels start in the output.
    fn runs(&self, kernels: &[DotTileFn]) -> [(DotTileFn, DotTileArgs, usize); 2] {
        let pixels = self.table.pixels;
        let tiles = pixels.div_ceil(kernels.len());
        let (rows, larger) = (pixels / tiles.max(1), pixels % tiles.max(1));
        let run = |count: usize, rows: usize, pixel: usize| {
            let args = DotTileArgs {
                tiles: count,
                x: std::ptr::null(),
                offsets: self.table.offsets.as_ptr().wrapping_add(pixel),
                offsets_stride: pixels,
                taps: self.table.taps,
                k: self.k,
                padding: self.padding.as_ptr(),
                w: std::ptr::null(),
                out: std::ptr::null_mut(),
                row_stride: self.row_stride,
                cols: self.cols,
                start: std::ptr::null(),
                scale: std::ptr::null(),
                bias: std::ptr::null(),
                residual: std::ptr::null(),
                relu: self.relu,
                rounding: self.rounding.unwrap_or_default(),
                far: self.out.len() >= FAR_OUTPUT,
                sums: std::ptr::null_mut(),
                prefetch: std::ptr::null(),
                prefetch_step: 0,
            };
            (
                kernels[rows.clamp(1, kernels.len()) - 1],
                args,
                pixel * self.row_stride,
            )
        };
        [
            run(larger, rows + 1, 0),
            run(tiles - larger, rows, larger * (rows + 1)),
        ]
    }

    /// Panics unless every access of the kernels lies inside its slice.
    fn check(&self, width: usize, (lanes, values): (usize, usize), sums: Option<&[f32]>) {
        let t = self.table;
        assert!(self.batches > 0, "no batch");
        assert!(
            t.offsets.len() == t.taps * t.pixels,
            "offset table incomplete"
        );
        if t.max >= 0 {
            let last = t.max as usize + self.x_start + (self.batches - 1) * self.x_batch;
            assert!(last + self.k <= self.x.len(), "input too short");
        }
        assert!(self.padding.len() >= self.k, "padding too short");
        assert_eq!(
            self.weights.len(),
            self.batches * t.taps * self.k * width,
            "panel weights"
        );
        assert!(
            self.cols <= width && self.cols + lanes > width,
            "columns of the panel"
        );
        let end = self.out_start
            + (self.batches - 1) * self.out_batch
            + t.pixels.saturating_sub(1) * self.row_stride
            + match self.rounding {
                Some(_) => self.cols.div_ceil(values),
                None => self.cols,
            };
        assert!(
            self.rounding.is_none() || self.residual.is_none() && !self.accumulate,
            "a residual of words"
        );
        assert!(t.pixels == 0 || end <= self.out.len(), "output too short");
        assert!(
            self.residual.is_none_or(|r| r.len() == self.out.len()),
            "residual length"
        );
        assert!(!self.accumulate || self.residual.is_none(), "two residuals");
        let columns = self.batches * width;
        assert!(
            self.bias.is_none_or(|b| b.len() >= columns),
            "bias too short"
        );
        assert!(sums.is_none_or(|s| s.len() >= columns), "sums too short");
        match self.integers {
            Some((start, scale)) => assert!(
                start.len() >= columns && scale.len() >= columns,
                "factors of integers too short"
            ),
            None => assert_eq!(self.element, Element::Bf16, "integers have factors"),
        }
    }
}

/// Rounds a row of values to words, each `values` of [`Isa::dots`] long; the last is filled up with zeros.
pub(crate) fn round(isa: Isa, element: Element, x: &[f32], rounding: Rounding, words: &mut [u32]) {
    let kernels = isa.dots(element);
    assert_eq!(
        words.len(),
        x.len().div_ceil(kernels.values),
        "words of a row"
    );
    // SAFETY: the lengths were compared; the Isa proves that the CPU has the instructions.
    unsafe { (kernels.round)(x.as_ptr(), x.len(), words.as_mut_ptr(), rounding) }
}
