//! Grouped convolution with as many channels out as in, few a group (ResNeXt's 4, 8 and 16).

use super::geometry::Geometry;
use super::operands::TileEpilogue;
use super::origin::Origin;
use crate::arch::Isa;
use crate::arch::checked::narrow::NarrowBlock;
use crate::arch::checked::narrow_rows::NarrowRow;
use crate::arch::checked::offsets::OffsetTable;
use crate::error::Error;
use crate::memory::buffer::{Aligned, with_scratch};
use crate::memory::rows::{RowLayout, for_each_share};
use crate::memory::share::SharedMut;
use crate::partition::share_of;
use crate::shape::{ConvSpec, Nhwc};
use crate::threads::parallel::parallel_for;
use crate::tuning::{LINE, NARROW_BLOCK_VALUES, NARROW_FEWEST_ROWS, NARROW_PIXELS};
use std::ops::Range;

/// Weights as `[register of channels][tap][input channel of the group][lane]`.
pub(crate) struct Narrow {
    group: usize,
    weights: Aligned,
    bias: Aligned,
}

impl Narrow {
    /// Whether there is a kernel for it: by rows any small group, else groups that fit a register.
    pub fn fits(isa: Isa, spec: &ConvSpec) -> bool {
        let group = spec.group_in();
        let fits = match group {
            2 | 4 | 8 => by_rows(spec) || group <= isa.kernels().lanes,
            16 => by_rows(spec),
            _ => false,
        };
        fits && group == spec.group_out() && spec.groups > 1
    }

    /// # Errors
    /// Those of [`Origin::buffer`].
    pub fn pack(isa: Isa, spec: &ConvSpec, origin: &mut Origin) -> Result<Self, Error> {
        let (lanes, group, taps) = (isa.kernels().lanes, spec.group_in(), spec.taps());
        let channels = spec.out_channels;
        let width = channels.next_multiple_of(lanes);
        let mut packed = Narrow {
            group,
            weights: origin.buffer(width * taps * group)?,
            bias: origin.buffer(width)?,
        };
        let Some(read) = origin.read() else {
            return Ok(packed);
        };
        for (at, value) in packed.weights.as_mut_slice().iter_mut().enumerate() {
            let (row, lane) = (at / lanes, at % lanes);
            let (rest, i) = (row / group, row % group);
            let (register, tap) = (rest / taps, rest % taps);
            let channel = register * lanes + lane;
            if channel < channels {
                *value = read.weight[(channel * group + i) * taps + tap];
            }
        }
        if let Some(bias) = read.bias {
            packed.bias.as_mut_slice()[..channels].copy_from_slice(bias);
        }
        Ok(packed)
    }

    /// Whether it can read a map that is cut into planes.
    pub fn reads_planes(spec: &ConvSpec) -> bool {
        by_rows(spec)
    }

    /// What is held, in the order of packing.
    pub fn buffers(&self) -> [&Aligned; 2] {
        [&self.weights, &self.bias]
    }

    /// Writes all channels of all pixels.
    pub fn run(&self, g: &Geometry, x: &[f32], out: &mut SharedMut, epilogue: TileEpilogue) {
        if by_rows(&g.spec) {
            self.run_rows(g, x, out, epilogue);
        } else {
            self.run_pixels(g, x, out, epilogue);
        }
    }

    /// Any kernel: runs of pixels with a table of what lies under them.
    fn run_pixels(&self, g: &Geometry, x: &[f32], out: &mut SharedMut, epilogue: TileEpilogue) {
        let (pixels, channels) = (g.output.pixels(), g.output.c);
        let layout = RowLayout {
            unit: NARROW_PIXELS,
            ..RowLayout::dense(pixels, channels)
        };
        let tasks = pixels.div_ceil(64).min(32);
        for_each_share(out, layout, tasks, g.macs(), |rows| {
            let (share, out) = rows.whole();
            let mut table = OffsetTable::default();
            g.fill_table(&mut table, share.clone());
            let values = share.start * channels..share.end * channels;
            let block = NarrowBlock {
                group: self.group,
                channels,
                x,
                table: &table,
                weights: self.weights.as_slice(),
                bias: self.bias.as_slice(),
                residual: epilogue.residual.map(|r| &r[values]),
                relu: epilogue.relu,
            };
            block.run(g.isa, out);
        });
    }

    /// 3x3 kernels: some rows of the output, a cache line of channels at a time.
    fn run_rows(&self, g: &Geometry, x: &[f32], out: &SharedMut, epilogue: TileEpilogue) {
        let Nhwc { n, h, w, c } = g.output;
        let columns = (w - 1) * g.spec.stride + 3;
        let rows = (NARROW_BLOCK_VALUES / (columns * LINE)).saturating_sub(2) / g.spec.stride;
        let chunks = h.div_ceil(rows.max(NARROW_FEWEST_ROWS));
        let blocks = c.div_ceil(LINE);
        parallel_for(n * chunks * blocks, g.macs(), &|task| {
            let (image, chunk) = (task / blocks / chunks, task / blocks % chunks);
            let channels = task % blocks * LINE..c.min((task % blocks + 1) * LINE);
            let rows = share_of(h, 1, chunk, chunks);
            let (under, end) = (rows_under(g, rows.clone()), rows.end);
            with_scratch(under.len() * columns * LINE, |packed| {
                pack_block(g, x, (image, under.clone()), channels.clone(), packed);
                for row in rows {
                    let read = rows_under(g, row..row + 1);
                    let width = channels.len().next_multiple_of(g.isa.kernels().lanes);
                    let registers = channels.start..channels.start + width;
                    let per_channel = 9 * self.group;
                    let narrow = NarrowRow {
                        group: self.group,
                        stride: g.spec.stride,
                        channels: channels.len(),
                        x: &packed[(read.start - under.start) * columns * LINE..],
                        columns,
                        first_tap: (read.start + g.spec.padding)
                            .saturating_sub(row * g.spec.stride),
                        taps: read.len(),
                        pixels: w,
                        start: (image * h + row) * w * g.out_pixel + channels.start,
                        out_pixel: g.out_pixel,
                        weights: &self.weights.as_slice()
                            [registers.start * per_channel..registers.end * per_channel],
                        bias: &self.bias.as_slice()[registers],
                        residual: epilogue.residual,
                        relu: epilogue.relu,
                        more: row + 1 < end,
                        map: x,
                        map_pixel: g.x_pixel,
                        prefetch: beside(g, image, row, channels.start),
                    };
                    // SAFETY: tasks differ in rows or in channels.
                    unsafe { narrow.run(g.isa, out) };
                }
            });
        });
    }
}

/// The rows of the image under a 3x3 kernel for some rows of the output.
fn rows_under(g: &Geometry, rows: Range<usize>) -> Range<usize> {
    let inside = |padded: usize| padded.saturating_sub(g.spec.padding).min(g.input.h);
    inside(rows.start * g.spec.stride)..inside((rows.end - 1) * g.spec.stride + 3)
}

/// Where the rows of input that an output row is the first to read begin in the blocks before and after
/// one. Those are the next that a thread packs, for it takes tasks upwards or downwards.
fn beside(g: &Geometry, image: usize, row: usize, channel: usize) -> [Option<usize>; 4] {
    let Nhwc { h, w, c, .. } = g.input;
    let mut rows = [None; 4];
    let first = row * g.spec.stride;
    for (rows, y) in rows
        .chunks_exact_mut(2)
        .zip(first..h.min(first + g.spec.stride))
    {
        let at = (image * h + y) * w * g.x_pixel;
        rows[0] = (channel >= LINE).then(|| at + g.x_at(channel - LINE));
        rows[1] = (channel + LINE < c).then(|| at + g.x_at(channel + LINE));
    }
    rows
}

/// Copies some rows of an image, of at most a cache line's channels, as `[row][column][LINE]` with the
/// columns of the padding, as many as are read.
fn pack_block(
    g: &Geometry,
    x: &[f32],
    (image, rows): (usize, Range<usize>),
    channels: Range<usize>,
    packed: &mut [f32],
) {
    if rows.is_empty() {
        return;
    }
    let Nhwc { h, w, .. } = g.input;
    let (packed, _) = packed.as_chunks_mut::<LINE>();
    let columns = packed.len() / rows.len();
    let left = g.spec.padding.min(columns);
    let copied = w.min(columns - left);
    for (y, packed) in rows.zip(packed.chunks_exact_mut(columns)) {
        packed[..left].fill([0.0; LINE]);
        packed[left + copied..].fill([0.0; LINE]);
        let row = &x[(image * h + y) * w * g.x_pixel + g.x_at(channels.start)..];
        let pixels = packed[left..left + copied]
            .iter_mut()
            .zip(row.chunks(g.x_pixel));
        if channels.len() == LINE {
            // Of a length that the compiler knows.
            pixels.for_each(|(to, from)| to.copy_from_slice(&from[..LINE]));
        } else {
            pixels.for_each(|(to, from)| {
                to[..channels.len()].copy_from_slice(&from[..channels.len()])
            });
        }
    }
}

/// Whether the kernel for rows can compute it.
fn by_rows(spec: &ConvSpec) -> bool {
    spec.kernel == 3 && spec.dilation == 1 && spec.stride <= 2
}
