//! 3x3 convolution in narrow groups: one output row of a packed block.

use crate::arch::isa::Isa;
use crate::arch::kernels::narrow_rows::RowArgs;
use crate::memory::share::SharedMut;
use crate::tuning::LINE;

/// One output row of a block of a 3x3 convolution in narrow groups.
pub(crate) struct NarrowRow<'a> {
    /// Channels of a group, in and out: 2, 4, 8 or 16.
    pub group: usize,
    /// 1 or 2.
    pub stride: usize,
    /// Channels of the block, at most [`LINE`].
    pub channels: usize,
    /// The packed block from the first row under the taps on, `[row][column][LINE]`.
    pub x: &'a [f32],
    /// Columns of a packed row.
    pub columns: usize,
    /// The first row of taps that does not lie in the padding, and how many do not.
    pub first_tap: usize,
    pub taps: usize,
    pub pixels: usize,
    /// Where in `out` the block's part of the row begins, and values from one pixel to the next.
    pub start: usize,
    pub out_pixel: usize,
    /// The block's, `[register of channels][tap][input channel of the group][lane]`.
    pub weights: &'a [f32],
    /// The block's, `channels` rounded up to whole registers.
    pub bias: &'a [f32],
    /// Laid out like the output.
    pub residual: Option<&'a [f32]>,
    pub relu: bool,
    /// Whether the row below comes next.
    pub more: bool,
    /// The map that the block was packed from, and values from one pixel to the next.
    pub map: &'a [f32],
    pub map_pixel: usize,
    /// Where in the map rows begin that are to be fetched meanwhile, as wide as those under the row.
    pub prefetch: [Option<usize>; 4],
}

impl NarrowRow<'_> {
    /// # Safety
    /// Nobody else may touch these channels of the row in `out` meanwhile.
    pub unsafe fn run(&self, isa: Isa, out: &SharedMut) {
        let kernels = isa.kernels();
        let (lanes, row_len) = (kernels.lanes, self.columns * LINE);
        let width = self.channels.next_multiple_of(lanes);
        assert!(
            (lanes.is_multiple_of(self.group) || self.group.is_multiple_of(lanes))
                && self.channels.is_multiple_of(self.group)
                && (1..=LINE).contains(&self.channels),
            "{} channels in groups of {}",
            self.channels,
            self.group
        );
        assert!(matches!(self.stride, 1 | 2), "stride {}", self.stride);
        assert!(
            self.taps == 0 || self.first_tap + self.taps <= 3,
            "rows of taps"
        );
        assert!(
            self.taps * row_len <= self.x.len()
                && self.columns >= self.pixels.saturating_sub(1) * self.stride + 3,
            "input too short"
        );
        assert_eq!(self.weights.len(), width * 9 * self.group, "narrow weights");
        assert_eq!(self.bias.len(), width, "bias");
        let last = self.pixels.saturating_sub(1) * self.out_pixel;
        assert!(
            self.start + last + self.channels <= out.len(),
            "output too short"
        );
        assert!(
            self.residual.is_none_or(|r| r.len() == out.len()),
            "residual length"
        );
        let first = self.first_tap * 3 * self.group * lanes;
        let args = RowArgs {
            x: self.x.as_ptr(),
            x_row: row_len,
            taps: self.taps,
            pixels: self.pixels,
            channels: self.channels,
            weights: self.weights.as_ptr().wrapping_add(first),
            bias: self.bias.as_ptr(),
            out: out.as_ptr().wrapping_add(self.start),
            out_pixel: self.out_pixel,
            residual: self
                .residual
                .map_or(std::ptr::null(), |r| r.as_ptr().wrapping_add(self.start)),
            relu: self.relu,
            more: self.more,
            prefetch: self
                .prefetch
                .map(|row| row.map_or(std::ptr::null(), |at| self.map.as_ptr().wrapping_add(at))),
            prefetch_pixel: self.map_pixel,
        };
        let kernel = kernels.narrow_row[self.group.trailing_zeros() as usize - 1][self.stride - 1];
        // SAFETY: every range is bounded above; the Isa proves the CPU has it.
        unsafe { kernel(&args) }
    }
}
