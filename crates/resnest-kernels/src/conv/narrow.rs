//! Grouped convolution with as many channels out as in, few a group (ResNeXt's 4, 8 and 16).

use super::{Finish, Geometry, share_of, sum_columns};
use crate::arch::Isa;
use crate::arch::block::{NarrowBlock, OffsetTable};
use crate::arch::narrow_rows::NarrowRow;
use crate::buffer::{Aligned, LINE, with_scratch};
use crate::shape::{ConvSpec, Nhwc};
use crate::share::SharedMut;
use crate::threads::parallel_for;
use std::ops::Range;

/// Values of a packed block: 48 KB, of which a row of the output reads a fraction that the L1 cache holds.
const PACKED: usize = 12 * 1024;
/// Rows of the output that are worth packing two more rows of input than they have.
const FEWEST_ROWS: usize = 4;

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

    pub fn pack(isa: Isa, spec: &ConvSpec, weight: &[f32], bias: Option<&[f32]>) -> Self {
        let (lanes, group, taps) = (isa.kernels().lanes, spec.group_in(), spec.taps());
        let channels = spec.out_channels;
        let width = channels.next_multiple_of(lanes);
        let mut weights = Aligned::zeros(width * taps * group);
        for (at, value) in weights.as_mut_slice().iter_mut().enumerate() {
            let (row, lane) = (at / lanes, at % lanes);
            let (rest, i) = (row / group, row % group);
            let (register, tap) = (rest / taps, rest % taps);
            let channel = register * lanes + lane;
            if channel < channels {
                *value = weight[(channel * group + i) * taps + tap];
            }
        }
        let mut padded = Aligned::zeros(width);
        if let Some(bias) = bias {
            padded.as_mut_slice()[..channels].copy_from_slice(bias);
        }
        Narrow {
            group,
            weights,
            bias: padded,
        }
    }

    /// Whether it can read a map that is cut into planes.
    pub fn reads_planes(&self, spec: &ConvSpec) -> bool {
        by_rows(spec)
    }

    pub fn bytes(&self) -> usize {
        (self.weights.len() + self.bias.len()) * size_of::<f32>()
    }

    pub fn run(
        &self,
        g: &Geometry,
        x: &[f32],
        out: &SharedMut,
        finish: Finish,
        sums: Option<&mut [f32]>,
    ) {
        if by_rows(&g.spec) {
            self.run_rows(g, x, out, finish);
        } else {
            self.run_pixels(g, x, out, finish);
        }
        if let Some(sums) = sums {
            // SAFETY: all tasks have ended and have written everything.
            sum_columns(g, unsafe { out.written(0, g.output.len()) }, sums);
        }
    }

    /// Any kernel: runs of pixels with a table of what lies under them.
    fn run_pixels(&self, g: &Geometry, x: &[f32], out: &SharedMut, finish: Finish) {
        let pixels = g.output.pixels();
        let tasks = pixels.div_ceil(64).min(32);
        parallel_for(tasks, g.macs(), &|task| {
            let share = share_of(pixels, 4, task, tasks);
            let mut table = OffsetTable::default();
            g.fill_table(&mut table, share.clone());
            let (at, len) = (share.start * g.output.c, share.len() * g.output.c);
            let block = NarrowBlock {
                group: self.group,
                channels: g.output.c,
                x,
                table: &table,
                weights: self.weights.as_slice(),
                bias: self.bias.as_slice(),
                residual: finish.residual.map(|r| &r[at..at + len]),
                relu: finish.relu,
            };
            // SAFETY: each pixel belongs to one task.
            unsafe { block.run(g.isa, (out, at, len)) };
        });
    }

    /// 3x3 kernels: some rows of the output, a cache line of channels at a time.
    fn run_rows(&self, g: &Geometry, x: &[f32], out: &SharedMut, finish: Finish) {
        let Nhwc { n, h, w, c } = g.output;
        let columns = (w - 1) * g.spec.stride + 3;
        let rows = (PACKED / (columns * LINE)).saturating_sub(2) / g.spec.stride;
        let chunks = h.div_ceil(rows.max(FEWEST_ROWS));
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
                        residual: finish.residual,
                        relu: finish.relu,
                        more: row + 1 < end,
                        map: x,
                        map_pixel: g.x_pixel,
                        upcoming: beside(g, image, row, channels.start),
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
