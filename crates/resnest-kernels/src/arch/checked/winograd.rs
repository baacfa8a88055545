//! Winograd's transforms of input and output tiles.

use crate::arch::dot::Element;
use crate::arch::form::Form;
use crate::arch::isa::Isa;
use crate::arch::kernels::winograd::{InputArgs, OutputArgs};
use crate::memory::share::SharedMut;

/// Most pixels of a form's input tile.
pub(crate) const MAX_PIXELS: usize = 81;

/// The input pixels of one tile.
pub(crate) struct InputTile<'a> {
    pub form: Form,
    pub x: &'a [f32],
    pub pixels: TilePixels,
    pub channels: usize,
}

/// Where the pixels of a tile lie, as element offsets.
#[expect(
    clippy::large_enum_variant,
    reason = "lives on the stack for one tile; a box would be an allocation for each at the edge"
)]
pub(crate) enum TilePixels {
    /// All inside the image: the first one, and from one row and one pixel to the next.
    Inside {
        first: usize,
        row_stride: usize,
        pixel_stride: usize,
    },
    /// One by one, negative in the padding; as many count as the form has inputs.
    Edge([isize; MAX_PIXELS]),
}

impl InputTile<'_> {
    /// Writes product p's terms of channels, rounded up to whole registers, to `out[p * stride..]`.
    pub fn transform(&self, isa: Isa, out: &mut [f32], stride: usize) {
        let terms = if self.form.strided() { 4 } else { 1 };
        let written = terms * self.channels.next_multiple_of(isa.kernels().lanes);
        self.check_room(stride, written, out.len());
        let args = self.args(out.as_mut_ptr(), stride);
        // SAFETY: reads and writes are bounded; the Isa proves the CPU has it.
        unsafe { isa.kernels().winograd_input[self.form as usize](&args) }
    }

    /// The same rounded to bf16, two channels a word; `stride` counts words.
    pub fn transform_to_bf16(&self, isa: Isa, out: &mut [u32], stride: usize) {
        let kernels = isa.dots(Element::Bf16);
        let written = self.channels.next_multiple_of(kernels.lanes).div_ceil(2);
        self.check_room(stride, written, out.len());
        let args = self.args(out.as_mut_ptr().cast(), 2 * stride);
        let form = match self.form {
            Form::F2 => 0,
            Form::B4 => 1,
            other => unreachable!("{other:?} has no transform to bf16"),
        };
        let inputs = kernels.winograd_input.expect("kernels of bf16 have them");
        // SAFETY: reads and writes are bounded; the Isa proves the CPU has the instructions.
        unsafe { inputs[form](&args) }
    }

    fn check_room(&self, stride: usize, written: usize, room: usize) {
        let last = (self.form.products() - 1) * stride;
        assert!(last + written <= room, "V too short");
    }

    /// The kernels' arguments; reads are bounded here.
    fn args(&self, out: *mut f32, stride: usize) -> InputArgs {
        let mut args = InputArgs {
            x: self.x.as_ptr(),
            offsets: std::ptr::null(),
            row_stride: 0,
            pixel_stride: 0,
            channels: self.channels,
            out,
            stride,
        };
        let last = match &self.pixels {
            &TilePixels::Inside {
                first,
                row_stride,
                pixel_stride,
            } => {
                args.x = args.x.wrapping_add(first);
                (args.row_stride, args.pixel_stride) = (row_stride, pixel_stride);
                Some(first + (self.form.inputs() - 1) * (row_stride + pixel_stride))
            }
            TilePixels::Edge(offsets) => {
                args.offsets = offsets.as_ptr();
                let pixels = self.form.inputs() * self.form.inputs();
                let max = offsets[..pixels].iter().copied().max();
                max.and_then(|max| usize::try_from(max).ok())
            }
        };
        assert!(
            last.is_none_or(|last| last + self.channels <= self.x.len()),
            "input too short"
        );
        args
    }
}

/// Where one tile of one panel goes.
pub(crate) struct OutputTile<'a> {
    pub form: Form,
    /// `[product][width]`
    pub m: &'a [f32],
    pub registers: usize,
    pub cols: usize,
    pub bias: &'a [f32],
    /// Index of the tile's first value in the output (and the residual).
    pub start: usize,
    pub row_stride: usize,
    pub pixel_stride: usize,
    /// How much of the tile lies inside the output: 1 to `form.outputs()` each.
    pub rows: usize,
    pub columns: usize,
    pub residual: Option<&'a [f32]>,
    pub relu: bool,
}

impl OutputTile<'_> {
    /// Writes the tile; with `sums`, adds its column sums.
    ///
    /// # Safety
    /// Nobody else may touch the tile's columns of `out` meanwhile.
    pub unsafe fn transform(&self, isa: Isa, out: &SharedMut, sums: Option<&mut [f32]>) {
        let lanes = isa.kernels().lanes;
        let width = self.registers * lanes;
        assert!(self.m.len() >= self.form.products() * width, "M too short");
        assert!(self.bias.len() >= width, "bias too short");
        assert!(
            self.cols <= width && self.cols + lanes > width,
            "columns of the panel"
        );
        assert!(
            self.rows >= 1 && self.columns >= 1,
            "a tile outside the output"
        );
        let last = (self.rows - 1) * self.row_stride + (self.columns - 1) * self.pixel_stride;
        assert!(
            self.start + last + self.cols <= out.len(),
            "output too short"
        );
        assert!(
            self.residual.is_none_or(|r| r.len() == out.len()),
            "residual length"
        );
        assert!(
            sums.as_ref().is_none_or(|s| s.len() >= width),
            "sums too short"
        );
        let args = OutputArgs {
            m: self.m.as_ptr(),
            registers: self.registers,
            cols: self.cols,
            out: out.as_ptr().wrapping_add(self.start),
            residual: self
                .residual
                .map_or(std::ptr::null(), |r| r.as_ptr().wrapping_add(self.start)),
            row_stride: self.row_stride,
            pixel_stride: self.pixel_stride,
            rows: self.rows,
            columns: self.columns,
            bias: self.bias.as_ptr(),
            relu: self.relu,
            sums: sums.map_or(std::ptr::null_mut(), |s| s.as_mut_ptr()),
        };
        // SAFETY: every range is bounded above; the Isa proves the CPU has it.
        unsafe { isa.kernels().winograd_output[self.form as usize](&args) }
    }
}
