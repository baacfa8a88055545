//! What a convolution reads and writes, and what it does with a sum before it writes it.

use crate::arch::Isa;
use crate::arch::checked::rows::weighted;
use crate::arch::dot::{Element, Rounding};
use crate::error::{Error, check_len};
use crate::memory::map::Map;
use crate::memory::rows::{RowLayout, Rows, for_each_share};
use crate::memory::share::SharedMut;
use crate::shape::Nhwc;
use std::ops::Range;

/// What a convolution reads.
#[derive(Clone, Copy, Debug)]
pub enum ConvInput<'a> {
    /// A map of this shape.
    Map(&'a [f32], Nhwc),
    /// Some neighbouring channels of every pixel of a map, as many as the convolution takes.
    Channels {
        /// The whole map.
        map: &'a [f32],
        /// Its shape.
        shape: Nhwc,
        /// The first of its channels that is read.
        first: usize,
    },
    /// A map of this shape as [`ConvOutput::For`] this convolution has written it.
    Words(&'a [u32], Nhwc),
    /// Weighted sums of a split attention's splits. A 1x1 convolution of a large map makes them as it reads them,
    /// and the sums are never stored as a whole; for others they are made first.
    WeightedSplits(WeightedSplits<'a>),
}

/// The splits of a split attention and the weights of their channels.
#[derive(Clone, Copy, Debug)]
pub struct WeightedSplits<'a> {
    /// `[n][h][w][radix][c]`
    pub splits: &'a [f32],
    /// One weight for each channel of each split of each image: `[n][radix][c]`.
    pub attention: &'a [f32],
    /// How many splits there are.
    pub radix: usize,
    /// The shape of their sum.
    pub shape: Nhwc,
}

impl WeightedSplits<'_> {
    /// Fails unless the slices are as long as the shape says.
    pub(super) fn check(&self) -> Result<(), Error> {
        let Nhwc { n, c, .. } = self.shape;
        check_len("splits", self.splits.len(), self.shape.len() * self.radix)?;
        check_len("attention", self.attention.len(), n * self.radix * c)
    }

    /// Writes the sums of some pixels, which may lie in several images.
    pub(super) fn sum_pixels(&self, isa: Isa, pixels: Range<usize>, out: &mut [f32]) {
        let (per_image, channels) = (self.shape.h * self.shape.w, self.shape.c);
        let width = channels * self.radix;
        let mut at = pixels.start;
        while at < pixels.end {
            let image = at / per_image;
            let end = ((image + 1) * per_image).min(pixels.end);
            let splits = &self.splits[at * width..end * width];
            let attention = &self.attention[image * width..][..width];
            let out = &mut out[(at - pixels.start) * channels..(end - pixels.start) * channels];
            weighted(isa, splits, attention, self.radix, out);
            at = end;
        }
    }

    /// All sums, in memory that is there.
    pub(super) fn sum(&self, isa: Isa, out: &mut [f32]) {
        let (layout, work) = self.sums();
        let task = |rows: Rows| self.sum_rows(isa, rows);
        for_each_share(&mut SharedMut::new(out), layout, SUM_TASKS, work, task);
    }

    /// All sums, as a new map.
    pub(crate) fn summed(&self, isa: Isa) -> Map {
        let (layout, work) = self.sums();
        Map::from_rows(layout, SUM_TASKS, work, |rows| self.sum_rows(isa, rows))
    }

    fn sums(&self) -> (RowLayout, usize) {
        let layout = RowLayout::dense(self.shape.pixels(), self.shape.c);
        (layout, self.shape.len() * self.radix)
    }

    fn sum_rows(&self, isa: Isa, rows: Rows) {
        let (pixels, out) = rows.whole();
        self.sum_pixels(isa, pixels, out);
    }
}

/// Tasks that make all sums.
const SUM_TASKS: usize = 16;

/// Where a convolution writes.
#[derive(Debug)]
pub enum ConvOutput<'a> {
    /// A new map, which [`PackedConv::run`](super::PackedConv::run) returns.
    New,
    /// A map that is there, or some channels of it.
    Channels(MapChannels<'a>),
    /// Added to what this map of the output's shape holds, then the epilogue: the same values as with the map as a
    /// residual, and a map less to read. Only where
    /// [`PackedConv::adds_in_place`](super::PackedConv::adds_in_place).
    AddTo(&'a mut [f32]),
    /// A new map of words, rounded as the convolution of this format reads them: the same values as if it rounded them
    /// itself, of a half or a quarter of the memory. Only where
    /// [`PackedConv::rounds_for`](super::PackedConv::rounds_for) it, and without a residual or sums.
    For(WordFormat),
}

/// How a convolution of bf16 or of integers reads a map that another one has rounded for it.
#[derive(Clone, Copy, Debug)]
pub struct WordFormat {
    pub(super) element: Element,
    pub(super) rounding: Rounding,
    /// Channels, and how many of them are a word.
    pub(super) channels: usize,
    pub(super) values: usize,
}

impl WordFormat {
    /// Words of a pixel.
    pub fn pixel_words(self) -> usize {
        self.channels / self.values
    }
}

/// Some neighbouring channels of every pixel of a map, to be written: as many as the convolution puts out.
#[derive(Debug)]
pub struct MapChannels<'a> {
    pub(super) map: SharedMut<'a>,
    pub(super) first: usize,
    pub(super) of: usize,
}

impl<'a> MapChannels<'a> {
    /// Those from `first` on of a `map` that has `of` in all. (0 and all of them for a whole map.)
    pub fn new(map: &'a mut [f32], first: usize, of: usize) -> Self {
        let map = SharedMut::new(map);
        MapChannels { map, first, of }
    }

    /// The same of a map in the making.
    pub(crate) fn of_shared(map: &'a mut SharedMut, first: usize, of: usize) -> Self {
        let map = map.after(0);
        MapChannels { map, first, of }
    }
}

/// What happens to the sums before they are stored: residual, then ReLU, then channel sums.
#[derive(Default)]
pub struct Epilogue<'a> {
    /// Negative results become 0.
    pub relu: bool,
    /// Added to the result; laid out like the output, or the whole map that the output is channels of.
    pub residual: Option<&'a [f32]>,
    /// Receives the sum over all pixels of each image's channels of the finished output,
    /// `[n][out_channels]`.
    pub sums: Option<&'a mut [f32]>,
}

impl Epilogue<'_> {
    /// ReLU alone.
    pub fn relu() -> Self {
        Epilogue {
            relu: true,
            ..Epilogue::default()
        }
    }
}

/// The part of an epilogue that every tile applies to itself.
#[derive(Clone, Copy, Default)]
pub(super) struct TileEpilogue<'a> {
    pub relu: bool,
    pub residual: Option<&'a [f32]>,
    /// The residual is what the output's memory holds.
    pub accumulate: bool,
    /// The output gets words, rounded with this.
    pub rounding: Option<Rounding>,
}

/// What an algorithm reads: the values of a [`ConvInput`] from its first channel on.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    Map(&'a [f32]),
    Words(&'a [u32]),
    WeightedSplits(WeightedSplits<'a>),
}
