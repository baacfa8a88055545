//! Grouped convolution with as many channels out as in, few a group (ResNeXt's 4, 8 and 16).

use super::{Finish, Geometry, share_of, sum_columns};
use crate::arch::Isa;
use crate::arch::block::{NarrowBlock, OffsetTable};
use crate::arch::narrow_rows::NarrowRow;
use crate::buffer::Aligned;
use crate::shape::ConvSpec;
use crate::share::SharedMut;
use crate::threads::parallel_for;

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
            sum_columns(g, unsafe { out.slice(0, g.output.len()) }, sums);
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
            block.run(g.isa, unsafe { out.slice(at, len) });
        });
    }

    /// 3x3 kernels: rows of the output, and where they are few, of some registers of channels.
    fn run_rows(&self, g: &Geometry, x: &[f32], out: &SharedMut, finish: Finish) {
        let rows = g.output.n * g.output.h;
        let chunks = rows.min(32);
        let registers = self.bias.len() / g.isa.kernels().lanes;
        let parts = registers.min(32usize.div_ceil(chunks));
        parallel_for(chunks * parts, g.macs(), &|task| {
            let (part, chunk) = (task / chunks, task % chunks);
            for row in share_of(rows, 1, chunk, chunks) {
                let pixel = row * g.output.w;
                let (image, top, left) = g.window(pixel);
                let narrow = NarrowRow {
                    group: self.group,
                    stride: g.spec.stride,
                    channels: g.output.c,
                    x,
                    rows: [0, 1, 2].map(|ky| {
                        let y = (top + ky) as usize; // negative ones wrap to huge ones
                        (y < g.input.h).then(|| (image * g.input.h + y) * g.input.w * g.input.c)
                    }),
                    width: g.input.w,
                    left,
                    pixels: g.output.w,
                    start: pixel * g.output.c,
                    registers: share_of(registers, 1, part, parts),
                    weights: self.weights.as_slice(),
                    bias: self.bias.as_slice(),
                    residual: finish.residual,
                    relu: finish.relu,
                };
                // SAFETY: tasks differ in rows or in channels.
                unsafe { narrow.run(g.isa, out) };
            }
        });
    }
}

/// Whether the kernel for rows can compute it.
fn by_rows(spec: &ConvSpec) -> bool {
    spec.kernel == 3 && spec.dilation == 1 && spec.stride <= 2
}
