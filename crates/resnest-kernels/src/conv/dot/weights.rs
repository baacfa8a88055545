//! The weights of a convolution of low precision.

use crate::arch::Isa;
use crate::arch::dot::{Element, Rounding, bf16_bits};
use crate::conv::algorithm::{Algorithm, joins_rows};
use crate::conv::direct::Cut;
use crate::conv::geometry::Geometry;
use crate::conv::operands::WordFormat;
use crate::conv::origin::{Origin, ReadWeights};
use crate::conv::panel::{PanelShape, equal_panels};
use crate::error::Error;
use crate::memory::buffer::Aligned;
use crate::shape::ConvSpec;
use crate::tuning::{COLD_WEIGHT_MACS, LINE};
use std::ops::Range;

/// The largest weight of an output channel becomes this.
const MOST_WEIGHT: f32 = 127.0;

/// Weights rounded and packed as words: `[group][panel][tap][k][width]`, zeros after a panel's last channel.
pub(crate) struct DotConv {
    pub element: Element,
    pub rounding: Rounding,
    pub(super) list: Vec<PanelShape>,
    /// Whether the taps of a row of the kernel are one.
    pub(super) joined: bool,
    /// Input channels of a group, those of all taps that are one, and the words that hold them.
    pub(super) channels: usize,
    pub(super) k: usize,
    /// Values of a word.
    pub(super) values: usize,
    /// Groups.
    groups: usize,
    pub(super) taps: usize,
    lanes: usize,
    /// Padded output channels of a group.
    width: usize,
    weights: Aligned,
    /// `[group][width]` each; the first two of integers alone.
    start: Aligned,
    scale: Aligned,
    bias: Aligned,
    /// Pixels in the padding, as many as a row of the kernel has.
    pub(super) padding: Vec<u32>,
}

impl DotConv {
    /// Rounds and packs.
    ///
    /// # Errors
    /// For an input scale that is no positive number, and those of [`Origin::buffer`].
    pub fn pack(
        isa: Isa,
        spec: &ConvSpec,
        algorithm: Algorithm,
        origin: &mut Origin,
    ) -> Result<Self, Error> {
        let (element, rounding) = match algorithm {
            Algorithm::DirectInt8(scale) if !scale.is_valid() => {
                let problem = format!(
                    "{} is no step of an input; a positive number is",
                    scale.scale
                );
                return Err(Error::spec("input scale", problem));
            }
            Algorithm::DirectInt8(scale) => {
                let rounding = Rounding {
                    inverse: 1.0 / scale.scale,
                    zero_point: scale.zero_point.into(),
                };
                (Element::Int8, rounding)
            }
            _ => (Element::Bf16, Rounding::default()),
        };
        let kernels = isa.dots(element);
        let (lanes, values) = (kernels.lanes, kernels.values);
        let list = equal_panels(spec.group_out(), lanes, kernels.tile.len());
        let width = list.iter().map(|p| p.registers).sum::<usize>() * lanes;
        let joined = element == Element::Bf16 && joins_rows(spec);
        let (channels, taps) = match joined {
            true => (spec.in_channels * spec.kernel, spec.kernel),
            false => (spec.group_in(), spec.taps()),
        };
        let k = channels.div_ceil(values);
        let columns = spec.groups * width;
        let integers = if element == Element::Int8 { columns } else { 0 };
        let zero = rounding.zero_point as u32;
        let padding = match (element, values) {
            (Element::Bf16, _) => 0,
            (Element::Int8, 2) => zero | zero << 16,
            (Element::Int8, _) => zero * 0x0101_0101,
        };
        let mut packed = DotConv {
            element,
            rounding,
            list,
            joined,
            channels,
            k,
            values,
            groups: spec.groups,
            taps,
            lanes,
            width,
            weights: origin.buffer(columns * k * taps)?,
            start: origin.buffer(integers)?,
            scale: origin.buffer(integers)?,
            bias: origin.buffer(columns)?,
            padding: vec![padding; k * spec.kernel],
        };
        if let Some(weights) = origin.read() {
            for group in 0..spec.groups {
                packed.pack_group(group, spec, algorithm, weights);
            }
        }
        Ok(packed)
    }

    fn pack_group(
        &mut self,
        group: usize,
        spec: &ConvSpec,
        algorithm: Algorithm,
        ReadWeights { weight, bias }: ReadWeights,
    ) {
        for index in 0..self.list.len() {
            self.pack_panel(group, index, spec, algorithm, weight);
        }
        if let Some(bias) = bias {
            let channels = group * spec.group_out()..(group + 1) * spec.group_out();
            let at = group * self.width;
            self.bias.as_mut_slice()[at..at + channels.len()].copy_from_slice(&bias[channels]);
        }
    }

    fn pack_panel(
        &mut self,
        group: usize,
        index: usize,
        spec: &ConvSpec,
        algorithm: Algorithm,
        weight: &[f32],
    ) {
        let panel = self.list[index];
        let columns = self.columns(group, index..index + 1);
        let (width, rows) = (columns.len(), self.k * self.taps);
        let first = group * spec.group_out() + panel.first;
        let per_channel = spec.group_in() * spec.taps();
        // In the order of words: tap after tap, each filled up with zeros.
        let row = self.taps * self.k * self.values;
        let mut rounded = vec![0_u16; LINE * row];
        for some in (0..panel.cols).step_by(LINE) {
            let count = LINE.min(panel.cols - some);
            for (column, rounded) in rounded.chunks_exact_mut(row).enumerate().take(count) {
                let channel = &weight[(first + some + column) * per_channel..][..per_channel];
                let at = columns.start + some + column;
                match algorithm {
                    Algorithm::DirectInt8(input) => {
                        let (step, sum) =
                            self.place(spec, channel, rounded, whole_weights(channel));
                        self.scale.as_mut_slice()[at] = step * input.scale;
                        self.start.as_mut_words()[at] = (-i32::from(input.zero_point) * sum) as u32;
                    }
                    _ => {
                        self.place(spec, channel, rounded, (1.0, bf16_bits));
                    }
                }
            }
            let words = &mut self.weights.as_mut_words()[columns.start * rows..columns.end * rows];
            for (at, words) in words.chunks_exact_mut(width).enumerate() {
                for (column, word) in words[some..some + count].iter_mut().enumerate() {
                    let values = &rounded[column * row + at * self.values..][..self.values];
                    *word = match *values {
                        [a, b] => u32::from(a) | u32::from(b) << 16,
                        [a, b, c, d] => u32::from_le_bytes([a, b, c, d].map(|q| q as u8)),
                        _ => unreachable!("a word has two or four values"),
                    };
                }
            }
        }
    }

    /// Writes an output channel's weights, each as `round` makes it, in the order of words; gives back the step, and the sum
    /// of the weights taken for integers.
    fn place(
        &self,
        spec: &ConvSpec,
        channel: &[f32],
        rounded: &mut [u16],
        (step, round): (f32, impl Fn(f32) -> u16),
    ) -> (f32, i32) {
        let (taps, c) = (spec.taps(), spec.group_in());
        let tap_len = self.k * self.values;
        let mut sum = 0;
        for (i, weights) in channel.chunks_exact(taps).enumerate() {
            for (tap, &w) in weights.iter().enumerate() {
                let at = match self.joined {
                    true => tap / spec.kernel * tap_len + tap % spec.kernel * c + i,
                    false => tap * tap_len + i,
                };
                let q = round(w);
                sum += i32::from(q as i16);
                rounded[at] = q;
            }
        }
        (step, sum)
    }

    /// Words of a pixel of a rounded map.
    pub fn pixel_words(&self) -> usize {
        row_words(self.groups * self.k)
    }

    /// How it reads a rounded map that another convolution wrote, channel after channel.
    pub fn word_format(&self, spec: &ConvSpec) -> Option<WordFormat> {
        let whole = self.channels.is_multiple_of(self.values);
        let fits = !self.joined && whole && self.pixel_words() == spec.in_channels / self.values;
        fits.then_some(WordFormat {
            element: self.element,
            rounding: self.rounding,
            channels: spec.in_channels,
            values: self.values,
        })
    }

    /// Whether it can write one: each panel ends with a whole word.
    pub fn writes_words(&self, spec: &ConvSpec, format: WordFormat) -> bool {
        let alike = (format.element, format.values) == (self.element, self.values);
        let fits = format.channels == spec.out_channels;
        alike && fits && spec.group_out().is_multiple_of(self.values)
    }

    /// The first of some panels and those after it that have its shape.
    pub(super) fn of_one_shape(&self, panels: Range<usize>) -> Range<usize> {
        let shape = |p: &PanelShape| (p.cols, p.registers);
        let first = shape(&self.list[panels.start]);
        let more = self.list[panels.clone()]
            .iter()
            .take_while(|p| shape(p) == first);
        panels.start..panels.start + more.count()
    }

    /// The padded output channels of a group's panels.
    fn columns(&self, group: usize, panels: Range<usize>) -> Range<usize> {
        let last = self.list[panels.end - 1];
        let start = group * self.width;
        start + self.list[panels.start].first..start + last.first + last.registers * self.lanes
    }

    /// The weights of some panels.
    pub(super) fn weights(&self, group: usize, panels: Range<usize>) -> &[u32] {
        let (columns, rows) = (self.columns(group, panels), self.k * self.taps);
        &self.weights.as_words()[columns.start * rows..columns.end * rows]
    }

    /// The bias of some panels, as wide as they are.
    pub(super) fn bias(&self, group: usize, panels: Range<usize>) -> &[f32] {
        &self.bias.as_slice()[self.columns(group, panels)]
    }

    /// What integer sums of some panels start from, and their factors.
    pub(super) fn integers(&self, group: usize, panels: Range<usize>) -> Option<(&[u32], &[f32])> {
        let columns = self.columns(group, panels);
        (self.element == Element::Int8).then(|| {
            (
                &self.start.as_words()[columns.clone()],
                &self.scale.as_slice()[columns],
            )
        })
    }

    /// What its tasks depend on.
    pub(super) fn cut(&self, g: &Geometry) -> Cut {
        Cut {
            panels: self.list.len(),
            k_block: self.k,
            work: (g.macs() + COLD_WEIGHT_MACS * self.weights.len() * self.values) / self.values,
        }
    }

    /// What is held, in the order of packing.
    pub fn buffers(&self) -> [&Aligned; 4] {
        [&self.weights, &self.start, &self.scale, &self.bias]
    }
}

/// The step of an output channel's weights as integers, and what makes them so: the largest becomes 127 or -127.
fn whole_weights(channel: &[f32]) -> (f32, impl Fn(f32) -> u16) {
    let largest = channel.iter().fold(0.0_f32, |most, w| most.max(w.abs()));
    let step = largest / MOST_WEIGHT;
    let inverse = match step > 0.0 {
        true => MOST_WEIGHT / largest,
        false => 0.0,
    };
    // Of numbers so small, adding this leaves the nearest integer, ties to even, in the lowest bits.
    const SHIFT: f32 = 12_582_912.0;
    let whole = move |w: f32| {
        (w * inverse + SHIFT)
            .to_bits()
            .wrapping_sub(SHIFT.to_bits()) as u16
    };
    (step, whole)
}

/// From one row of so many words to the next: rows a multiple of 4 KB apart would meet in the same sets of the L1
/// cache.
pub(super) fn row_words(words: usize) -> usize {
    match words.is_multiple_of(1024) {
        true => words + LINE,
        false => words,
    }
}
