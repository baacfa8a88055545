//! Weights cut into panels as wide as the micro-kernels' tiles.

use super::origin::{Origin, ReadWeights};
use crate::arch::Isa;
use crate::error::Error;
use crate::memory::buffer::Aligned;
use crate::tuning::{MAX_BLOCK, UNROLL};
use std::ops::Range;

/// Widest panel of any instruction set: four registers of 16, of low precision; three of f32.
pub(crate) const MAX_WIDTH: usize = 64;

/// One panel: some neighbouring output channels of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PanelShape {
    /// First output channel, within the group.
    pub first: usize,
    /// Channels.
    pub cols: usize,
    /// Registers that hold them, 1 to 3.
    pub registers: usize,
}

/// Cuts `channels` into panels of two registers; an odd one out makes the last panel three wide
/// (24 and 40 channels are common, and a panel of one register is load-bound).
pub(crate) fn panels(channels: usize, lanes: usize) -> Vec<PanelShape> {
    let mut left = channels.div_ceil(lanes);
    let mut list = Vec::with_capacity(left.div_ceil(2));
    let mut first = 0;
    while left > 0 {
        let registers = if left > 3 { 2 } else { left };
        let cols = (registers * lanes).min(channels - first);
        list.push(PanelShape {
            first,
            cols,
            registers,
        });
        first += cols;
        left -= registers;
    }
    list
}

/// Cuts `channels` into panels of up to `most` registers, as equal as can be.
pub(crate) fn equal_panels(channels: usize, lanes: usize, most: usize) -> Vec<PanelShape> {
    let registers = channels.div_ceil(lanes);
    let count = registers.div_ceil(most);
    let mut first = 0;
    let panel = |index: usize| {
        let registers = registers / count + usize::from(index < registers % count);
        let cols = (registers * lanes).min(channels - first);
        first += cols;
        PanelShape {
            first: first - cols,
            cols,
            registers,
        }
    };
    (0..count).map(panel).collect()
}

/// The weights of a convolution as the direct kernels read them:
/// `[group][panel][block of k][tap][k][width]`, zeros after a panel's last channel.
pub(crate) struct PanelWeights {
    pub list: Vec<PanelShape>,
    /// Input channels of a group.
    pub k: usize,
    /// Channels of a block of k.
    pub k_block: usize,
    taps: usize,
    lanes: usize,
    /// Padded output channels of a group.
    width: usize,
    weights: Aligned,
    /// `[group][width]`
    bias: Aligned,
}

/// What a group looks like: `k` input channels under `taps` taps, `out` output channels.
#[derive(Clone, Copy)]
pub(crate) struct GroupShape {
    pub groups: usize,
    pub k: usize,
    pub taps: usize,
    pub out: usize,
}

/// Values of an output channel packed at once.
const TILE: usize = 16;

impl PanelWeights {
    /// Packs weights of which an output channel's value for a tap and an input channel of the group is the one at
    /// `place(tap, k)`.
    ///
    /// # Errors
    /// Those of [`Origin::buffer`].
    pub fn pack(
        isa: Isa,
        shape: GroupShape,
        origin: &mut Origin,
        place: impl Fn(usize, usize) -> usize,
    ) -> Result<Self, Error> {
        let lanes = isa.kernels().lanes;
        let list = panels(shape.out, lanes);
        let width = list.iter().map(|p| p.registers).sum::<usize>() * lanes;
        let blocks = (shape.k * shape.taps).div_ceil(MAX_BLOCK);
        let k_block = shape
            .k
            .div_ceil(blocks.min(shape.k))
            .next_multiple_of(UNROLL);
        let mut packed = PanelWeights {
            list,
            k: shape.k,
            k_block,
            taps: shape.taps,
            lanes,
            width,
            weights: origin.buffer(shape.groups * width * shape.k * shape.taps)?,
            bias: origin.buffer(shape.groups * width)?,
        };
        if let Some(weights) = origin.read() {
            let mut rows = vec![0; shape.k * shape.taps];
            for (row, (tap, k)) in order(shape.k, k_block, shape.taps).enumerate() {
                rows[place(tap, k)] = row;
            }
            for group in 0..shape.groups {
                packed.pack_group(group, shape, weights, &rows);
            }
        }
        Ok(packed)
    }

    /// `rows` says which row of a panel each value of an output channel goes to.
    fn pack_group(
        &mut self,
        group: usize,
        shape: GroupShape,
        ReadWeights { weight, bias }: ReadWeights,
        rows: &[usize],
    ) {
        for index in 0..self.list.len() {
            let panel = self.list[index];
            let first = group * shape.out + panel.first;
            let Range { start, end } = self.columns(group, index..index + 1);
            let range = start * rows.len()..end * rows.len();
            let width = panel.registers * self.lanes;
            let channels = &weight[first * rows.len()..][..panel.cols * rows.len()];
            transpose(
                channels,
                rows,
                &mut self.weights.as_mut_slice()[range],
                width,
            );
            if let Some(bias) = bias {
                let at = group * self.width + panel.first;
                self.bias.as_mut_slice()[at..at + panel.cols]
                    .copy_from_slice(&bias[first..first + panel.cols]);
            }
        }
    }

    /// The first of some panels and those after it that have its shape.
    pub fn of_one_shape(&self, panels: Range<usize>) -> Range<usize> {
        let PanelShape {
            cols, registers, ..
        } = self.list[panels.start];
        let more = self.list[panels.clone()]
            .iter()
            .take_while(|p| (p.cols, p.registers) == (cols, registers));
        panels.start..panels.start + more.count()
    }

    /// The padded output channels of a group's panels.
    fn columns(&self, group: usize, panels: Range<usize>) -> Range<usize> {
        let last = self.list[panels.end - 1];
        let start = group * self.width;
        start + self.list[panels.start].first..start + last.first + last.registers * self.lanes
    }

    /// The weights of some panels.
    pub fn weights(&self, group: usize, panels: Range<usize>) -> &[f32] {
        let (columns, rows) = (self.columns(group, panels), self.k * self.taps);
        &self.weights.as_slice()[columns.start * rows..columns.end * rows]
    }

    /// The bias of some panels, as wide as they are.
    pub fn bias(&self, group: usize, panels: Range<usize>) -> &[f32] {
        &self.bias.as_slice()[self.columns(group, panels)]
    }

    /// How many weights there are, those that fill up panels included.
    pub fn values(&self) -> usize {
        self.weights.len()
    }

    /// What is held, in the order of packing.
    pub fn buffers(&self) -> [&Aligned; 2] {
        [&self.weights, &self.bias]
    }
}

/// (tap, k) in the order of packing: blocks of k, in each all taps, in each the block's k.
fn order(k: usize, k_block: usize, taps: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..k).step_by(k_block).flat_map(move |k0| {
        (0..taps).flat_map(move |tap| (k0..(k0 + k_block).min(k)).map(move |k| (tap, k)))
    })
}

/// Writes the values of some output channels, `[channel][value]`, to `out`, `[row][width]`.
fn transpose(channels: &[f32], rows: &[usize], out: &mut [f32], width: usize) {
    let total = rows.len();
    let mut tile = [[0.0; TILE]; MAX_WIDTH];
    for (at, rows) in (0..).step_by(TILE).zip(rows.chunks(TILE)) {
        for (values, channel) in tile.iter_mut().zip(channels.chunks_exact(total)) {
            values[..rows.len()].copy_from_slice(&channel[at..at + rows.len()]);
        }
        for (i, row) in rows.iter().enumerate() {
            let row = &mut out[row * width..][..width];
            for (out, values) in row.iter_mut().zip(&tile) {
                *out = values[i];
            }
        }
    }
}
