//! Convolution in narrow groups: some pixels of all channels.

use super::offsets::OffsetTable;
use crate::arch::isa::Isa;
use crate::arch::kernels::narrow::NarrowArgs;

/// Some pixels of a convolution in narrow groups.
pub(crate) struct NarrowBlock<'a> {
    /// Channels of a group, in and out: 2, 4 or 8.
    pub group: usize,
    pub channels: usize,
    pub x: &'a [f32],
    pub table: &'a OffsetTable,
    /// `[register of channels][tap][input channel of the group][lane]`
    pub weights: &'a [f32],
    /// `channels`, rounded up to whole registers.
    pub bias: &'a [f32],
    /// Laid out like the output.
    pub residual: Option<&'a [f32]>,
    pub relu: bool,
}

impl NarrowBlock<'_> {
    /// Writes the pixels of the table to `out`, (pixels, channels).
    pub fn run(&self, isa: Isa, out: &mut [f32]) {
        let kernels = isa.kernels();
        let t = self.table;
        let width = self.channels.next_multiple_of(kernels.lanes);
        assert!(
            kernels.lanes.is_multiple_of(self.group) && self.channels.is_multiple_of(self.group),
            "groups of {} channels",
            self.group
        );
        assert!(
            t.offsets.len() == t.taps * t.pixels,
            "offset table incomplete"
        );
        assert!(
            t.max < 0 || t.max as usize + self.channels <= self.x.len(),
            "input too short"
        );
        assert_eq!(
            self.weights.len(),
            width * t.taps * self.group,
            "narrow weights"
        );
        assert_eq!(self.bias.len(), width, "bias");
        assert_eq!(out.len(), t.pixels * self.channels, "output");
        assert!(
            self.residual.is_none_or(|r| r.len() == out.len()),
            "residual length"
        );
        let args = NarrowArgs {
            x: self.x.as_ptr(),
            offsets: t.offsets.as_ptr(),
            offsets_stride: t.pixels,
            taps: t.taps,
            pixels: t.pixels,
            channels: self.channels,
            weights: self.weights.as_ptr(),
            bias: self.bias.as_ptr(),
            out: out.as_mut_ptr(),
            residual: self.residual.map_or(std::ptr::null(), <[f32]>::as_ptr),
            relu: self.relu,
        };
        let kernel = kernels.narrow[self.group.trailing_zeros() as usize - 1];
        // SAFETY: every range is bounded above; the Isa proves the CPU has it.
        unsafe { kernel(&args) }
    }
}
