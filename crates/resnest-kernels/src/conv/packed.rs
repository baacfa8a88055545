//! Convolutions: packed once, run on channels-last activations.

mod depthwise;
pub(crate) mod direct;
mod narrow;
mod panel;
mod winograd;

use crate::arch::Isa;
use crate::arch::block::OffsetTable;
use crate::arch::form::Form;
use crate::arch::window::columns;
use crate::buffer::{LINE, with_scratch};
use crate::error::{Error, check_len};
use crate::layout::copy_channels;
use crate::map::Map;
use crate::shape::{Channels, ConvSpec, Nhwc};
use crate::share::SharedMut;
use depthwise::Depthwise;
use direct::{Direct, Source};
use narrow::Narrow;
use std::ops::Range;
use winograd::Winograd;

/// Widest panel of any instruction set: three registers of 16.
pub(crate) const MAX_WIDTH: usize = 48;

/// How a convolution is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// Every product of the definition.
    Direct,
    /// F(2x2, 3x3): 2.25 times fewer products; 3x3 whose stride divides its dilation. 3x3 of stride 2
    /// without dilation have 1.44 times fewer.
    WinogradF2,
    /// F(4x4, 3x3): 4 times fewer products, 1.78 with that stride, some more rounding.
    WinogradF4,
    /// F(5x5, 3x3): 4.6 times fewer products, half as much rounding again; stride divides dilation.
    WinogradF5,
    /// F(6x6, 3x3): 5 times fewer products, twice the rounding of F(4x4); stride divides dilation.
    WinogradF6,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Algorithm; 5] = [
        Algorithm::Direct,
        Algorithm::WinogradF2,
        Algorithm::WinogradF4,
        Algorithm::WinogradF5,
        Algorithm::WinogradF6,
    ];

    /// What it is called: `direct`, `winograd-f2x2`, `winograd-f4x4`, `winograd-f5x5`,
    /// `winograd-f6x6`.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Direct => "direct",
            Algorithm::WinogradF2 => "winograd-f2x2",
            Algorithm::WinogradF4 => "winograd-f4x4",
            Algorithm::WinogradF5 => "winograd-f5x5",
            Algorithm::WinogradF6 => "winograd-f6x6",
        }
    }

    /// Whether it can compute such a convolution.
    pub fn supports(self, spec: &ConvSpec) -> bool {
        self == Algorithm::Direct || self.form(spec).is_some()
    }

    /// The size of Winograd's algorithm that it would be.
    pub(crate) fn form(self, spec: &ConvSpec) -> Option<Form> {
        if spec.kernel != 3 {
            return None;
        }
        let strided = (spec.stride, spec.dilation) == (2, 1);
        match self {
            Algorithm::WinogradF2 if strided => Some(Form::S2),
            Algorithm::WinogradF4 if strided => Some(Form::S4),
            _ if !spec.dilation.is_multiple_of(spec.stride) => None,
            Algorithm::Direct => None,
            Algorithm::WinogradF2 => Some(Form::F2),
            Algorithm::WinogradF4 => Some(Form::F4),
            Algorithm::WinogradF5 => Some(Form::F5),
            Algorithm::WinogradF6 => Some(Form::F6),
        }
    }
}

/// What happens to the sums before they are stored: residual, then ReLU, then channel sums.
#[derive(Default)]
pub struct Epilogue<'a> {
    /// Negative results become 0.
    pub relu: bool,
    /// Added to the result, of its shape.
    pub residual: Option<&'a [f32]>,
    /// Receives the sum over all pixels of each image's channels of the finished output,
    /// `[n][out_channels]`.
    pub sums: Option<&'a mut [f32]>,
}

/// A convolution with its weights packed for one instruction set and algorithm.
pub struct PackedConv {
    spec: ConvSpec,
    isa: Isa,
    algorithm: Algorithm,
    packed: Packed,
}

/// The part of an epilogue that every tile applies to itself.
#[derive(Clone, Copy)]
pub(crate) struct Finish<'a> {
    pub relu: bool,
    pub residual: Option<&'a [f32]>,
    /// The residual is what the output's memory holds.
    pub onto: bool,
}

enum Packed {
    Direct(Direct),
    Depthwise(Depthwise),
    Narrow(Narrow),
    Winograd(Winograd),
}

impl std::fmt::Debug for PackedConv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PackedConv")
            .field("spec", &self.spec)
            .field("isa", &self.isa)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl PackedConv {
    /// Packs `weight` (`[out][in / groups][k][k]`) and `bias` (`[out]`, a folded norm included).
    ///
    /// # Errors
    /// For a specification that makes no sense and slices that do not fit it.
    pub fn new(
        isa: Isa,
        spec: ConvSpec,
        weight: &[f32],
        bias: Option<&[f32]>,
        algorithm: Algorithm,
    ) -> Result<Self, Error> {
        spec.validate()?;
        check_len("weight", weight.len(), spec.weight_len())?;
        if let Some(bias) = bias {
            check_len("bias", bias.len(), spec.out_channels)?;
        }
        let packed = match algorithm.form(&spec) {
            _ if !algorithm.supports(&spec) => {
                let problem = "Winograd's algorithm needs a 3x3 kernel whose stride divides its dilation, \
                     F(2x2) and F(4x4) also one of stride 2";
                return Err(Error::spec("algorithm", problem));
            }
            Some(form) => Packed::Winograd(Winograd::pack(isa, &spec, form, weight, bias)),
            None if spec.group_in() == 1 && spec.group_out() == 1 && spec.groups > 1 => {
                Packed::Depthwise(Depthwise::pack(&spec, weight, bias))
            }
            None if Narrow::fits(isa, &spec) => {
                Packed::Narrow(Narrow::pack(isa, &spec, weight, bias))
            }
            None => Packed::Direct(Direct::pack(isa, &spec, weight, bias)),
        };
        Ok(PackedConv {
            spec,
            isa,
            algorithm,
            packed,
        })
    }

    /// What it computes.
    pub fn spec(&self) -> &ConvSpec {
        &self.spec
    }

    /// For which instruction set it is packed.
    pub(crate) fn isa(&self) -> Isa {
        self.isa
    }

    /// How it computes it.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Bytes of packed weights.
    pub fn bytes(&self) -> usize {
        match &self.packed {
            Packed::Direct(direct) => direct.bytes(),
            Packed::Depthwise(depthwise) => depthwise.bytes(),
            Packed::Narrow(narrow) => narrow.bytes(),
            Packed::Winograd(winograd) => winograd.bytes(),
        }
    }

    /// Convolves `x` of shape `input`; the result has the shape `self.spec().output(input)`.
    ///
    /// # Errors
    /// When a slice or the shape does not fit.
    pub fn run(&self, x: &[f32], input: Nhwc, epilogue: Epilogue) -> Result<Map, Error> {
        let len = self.spec.output(input)?.len();
        // SAFETY: every algorithm writes each pixel of each output channel.
        unsafe { Map::written_by(len, |out| self.run_shared(x, input, out, epilogue)) }
    }

    /// The same into memory that is there.
    ///
    /// # Errors
    /// When a slice or the shape does not fit.
    pub fn run_into(
        &self,
        x: &[f32],
        input: Nhwc,
        out: &mut [f32],
        epilogue: Epilogue,
    ) -> Result<(), Error> {
        self.run_shared(x, input, &SharedMut::new(out), epilogue)
    }

    /// Whether weighted sums can be made as this convolution reads them: each pixel by one task.
    pub(crate) fn takes_weighted(&self, input: Nhwc) -> bool {
        let ConvSpec {
            kernel,
            stride,
            padding,
            groups,
            ..
        } = self.spec;
        let pointwise = (kernel, stride, padding, groups) == (1, 1, 0, 1);
        let direct = matches!(self.packed, Packed::Direct(_));
        pointwise && direct && input.pixels() >= direct::SPLIT_PIXELS_FROM
    }

    /// Convolves a source of shape `input`; see [`Self::takes_weighted`].
    ///
    /// # Errors
    /// When a slice or the shape does not fit.
    pub(crate) fn run_from(
        &self,
        source: Source,
        input: Nhwc,
        epilogue: Epilogue,
    ) -> Result<Map, Error> {
        source.check(input)?;
        let g = self.geometry(input, input.c, self.spec.out_channels)?;
        if let Some(residual) = epilogue.residual {
            check_len("residual", residual.len(), g.output.len())?;
        }
        // SAFETY: every algorithm writes each pixel of each output channel.
        unsafe {
            Map::written_by(g.output.len(), |out| {
                self.run_source(source, &g, out, epilogue)
            })
        }
    }

    /// Whether the result can be added to what its memory holds: direct convolutions whose sums are
    /// made in one go.
    pub fn adds_in_place(&self) -> bool {
        matches!(&self.packed, Packed::Direct(direct) if direct.writes_once())
    }

    /// Adds the convolution of `x`, of shape `input`, to what `out` holds, then ReLU if `relu`: the same
    /// values as with it as a residual, and a map less to read.
    ///
    /// # Errors
    /// When a slice or the shape does not fit, and unless [`Self::adds_in_place`].
    pub fn run_onto(
        &self,
        x: &[f32],
        input: Nhwc,
        out: &mut [f32],
        relu: bool,
    ) -> Result<(), Error> {
        self.run_from_onto(Source::Plain(x), input, out, relu)
    }

    /// The same of a source; see [`Self::takes_weighted`].
    pub(crate) fn run_from_onto(
        &self,
        source: Source,
        input: Nhwc,
        out: &mut [f32],
        relu: bool,
    ) -> Result<(), Error> {
        source.check(input)?;
        let g = self.geometry(input, input.c, self.spec.out_channels)?;
        check_len("output", out.len(), g.output.len())?;
        let finish = Finish {
            relu,
            residual: None,
            onto: true,
        };
        match &self.packed {
            Packed::Direct(direct) if direct.writes_once() => {
                if !out.is_empty() {
                    direct.run(&g, source, &SharedMut::new(out), finish, None);
                }
                Ok(())
            }
            _ => {
                let problem = "only direct convolutions of few channels add to their output";
                Err(Error::spec("algorithm", problem))
            }
        }
    }

    /// Whether [`Self::run_before`] `next` pays: what this convolution puts out is read in groups of few
    /// channels, and can be laid out for it.
    pub fn leads_to(&self, next: &PackedConv) -> bool {
        let (Packed::Direct(direct), Packed::Narrow(narrow)) = (&self.packed, &next.packed) else {
            return false;
        };
        let width = self.plane();
        let fits = self.spec.out_channels == next.spec.in_channels;
        let planes = width.is_multiple_of(LINE) && self.spec.out_channels.is_multiple_of(width);
        fits && planes && direct.writes_planes(width) && narrow.reads_planes(&next.spec)
    }

    /// Channels of a plane: those of a panel.
    fn plane(&self) -> usize {
        2 * self.isa.kernels().lanes
    }

    /// `next` of this convolution of `x`, each with ReLU if told. What is between is cut into planes of a few
    /// channels, which are written and read in one go where whole pixels would be in steps of a page.
    ///
    /// # Errors
    /// When a slice or a shape does not fit, and unless this one [`leads_to`](Self::leads_to) `next`.
    pub fn run_before(
        &self,
        next: &PackedConv,
        x: &[f32],
        input: Nhwc,
        relu: [bool; 2],
    ) -> Result<Map, Error> {
        check_len("input", x.len(), input.len())?;
        let (Packed::Direct(direct), Packed::Narrow(narrow), true) =
            (&self.packed, &next.packed, self.leads_to(next))
        else {
            let problem = "only a direct convolution leads to one in narrow groups of its channels";
            return Err(Error::spec("next", problem));
        };
        let width = self.plane();
        let mut first = self.geometry(input, input.c, width)?;
        let middle = first.output;
        first.out_plane = middle.pixels() * width;
        let mut second = next.geometry(middle, width, next.spec.out_channels)?;
        second.x_plane = first.out_plane;
        let finish = |relu| Finish {
            relu,
            residual: None,
            onto: false,
        };
        if second.output.is_empty() {
            return Ok(Map::default());
        }
        let write = |out: &SharedMut| {
            direct.run(&first, Source::Plain(x), out, finish(relu[0]), None);
            Ok(())
        };
        // SAFETY: every algorithm writes each pixel of each output channel.
        let middle = unsafe { Map::written_by(middle.len(), write) }?;
        let write = |out: &SharedMut| {
            narrow.run(&second, &middle, out, finish(relu[1]), None);
            Ok(())
        };
        // SAFETY: as above.
        unsafe { Map::written_by(second.output.len(), write) }
    }

    fn run_shared(
        &self,
        x: &[f32],
        input: Nhwc,
        out: &SharedMut,
        epilogue: Epilogue,
    ) -> Result<(), Error> {
        let (from, to) = (
            Channels::all(input.c),
            Channels::all(self.spec.out_channels),
        );
        self.run_between((x, from), input, (out, to), epilogue)
    }

    /// Convolves some channels of a map to some channels of another; `input` is the shape of what
    /// is convolved. A residual is laid out like the whole of the output's map.
    pub(crate) fn run_between(
        &self,
        (x, from): (&[f32], Channels),
        input: Nhwc,
        (out, to): (&SharedMut, Channels),
        mut epilogue: Epilogue,
    ) -> Result<(), Error> {
        let g = self.geometry(input, from.of, to.of)?;
        let pixels = g.output.pixels();
        from.check("input", input.c, input.pixels(), x.len())?;
        to.check("output", g.output.c, pixels, out.len())?;
        if let Some(residual) = &mut epilogue.residual {
            check_len("residual", residual.len(), out.len())?;
            *residual = &residual[to.first.min(out.len())..];
        }
        let x = &x[from.first.min(x.len())..];
        let out = out.after(to.first.min(out.len()));
        self.run_source(Source::Plain(x), &g, &out, epilogue)
    }

    fn geometry(&self, input: Nhwc, x_pixel: usize, out_pixel: usize) -> Result<Geometry, Error> {
        Ok(Geometry {
            isa: self.isa,
            spec: self.spec,
            input,
            output: self.spec.output(input)?,
            x_pixel,
            out_pixel,
            x_plane: 0,
            out_plane: 0,
        })
    }

    fn run_source(
        &self,
        source: Source,
        g: &Geometry,
        out: &SharedMut,
        mut epilogue: Epilogue,
    ) -> Result<(), Error> {
        let output = g.output;
        if let Some(sums) = epilogue.sums.as_deref_mut() {
            check_len("sums", sums.len(), output.n * output.c)?;
            sums.fill(0.0);
        }
        if output.is_empty() {
            return Ok(());
        }
        let finish = Finish {
            relu: epilogue.relu,
            residual: epilogue.residual,
            onto: false,
        };
        match (&self.packed, source) {
            (Packed::Direct(direct), _) => direct.run(g, source, out, finish, epilogue.sums),
            (Packed::Depthwise(_) | Packed::Narrow(_), Source::Plain(x)) if !g.is_dense() => {
                return self.run_by_copies(x, g, out, epilogue);
            }
            (Packed::Depthwise(depthwise), Source::Plain(x)) => {
                depthwise.run(g, x, out, finish, epilogue.sums);
            }
            (Packed::Narrow(narrow), Source::Plain(x)) => {
                narrow.run(g, x, out, finish, epilogue.sums);
            }
            (Packed::Winograd(winograd), Source::Plain(x)) => {
                winograd.run(g, x, out, finish, epilogue.sums);
            }
            (_, Source::Weighted(_)) => {
                let problem = "only direct 1x1 convolutions read weighted sums";
                return Err(Error::spec("algorithm", problem));
            }
        }
        Ok(())
    }

    /// For algorithms that know no gaps between pixels.
    fn run_by_copies(
        &self,
        x: &[f32],
        g: &Geometry,
        out: &SharedMut,
        epilogue: Epilogue,
    ) -> Result<(), Error> {
        if epilogue.residual.is_some() {
            let problem = "this convolution adds none to some channels of a map";
            return Err(Error::spec("residual", problem));
        }
        let (input, output) = (g.input, g.output);
        with_scratch(input.len(), |dense_x| {
            let dense = SharedMut::new(dense_x);
            copy_channels((x, g.x_pixel), input, (&dense, input.c));
            with_scratch(output.len(), |dense_out| {
                self.run_into(dense_x, input, dense_out, epilogue)?;
                copy_channels((dense_out, output.c), output, (out, g.out_pixel));
                Ok(())
            })
        })
    }
}

/// One application of a convolution: shapes and where windows lie.
pub(crate) struct Geometry {
    pub isa: Isa,
    pub spec: ConvSpec,
    pub input: Nhwc,
    pub output: Nhwc,
    /// From one pixel to the next: as many values as it has channels, or more.
    pub x_pixel: usize,
    pub out_pixel: usize,
    /// From one plane to the next of a map that is cut into planes of fewer channels, `x_pixel` or
    /// `out_pixel`; 0 of one that is whole.
    pub x_plane: usize,
    pub out_plane: usize,
}

impl Geometry {
    /// Where in the input's first pixel a channel lies.
    pub fn x_at(&self, channel: usize) -> usize {
        channel / self.x_pixel * self.x_plane + channel % self.x_pixel
    }

    /// The same of the output.
    pub fn out_at(&self, channel: usize) -> usize {
        channel / self.out_pixel * self.out_plane + channel % self.out_pixel
    }

    /// Whether no pixel is followed by anything but the next.
    fn is_dense(&self) -> bool {
        (self.x_pixel, self.out_pixel) == (self.input.c, self.output.c)
    }

    /// Multiply-adds of the definition.
    pub fn macs(&self) -> usize {
        self.output.pixels() * self.spec.weight_len()
    }

    /// Image, first row and first column (negative in the padding) under an output pixel.
    pub fn window(&self, pixel: usize) -> (usize, isize, isize) {
        let (row, ox) = (pixel / self.output.w, pixel % self.output.w);
        let (image, oy) = (row / self.output.h, row % self.output.h);
        let start = |o: usize| (o * self.spec.stride) as isize - self.spec.padding as isize;
        (image, start(oy), start(ox))
    }

    /// The offsets under every tap of the given output pixels.
    pub fn fill_table(&self, table: &mut OffsetTable, pixels: Range<usize>) {
        let (Nhwc { h, w, .. }, c) = (self.input, self.x_pixel);
        let ConvSpec {
            kernel,
            stride,
            padding,
            dilation,
            ..
        } = self.spec;
        if kernel == 1 && stride == 1 && padding == 0 {
            return table.fill_rows(pixels.len(), pixels.start * c, c);
        }
        let rows = self.rows(pixels.clone());
        table.fill(kernel * kernel, pixels.len(), |tap, offsets| {
            let (down, across) = (tap / kernel * dilation, tap % kernel * dilation);
            for (image, oy, columns) in &rows {
                // Coordinates above or left of the image wrap to huge ones.
                let y = (oy * stride + down).wrapping_sub(padding);
                if y >= h {
                    offsets.extend(std::iter::repeat_n(-1, columns.len()));
                    continue;
                }
                let first = (image * h + y) * w;
                offsets.extend(columns.clone().map(|ox| {
                    let x = (ox * stride + across).wrapping_sub(padding);
                    if x < w {
                        ((first + x) * c) as isize
                    } else {
                        -1
                    }
                }));
            }
        });
    }

    /// The rows of the output, or parts of them, that some pixels are: image, row and columns.
    pub fn rows(&self, pixels: Range<usize>) -> Vec<(usize, usize, Range<usize>)> {
        let Nhwc { h, w, .. } = self.output;
        let mut rows = Vec::new();
        let mut at = pixels.start;
        while at < pixels.end {
            let (row, first) = (at / w, at % w);
            let columns = first..w.min(first + pixels.end - at);
            at += columns.len();
            rows.push((row / h, row % h, columns));
        }
        rows
    }
}

/// The `index`-th of `parts` nearly equal shares of `0..total`, cut at multiples of `unit`.
pub(crate) fn share_of(total: usize, unit: usize, index: usize, parts: usize) -> Range<usize> {
    let units = total.div_ceil(unit);
    let cut = |i: usize| (units * i / parts * unit).min(total);
    cut(index)..cut(index + 1)
}

/// `0..total` cut into chunks of multiples of `unit`, from `longest` at both ends down to `shortest`
/// in the middle, where the threads that work from the two ends meet: they then end together.
pub(crate) fn tapered(
    total: usize,
    unit: usize,
    shortest: usize,
    longest: usize,
) -> Vec<Range<usize>> {
    let half = |mut left: usize| {
        let mut lengths = Vec::new();
        while left > 0 {
            let length = (left / 2).clamp(shortest, longest).next_multiple_of(unit);
            // A rest of less than a unit is not worth a task.
            let length = if left < length + unit { left } else { length };
            lengths.push(length);
            left -= length;
        }
        lengths
    };
    let first = (total / 2).next_multiple_of(unit).min(total);
    let mut lengths = half(first);
    lengths.extend(half(total - first).into_iter().rev());
    let mut end = 0;
    let cut = |length| {
        end += length;
        end - length..end
    };
    lengths.into_iter().map(cut).collect()
}

/// The sums over each image's pixels of a finished output.
fn sum_columns(g: &Geometry, out: &[f32], sums: &mut [f32]) {
    let image_len = g.output.h * g.output.w * g.output.c;
    for (image, sums) in out
        .chunks_exact(image_len)
        .zip(sums.chunks_exact_mut(g.output.c))
    {
        columns(g.isa, false, image, g.output.c, sums);
    }
}

/// Adds `[image][part of the image][channels]` to `[image][channels]`, always in that order.
fn add_parts(total: &mut [f32], partial: &[f32], channels: usize, parts: usize) {
    let per_image = parts * channels / total.len();
    for (image, sums) in total.chunks_exact_mut(channels).enumerate() {
        for part in image * per_image..(image + 1) * per_image {
            let row = &partial[part * channels..][..channels];
            sums.iter_mut()
                .zip(row)
                .for_each(|(sum, value)| *sum += value);
        }
    }
}
