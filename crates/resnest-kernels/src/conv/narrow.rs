//! Grouped convolution with as many channels out as in, few a group (ResNeXt's 4 and 8).

use super::{Finish, Geometry, share_of, sum_columns};
use crate::arch::Isa;
use crate::arch::block::{NarrowBlock, OffsetTable};
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
    /// Whether whole groups fit a register of this instruction set.
    pub fn fits(isa: Isa, spec: &ConvSpec) -> bool {
        let group = spec.group_in();
        let narrow = matches!(group, 2 | 4 | 8) && group <= isa.kernels().lanes;
        narrow && group == spec.group_out() && spec.groups > 1
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
        if let Some(sums) = sums {
            // SAFETY: all tasks have ended and have written everything.
            sum_columns(g, unsafe { out.slice(0, g.output.len()) }, sums);
        }
    }
}
