//! Convolutions over the splits of a map, written side by side: the middle of a Res2Net's block.

use crate::conv::{ConvInput, ConvOutput, Epilogue, MapChannels, PackedConv};
use crate::error::{Error, check_len};
use crate::layout::copy_channels;
use crate::memory::buffer::with_scratch;
use crate::memory::map::Map;
use crate::memory::rows::{RowLayout, for_each_share};
use crate::memory::share::SharedMut;
use crate::pool::{PoolSpec, pool_between};
use crate::shape::Nhwc;

/// Tasks that add what one convolution put out to what the next reads.
const SUM_TASKS: usize = 8;

/// What the convolutions read, and what happens to the splits that none reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Each convolution reads its split plus what the one before put out; splits without a
    /// convolution stay what they are.
    Chained,
    /// Each reads its split alone; splits without a convolution are pooled.
    Pooled(PoolSpec),
}

/// Convolutions, each followed by a ReLU, over the first splits of a map.
///
/// They read the map and write the result where it lies among the others: nothing is cut out or
/// put together.
#[derive(Debug)]
pub struct SplitConvs<'a> {
    /// One for each split but the last; all of the same shape.
    pub convs: Vec<&'a PackedConv>,
    /// What each convolution reads, and what happens to the splits that none reads.
    pub rest: Rest,
}

impl SplitConvs<'_> {
    /// The output's shape: as many channels as go in.
    ///
    /// # Errors
    /// When the convolutions differ, do not keep their width or do not fit the input.
    pub fn output(&self, input: Nhwc) -> Result<Nhwc, Error> {
        let Some(first) = self.convs.first() else {
            return Err(Error::spec("splits", "there is no convolution"));
        };
        let spec = first.spec();
        let width = spec.out_channels;
        if spec.in_channels != width || self.convs.iter().any(|c| c.spec() != spec) {
            let problem = "the convolutions must be alike and keep their channels";
            return Err(Error::spec("splits", problem));
        }
        let splits = input.c / width;
        if !input.c.is_multiple_of(width) || splits < self.convs.len() {
            let problem = format!("{} channels are no splits of {width}", input.c);
            return Err(Error::spec("splits", problem));
        }
        let split = Nhwc { c: width, ..input };
        let output = spec.output(split)?;
        let fits = match self.rest {
            Rest::Chained => output == split,
            Rest::Pooled(pool) => splits == self.convs.len() || pool.output(split)? == output,
        };
        if !fits {
            return Err(Error::spec("splits", "would be of different sizes"));
        }
        Ok(Nhwc {
            c: input.c,
            ..output
        })
    }

    /// (N, H, W, splits·width) => (N, H', W', splits·width).
    ///
    /// # Errors
    /// When `x` does not have the given shape or the shape does not fit.
    pub fn run(&self, x: &[f32], input: Nhwc) -> Result<Map, Error> {
        let output = self.output(input)?;
        check_len("input", x.len(), input.len())?;
        if output.is_empty() {
            return Ok(Map::default());
        }
        // SAFETY: the convolutions write their splits, `rest` those after them.
        unsafe {
            Map::written_by(output.len(), |out| {
                self.rest(x, input, out)?;
                match self.rest {
                    Rest::Chained => self.chain(x, input, out),
                    Rest::Pooled(_) => self.each(x, input, out),
                }
            })
        }
    }

    fn width(&self) -> usize {
        self.convs.first().map_or(0, |c| c.spec().out_channels)
    }

    /// The splits that no convolution reads, all in one.
    fn rest(&self, x: &[f32], input: Nhwc, out: &mut SharedMut) -> Result<(), Error> {
        let first = self.convs.len() * self.width();
        let shape = Nhwc {
            c: input.c - first,
            ..input
        };
        if shape.c == 0 {
            return Ok(());
        }
        let (x, out) = ((&x[first..], input.c), (&mut out.after(first), input.c));
        match self.rest {
            Rest::Chained => copy_channels(x, shape, out),
            Rest::Pooled(pool) => pool_between(self.convs[0].isa(), x, shape, out, pool)?,
        }
        Ok(())
    }

    fn each(&self, x: &[f32], input: Nhwc, out: &mut SharedMut) -> Result<(), Error> {
        (0..self.convs.len())
            .try_for_each(|index| self.convolve(index, self.split(index, x, input), input, out))
    }

    fn chain(&self, x: &[f32], input: Nhwc, out: &mut SharedMut) -> Result<(), Error> {
        let split = Nhwc {
            c: self.width(),
            ..input
        };
        self.convolve(0, self.split(0, x, input), input, out)?;
        with_scratch(split.len(), |sum| {
            for index in 1..self.convs.len() {
                self.add_before(index, x, split, out, sum);
                self.convolve(index, ConvInput::Map(sum, split), input, out)?;
            }
            Ok(())
        })
    }

    /// A split plus what the convolution before it has put out, without gaps.
    fn add_before(&self, index: usize, x: &[f32], split: Nhwc, out: &SharedMut, sum: &mut [f32]) {
        let (width, all) = (split.c, x.len() / split.pixels());
        let layout = RowLayout::dense(split.pixels(), width);
        let work = 3 * split.len();
        for_each_share(&mut SharedMut::new(sum), layout, SUM_TASKS, work, |rows| {
            for (pixel, sum) in rows {
                let at = pixel * all + index * width;
                // SAFETY: the convolution before has written its channels of each pixel, and nobody writes
                // now.
                let before = unsafe { out.written(at - width, width) };
                for ((sum, x), before) in sum.iter_mut().zip(&x[at..]).zip(before) {
                    *sum = x + *before;
                }
            }
        });
    }

    /// What a convolution reads of the input.
    fn split<'x>(&self, index: usize, x: &'x [f32], input: Nhwc) -> ConvInput<'x> {
        ConvInput::Channels {
            map: x,
            shape: input,
            first: index * self.width(),
        }
    }

    fn convolve(
        &self,
        index: usize,
        x: ConvInput,
        input: Nhwc,
        out: &mut SharedMut,
    ) -> Result<(), Error> {
        let to = MapChannels::of_shared(out, index * self.width(), input.c);
        self.convs[index].run(x, ConvOutput::Channels(to), Epilogue::relu())?;
        Ok(())
    }
}
