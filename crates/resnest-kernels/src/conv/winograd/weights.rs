//! The weights of Winograd's algorithm: transformed, then packed.

use crate::arch::Isa;
use crate::arch::checked::winograd_weights::Weights;
use crate::arch::form::{Band, Form};
use crate::conv::panel::{PanelShape, panels};
use crate::memory::buffer::Aligned;
use crate::shape::ConvSpec;
use std::ops::Range;

/// Weights transformed and packed for one form.
pub(crate) struct Winograd {
    pub(super) form: Form,
    pub(super) bands: Vec<Band>,
    pub(super) list: Vec<PanelShape>,
    /// Input channels of a group.
    pub(super) channels: usize,
    /// The same, rounded up to whole registers where terms follow one another.
    pub(super) k: usize,
    pub(super) lanes: usize,
    /// Padded output channels of a group.
    pub(super) width: usize,
    pub(super) u: Aligned,
    /// `[group][width]`
    pub(super) bias: Aligned,
}

impl Winograd {
    pub fn pack(
        isa: Isa,
        spec: &ConvSpec,
        form: Form,
        weight: &[f32],
        bias: Option<&[f32]>,
    ) -> Self {
        let lanes = isa.kernels().lanes;
        let list = panels(spec.group_out(), lanes);
        let width = list.iter().map(|p| p.registers).sum::<usize>() * lanes;
        let channels = spec.group_in();
        let k = match form.strided() {
            true => channels.next_multiple_of(lanes),
            false => channels,
        };
        let mut packed = Winograd {
            form,
            bands: form.bands(),
            list,
            channels,
            k,
            lanes,
            width,
            u: Aligned::zeros(spec.groups * width * k * form.terms()),
            bias: Aligned::zeros(spec.groups * width),
        };
        for group in 0..spec.groups {
            for index in 0..packed.list.len() {
                packed.pack_panel(isa, spec, group, index, weight, bias);
            }
        }
        packed
    }

    fn pack_panel(
        &mut self,
        isa: Isa,
        spec: &ConvSpec,
        group: usize,
        index: usize,
        weight: &[f32],
        bias: Option<&[f32]>,
    ) {
        let panel = self.list[index];
        let width = panel.registers * self.lanes;
        let first = group * spec.group_out() + panel.first;
        let range = self.range(group, index);
        let channels = &weight[first * self.channels * 9..][..panel.cols * self.channels * 9];
        Weights {
            form: self.form,
            channels,
            inputs: self.channels,
            k: self.k,
            u: &mut self.u.as_mut_slice()[range],
            width,
        }
        .transform(isa);
        if let Some(bias) = bias {
            let at = group * self.width + panel.first;
            self.bias.as_mut_slice()[at..at + panel.cols]
                .copy_from_slice(&bias[first..first + panel.cols]);
        }
    }

    /// Where the weights of a panel of a group lie in `u`.
    pub(super) fn range(&self, group: usize, panel: usize) -> Range<usize> {
        let rows = self.k * self.form.terms();
        let start = (group * self.width + self.list[panel].first) * rows;
        start..start + self.list[panel].registers * self.lanes * rows
    }

    pub fn bytes(&self) -> usize {
        (self.u.len() + self.bias.len()) * size_of::<f32>()
    }
}
