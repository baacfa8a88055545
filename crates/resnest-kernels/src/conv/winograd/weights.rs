//! The weights of Winograd's algorithm: transformed, then packed.

use crate::arch::Isa;
use crate::arch::checked::winograd_weights::Weights;
use crate::arch::dot::{Element, bf16_bits};
use crate::arch::form::{Band, Form};
use crate::conv::origin::{Origin, ReadWeights};
use crate::conv::panel::{PanelShape, equal_panels, panels};
use crate::error::Error;
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
    /// The same, rounded up to whole registers where terms follow one another. Of bf16 the words that hold them.
    pub(super) k: usize,
    /// In what V and U are given, if they are not f32.
    pub(super) element: Option<Element>,
    /// A pixel in the padding, which no tile of V has.
    pub(super) padding: Vec<u32>,
    pub(super) lanes: usize,
    /// Padded output channels of a group.
    pub(super) width: usize,
    pub(super) u: Aligned,
    /// `[group][width]`
    pub(super) bias: Aligned,
}

impl Winograd {
    /// # Errors
    /// Those of [`Origin::buffer`].
    pub fn pack(
        isa: Isa,
        spec: &ConvSpec,
        (form, element): (Form, Option<Element>),
        origin: &mut Origin,
    ) -> Result<Self, Error> {
        let lanes = isa.kernels().lanes;
        let list = match element {
            Some(element) => {
                let most = isa.dots(element).tile.len();
                equal_panels(spec.group_out(), lanes, most)
            }
            None => panels(spec.group_out(), lanes),
        };
        let width = list.iter().map(|p| p.registers).sum::<usize>() * lanes;
        let channels = spec.group_in();
        let k = match form.strided() {
            _ if element.is_some() => channels.div_ceil(2),
            true => channels.next_multiple_of(lanes),
            false => channels,
        };
        let mut packed = Winograd {
            form,
            bands: form.bands(),
            list,
            channels,
            k,
            element,
            padding: vec![0; if element.is_some() { k } else { 0 }],
            lanes,
            width,
            u: origin.buffer(spec.groups * width * k * form.terms())?,
            bias: origin.buffer(spec.groups * width)?,
        };
        if let Some(weights) = origin.read() {
            for group in 0..spec.groups {
                for index in 0..packed.list.len() {
                    packed.pack_panel(isa, spec, group, index, weights);
                }
            }
        }
        Ok(packed)
    }

    fn pack_panel(
        &mut self,
        isa: Isa,
        spec: &ConvSpec,
        group: usize,
        index: usize,
        ReadWeights { weight, bias }: ReadWeights,
    ) {
        let panel = self.list[index];
        let width = panel.registers * self.lanes;
        let first = group * spec.group_out() + panel.first;
        let range = self.range(group, index);
        let channels = &weight[first * self.channels * 9..][..panel.cols * self.channels * 9];
        let transform = |k: usize, u: &mut [f32]| {
            Weights {
                form: self.form,
                channels,
                inputs: self.channels,
                k,
                u,
                width,
            }
            .transform(isa)
        };
        if self.element.is_some() {
            // Two rows of k, of which an odd number ends with zeros, become one of words.
            let mut u = vec![0.0; 2 * range.len()];
            transform(2 * self.k, &mut u);
            let words = &mut self.u.as_mut_words()[range];
            for (words, rows) in words.chunks_exact_mut(width).zip(u.chunks_exact(2 * width)) {
                let (first, second) = rows.split_at(width);
                for (word, (a, b)) in words.iter_mut().zip(first.iter().zip(second)) {
                    *word = u32::from(bf16_bits(*a)) | u32::from(bf16_bits(*b)) << 16;
                }
            }
        } else {
            transform(self.k, &mut self.u.as_mut_slice()[range]);
        }
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

    /// What is held, in the order of packing.
    pub fn buffers(&self) -> [&Aligned; 2] {
        [&self.u, &self.bias]
    }
}
