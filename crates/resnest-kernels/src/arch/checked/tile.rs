//! The micro-kernel over one panel of output channels and a run of pixels.

use super::offsets::OffsetTable;
use crate::arch::isa::Isa;
use crate::arch::kernels::tile::{TileArgs, TileFn};
use crate::arch::prefetch::prefetch_for_writing;
use crate::memory::share::SharedMut;
use crate::tuning::{FAR_OUTPUT, LINE, MAX_BLOCK};

/// What a pixel in the padding reads: a block of k of zeros.
static ZEROS: [f32; MAX_BLOCK] = [0.0; MAX_BLOCK];

/// One panel of output channels over the pixels of an offset table.
///
/// It may be repeated over `batches` products of its own weights and outputs each: neighbouring panels of
/// a convolution, and, with inputs of its own, the products of Winograd's algorithm.
pub(crate) struct Panel<'a> {
    pub batches: usize,
    /// From one batch to the next in `x`, and in `out`.
    pub x_batch: usize,
    pub out_batch: usize,
    pub x: &'a [f32],
    /// Added to every offset: the group's first channel.
    pub x_start: usize,
    pub table: &'a OffsetTable,
    /// `[batch][block of k][tap][k][width]`
    pub weights: &'a [f32],
    /// What will be multiplied next, to be fetched meanwhile.
    pub next_weights: &'a [f32],
    /// Input channels of a group.
    pub k: usize,
    /// Channels in a block of k; the last may be shorter.
    pub k_block: usize,
    /// Width of the panel in registers, 1 to 3.
    pub registers: usize,
    /// Valid columns.
    pub cols: usize,
    /// `[batch][width]`
    pub bias: Option<&'a [f32]>,
    pub out: &'a SharedMut<'a>,
    /// Where in `out` (and `residual`) the first pixel's first column lies.
    pub out_start: usize,
    /// From one pixel to the next in `out` and `residual`.
    pub row_stride: usize,
    pub residual: Option<&'a [f32]>,
    /// The residual is what `out` holds: `k <= k_block` then.
    pub accumulate: bool,
    pub relu: bool,
    /// What will be written next.
    pub prefetch_output: OutputPrefetch<'a>,
}

/// Pixels of an output that are soon to be written: they are fetched into the cache between the
/// batches. A store whose line is far away would hold up all later ones.
#[derive(Clone, Copy, Default)]
pub(crate) struct OutputPrefetch<'a> {
    pub out: Option<&'a SharedMut<'a>>,
    /// Pixels in a row: where the first starts, and how many there are.
    pub rows: &'a [(usize, usize)],
    /// From one pixel of a row to the next.
    pub pixel_stride: usize,
    /// Added to each start.
    pub offset: usize,
    /// Values of a pixel.
    pub cols: usize,
}

impl OutputPrefetch<'_> {
    /// Fetches the `index`-th of `parts` shares.
    pub(super) fn fetch(&self, index: usize, parts: usize) {
        let Some(out) = self.out else { return };
        let len = self.rows.len();
        for (start, pixels) in &self.rows[len * index / parts..len * (index + 1) / parts] {
            let mut pixel = out.as_ptr().wrapping_add(start + self.offset);
            for _ in 0..*pixels {
                for at in (0..self.cols).step_by(LINE) {
                    prefetch_for_writing(pixel.wrapping_add(at));
                }
                pixel = pixel.wrapping_add(self.pixel_stride);
            }
        }
    }
}

impl Panel<'_> {
    /// Computes the panel; with `sums`, adds the column sums of the finished values to them, `[batch][width]`.
    ///
    /// # Safety
    /// Nobody else may touch the written ranges of `out` meanwhile, and unless `k <= k_block`
    /// they are read too, but only after having been written here. With `accumulate` they hold values.
    pub unsafe fn run(&self, isa: Isa, sums: Option<&mut [f32]>) {
        let width = self.registers * isa.kernels().lanes;
        self.check(width, sums.as_deref());
        let sums = sums.map(|s| s.as_mut_ptr());
        let mut tiles = Tiles::new(self, isa);
        let mut rest = self.weights;
        for batch in 0..self.batches {
            self.prefetch_output.fetch(batch, self.batches);
            let x = self.x_start + batch * self.x_batch;
            let out = self.out_start + batch * self.out_batch;
            let column = batch * width;
            let bias = self.bias.map_or(std::ptr::null(), |b| b[column..].as_ptr());
            let sums = sums.map_or(std::ptr::null_mut(), |s| s.wrapping_add(column));
            let mut k0 = 0;
            while k0 < self.k {
                let kc = self.k_block.min(self.k - k0);
                let (weights, after) = rest.split_at(kc * self.table.taps * width);
                rest = after;
                let next = if rest.is_empty() {
                    self.next_weights
                } else {
                    rest
                };
                let block = Block {
                    x: x + k0,
                    out,
                    kc,
                    first: k0 == 0,
                    last: k0 + kc == self.k,
                    weights,
                    next,
                    bias,
                    sums,
                };
                // SAFETY: `check` has compared every range with what the tiles will touch.
                unsafe { tiles.run(self, &block) };
                k0 += kc;
            }
        }
    }

    /// Panics unless every access of the kernels lies inside its slice.
    fn check(&self, width: usize, sums: Option<&[f32]>) {
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
        assert!(
            self.k_block > 0 && self.k_block <= MAX_BLOCK,
            "block of k too long"
        );
        assert_eq!(
            self.weights.len(),
            self.batches * t.taps * self.k * width,
            "panel weights"
        );
        assert!(
            !self.accumulate || self.k <= self.k_block && self.residual.is_none(),
            "the output is needed for parts of the sums"
        );
        let lanes = width / self.registers;
        assert!(
            self.cols <= width && self.cols + lanes > width,
            "columns of the panel"
        );
        let end = self.out_start
            + (self.batches - 1) * self.out_batch
            + t.pixels.saturating_sub(1) * self.row_stride
            + self.cols;
        assert!(t.pixels == 0 || end <= self.out.len(), "output too short");
        assert!(
            self.residual.is_none_or(|r| r.len() == self.out.len()),
            "residual length"
        );
        let columns = self.batches * width;
        assert!(
            self.bias.is_none_or(|b| b.len() >= columns),
            "bias too short"
        );
        assert!(sums.is_none_or(|s| s.len() >= columns), "sums too short");
    }
}

/// One block of k of one batch.
struct Block<'a> {
    /// Where its first pixel's channels lie, and its first pixel's columns.
    x: usize,
    out: usize,
    kc: usize,
    first: bool,
    last: bool,
    weights: &'a [f32],
    next: &'a [f32],
    /// A panel's width each, or null.
    bias: *const f32,
    sums: *mut f32,
}

/// A panel's pixels in tiles whose sizes differ by at most one: all that one block of k after the
/// other has in common.
struct Tiles {
    /// The larger tiles and the others: the kernel, its arguments, and where their pixels start in
    /// the output.
    runs: [(TileFn, TileArgs, usize); 2],
    /// How many values of the next weights are fetched in a block, and how many of them for each
    /// tile and for each k of a tap.
    wanted: usize,
    share: usize,
    step: usize,
}

impl Tiles {
    fn new(panel: &Panel, isa: Isa) -> Self {
        let kernels = isa.kernels().tile[panel.registers - 1];
        let pixels = panel.table.pixels;
        let tiles = pixels.div_ceil(kernels.len());
        let (rows, larger) = (pixels / tiles.max(1), pixels % tiles.max(1));
        let run = |count: usize, rows: usize, pixel: usize| {
            let args = TileArgs {
                tiles: count,
                x: std::ptr::null(),
                offsets: panel.table.offsets.as_ptr().wrapping_add(pixel),
                offsets_stride: pixels,
                taps: panel.table.taps,
                kc: 0,
                zeros: ZEROS.as_ptr(),
                w: std::ptr::null(),
                out: std::ptr::null_mut(),
                row_stride: panel.row_stride,
                cols: panel.cols,
                first: true,
                last: true,
                bias: std::ptr::null(),
                residual: std::ptr::null(),
                relu: panel.relu,
                far: panel.out.len() >= FAR_OUTPUT,
                sums: std::ptr::null_mut(),
                prefetch: std::ptr::null(),
                prefetch_step: 0,
            };
            (
                kernels[rows.clamp(1, kernels.len()) - 1],
                args,
                pixel * panel.row_stride,
            )
        };
        Tiles {
            runs: [
                run(larger, rows + 1, 0),
                run(tiles - larger, rows, larger * (rows + 1)),
            ],
            wanted: 0,
            share: 0,
            step: 0,
        }
    }

    /// # Safety
    /// The panel's `check` has passed, and the block is a part of it.
    unsafe fn run(&mut self, panel: &Panel, block: &Block) {
        let wanted = block.next.len().min(block.weights.len());
        if wanted != self.wanted {
            let tiles = self
                .runs
                .iter()
                .map(|(_, args, _)| args.tiles)
                .sum::<usize>();
            self.share = wanted.div_ceil(tiles.max(1));
            self.step = self.share.div_ceil(panel.table.taps * block.kc);
            self.wanted = wanted;
        }
        let mut prefetch = block.next.as_ptr();
        for (kernel, args, start) in &mut self.runs {
            if args.tiles == 0 {
                continue;
            }
            let at = block.out + *start;
            args.x = panel.x.as_ptr().wrapping_add(block.x);
            args.kc = block.kc;
            args.w = block.weights.as_ptr();
            args.out = panel.out.as_ptr().wrapping_add(at);
            (args.first, args.last) = (block.first, block.last);
            (args.bias, args.sums) = (block.bias, block.sums);
            if let Some(residual) = panel.residual {
                args.residual = residual.as_ptr().wrapping_add(at);
            } else if panel.accumulate {
                args.residual = args.out;
            }
            (args.prefetch, args.prefetch_step) = (prefetch, self.step);
            prefetch = prefetch.wrapping_add(self.share * args.tiles);
            // SAFETY: `check` bounds all pixels; holding an Isa proves the CPU has it.
            unsafe { kernel(args) };
        }
    }
}
