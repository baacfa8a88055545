//! Two convolutions run as one.

use super::narrow::Narrow;
use super::operands::{Epilogue, Source};
use super::packed::{Packed, PackedConv};
use crate::error::{Error, check_len};
use crate::memory::map::Map;
use crate::shape::{ConvSpec, Nhwc};
use crate::tuning::LINE;

/// A direct convolution and the one in narrow groups that reads what it puts out: a ResNeXt block's `conv1` and
/// `conv2`.
///
/// The map between them is cut into planes of a few channels, which one writes and the other reads in one go, where
/// whole pixels would be written and read in steps of a page.
#[derive(Clone, Copy, Debug)]
pub struct ConvPair<'a> {
    first: &'a PackedConv,
    second: &'a PackedConv,
}

impl<'a> ConvPair<'a> {
    /// The two, if they can be run so, and if that pays: 3x3 after any direct convolution, in groups of 2 to 16
    /// channels.
    pub fn new(first: &'a PackedConv, second: &'a PackedConv) -> Option<Self> {
        let (Packed::Direct(direct), Packed::Narrow(_)) = (&first.packed, &second.packed) else {
            return None;
        };
        let (channels, width) = (first.spec().out_channels, plane(first));
        let fits = channels == second.spec().in_channels;
        let planes = width.is_multiple_of(LINE) && channels.is_multiple_of(width);
        let pair = ConvPair { first, second };
        (fits && planes && direct.writes_planes(width) && Narrow::reads_planes(second.spec()))
            .then_some(pair)
    }

    /// The output's shape.
    ///
    /// # Errors
    /// When the input does not fit.
    pub fn output(&self, input: Nhwc) -> Result<Nhwc, Error> {
        let [first, second] = self.specs();
        second.output(first.output(input)?)
    }

    /// Both convolutions of `x`, of shape `input`, each with ReLU if its `relu` says so: the values of one run after
    /// the other.
    ///
    /// # Errors
    /// When `x` or the shape does not fit.
    pub fn run(&self, x: &[f32], input: Nhwc, relu: [bool; 2]) -> Result<Map, Error> {
        check_len("input", x.len(), input.len())?;
        let width = plane(self.first);
        let mut first = self.first.geometry(input, input.c, width)?;
        let between = first.output;
        first.out_plane = between.pixels() * width;
        let out = self.second.spec().out_channels;
        let mut second = self.second.geometry(between, width, out)?;
        second.x_plane = first.out_plane;
        let epilogue = |relu| Epilogue {
            relu,
            ..Epilogue::default()
        };
        let conv = &self.first.packed;
        let planes = conv.run_to_new(Source::Map(x), &first, epilogue(relu[0]))?;
        let conv = &self.second.packed;
        conv.run_to_new(Source::Map(&planes), &second, epilogue(relu[1]))
    }

    fn specs(&self) -> [&ConvSpec; 2] {
        [self.first.spec(), self.second.spec()]
    }
}

/// Channels of a plane: those of a panel of two registers.
fn plane(first: &PackedConv) -> usize {
    2 * first.isa().kernels().lanes
}
