//! From blocks to rows of pixels: strips of samples, upsampled and converted while they are hot
//! (`jdmainct.c`, `jdsample.c`, `jdcolor.c`).

use super::frame::{Component, Frame, SIDE};
use super::kernels::Kernels;
use super::sequential::Block;
use crate::Result;
use crate::memory::{filled, reserved};

/// What the components mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colour {
    Grey,
    YCbCr,
    Rgb,
    Cmyk,
    Ycck,
}

impl Colour {
    /// Bytes of a pixel.
    pub fn channels(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::YCbCr | Self::Rgb => 3,
            Self::Cmyk | Self::Ycck => 4,
        }
    }
}

/// How a component comes to full size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Upsampling {
    None,
    /// Interpolated, twice as wide.
    H2v1,
    /// Interpolated, twice as wide and high.
    H2v2,
    /// Interpolated, twice as high.
    H1v2,
    /// Repeated so many times across.
    Repeated(usize),
}

impl Upsampling {
    fn of(component: &Component, frame: &Frame) -> Self {
        // libjpeg interpolates no rows of one or two samples, unless they only grow in height.
        // Of a lossless frame it interpolates none.
        let wide = component.width > 2 && frame.side > 1;
        match (frame.max_h / component.h, frame.max_v / component.v) {
            (1, 1) => Self::None,
            (2, 1) if wide => Self::H2v1,
            (1, 2) if frame.side > 1 => Self::H1v2,
            (2, 2) if wide => Self::H2v2,
            (h, _) => Self::Repeated(h),
        }
    }

    fn needs_neighbours(self) -> bool {
        matches!(self, Self::H2v2 | Self::H1v2)
    }
}

/// The samples of a component that are at hand: those of a row of MCUs, and the end of the row before.
#[derive(Debug)]
struct Strip {
    samples: Vec<u8>,
    stride: usize,
    /// Rows kept of the strip before.
    kept: usize,
    /// Rows of the strip itself.
    rows: usize,
    /// Samples of the picture.
    width: usize,
    height: usize,
    /// Rows of this component to `max_v` rows of pixels.
    v: usize,
    /// Rows of pixels to a row of this component.
    stretch: usize,
    upsampling: Upsampling,
}

impl Strip {
    fn new(
        component: &Component,
        frame: &Frame,
        upsampling: Upsampling,
        waits: bool,
    ) -> Result<Self> {
        let stride = component.padded_wide() * frame.side;
        let kept = if waits { 2 * component.v } else { 0 };
        let rows = component.v * frame.side;
        Ok(Self {
            samples: filled((kept + rows) * stride, 0)?,
            stride,
            kept,
            rows,
            width: component.width,
            height: component.height,
            v: component.v,
            stretch: frame.max_v / component.v,
            upsampling,
        })
    }

    /// Row `row` of the component, with those past its ends repeated; `strip` is the current strip's number.
    fn row(&self, row: usize, strip: usize) -> &[u8] {
        let row = row.min(self.height - 1) + self.kept;
        let at = row.saturating_sub(strip * self.rows);
        &self.samples[at * self.stride..][..self.width]
    }

    /// Keeps the last rows for the strip to come.
    fn keep(&mut self) {
        let start = self.samples.len() - self.kept * self.stride;
        self.samples.copy_within(start.., 0);
    }

    /// The row of samples at full size for row `y` of the pixels.
    fn full<'a>(
        &'a self,
        kernels: &Kernels,
        (y, max_v): (usize, usize),
        strip: usize,
        line: &'a mut [u8],
    ) -> &'a [u8] {
        let (group, within) = (y / max_v, y % max_v);
        let row = group * self.v + within / self.stretch;
        let near = self.row(row, strip);
        let upper = within.is_multiple_of(2);
        let far = || match upper {
            true => self.row(row.saturating_sub(1), strip),
            false => self.row(row + 1, strip),
        };
        match self.upsampling {
            Upsampling::None => return near,
            Upsampling::H2v1 => kernels.h2v1(near, line),
            Upsampling::H2v2 => kernels.h2v2(near, far(), line),
            Upsampling::H1v2 => kernels.h1v2(near, far(), upper, line),
            Upsampling::Repeated(times) => {
                for (out, &sample) in line.chunks_mut(times).zip(near) {
                    out.fill(sample);
                }
            }
        }
        line
    }
}

/// Makes the picture's rows out of its blocks, a row of MCUs after the other.
#[derive(Debug)]
pub(super) struct Rows {
    kernels: Kernels,
    strips: Vec<Strip>,
    /// A row at full size of each component.
    lines: Vec<Vec<u8>>,
    colour: Colour,
    width: usize,
    height: usize,
    max_v: usize,
    /// Groups of `max_v` rows to a strip.
    groups: usize,
    /// Rows wait for the one below them.
    waits: bool,
    /// Number of the current strip.
    strip: usize,
    /// Finished rows of pixels.
    done: usize,
    pixels: Vec<u8>,
}

impl Rows {
    pub fn new(frame: &Frame, colour: Colour) -> Result<Self> {
        let components = frame.components.iter();
        let kinds = components.map(|component| (component, Upsampling::of(component, frame)));
        let waits = kinds.clone().any(|(_, kind)| kind.needs_neighbours());
        let mut strips = Vec::with_capacity(frame.components.len());
        let mut lines = Vec::with_capacity(frame.components.len());
        for (component, upsampling) in kinds {
            strips.push(Strip::new(component, frame, upsampling, waits)?);
            let line = match upsampling {
                Upsampling::None => 0,
                _ => component.width * (frame.max_h / component.h),
            };
            lines.push(filled(line, 0)?);
        }
        Ok(Self {
            kernels: Kernels::new(),
            strips,
            lines,
            colour,
            width: frame.width,
            height: frame.height,
            max_v: frame.max_v,
            groups: frame.side,
            waits,
            strip: 0,
            done: 0,
            pixels: reserved(frame.width * frame.height * colour.channels())?,
        })
    }

    /// Bytes of the strips, for the estimate of memory.
    pub fn strip_bytes(frame: &Frame) -> usize {
        let bytes = |c: &Component| c.padded_wide() * SIDE * c.v * (SIDE + 2) + frame.width;
        frame.components.iter().map(bytes).sum()
    }

    /// Transforms a block of the current strip; `x` and `y` count blocks. `ac` false promises that only
    /// the DC coefficient is not 0.
    pub fn block(
        &mut self,
        component: usize,
        (x, y): (usize, usize),
        block: &Block,
        quant: &[u16; 64],
        ac: bool,
    ) {
        let strip = &mut self.strips[component];
        let at = (strip.kept + y * SIDE) * strip.stride + x * SIDE;
        let out = &mut strip.samples[at..];
        if ac {
            self.kernels.idct_islow(block, quant, out, strip.stride);
            return;
        }
        let sample = flat(block[0], quant[0]);
        for row in out.chunks_mut(strip.stride).take(SIDE) {
            row[..SIDE].fill(sample);
        }
    }

    /// Takes row `y` of the current strip as it is.
    pub fn samples(&mut self, component: usize, y: usize, row: &[u8]) {
        let strip = &mut self.strips[component];
        let at = (strip.kept + y) * strip.stride;
        strip.samples[at..][..row.len()].copy_from_slice(row);
    }

    /// Ends the current strip: makes all rows of pixels that need nothing more.
    pub fn finish_strip(&mut self) {
        let groups = (self.strip + 1) * self.groups;
        let groups = if self.waits { groups - 1 } else { groups };
        self.emit(groups * self.max_v);
        for strip in &mut self.strips {
            strip.keep();
        }
        self.strip += 1;
    }

    /// Ends the last strip, and gives the pixels.
    pub fn finish(mut self) -> Vec<u8> {
        self.emit(self.height);
        self.pixels
    }

    fn emit(&mut self, until: usize) {
        let until = until.min(self.height);
        for y in self.done..until {
            let start = self.pixels.len();
            self.pixels
                .resize(start + self.width * self.colour.channels(), 0);
            self.pixel_row(y, start);
        }
        self.done = until.max(self.done);
    }

    fn pixel_row(&mut self, y: usize, start: usize) {
        let Self {
            kernels,
            strips,
            lines,
            width,
            max_v,
            strip,
            ..
        } = self;
        let out = &mut self.pixels[start..];
        let mut rows = strips
            .iter()
            .zip(lines)
            .map(|(strip_of, line)| &strip_of.full(kernels, (y, *max_v), *strip, line)[..*width]);
        let mut next = || rows.next().unwrap_or_default();
        match self.colour {
            Colour::Grey => out.copy_from_slice(next()),
            Colour::YCbCr => kernels.ycc_to_rgb(next(), next(), next(), out),
            Colour::Rgb => interleave([next(), next(), next()], out),
            Colour::Cmyk => interleave([next(), next(), next(), next()], out),
            Colour::Ycck => kernels.ycck_to_cmyk(next(), next(), next(), next(), out),
        }
    }
}

fn interleave<const N: usize>(rows: [&[u8]; N], out: &mut [u8]) {
    for (i, row) in rows.into_iter().enumerate() {
        for (pixel, &sample) in out.chunks_exact_mut(N).zip(row) {
            pixel[i] = sample;
        }
    }
}

/// The sample of a block that has a DC coefficient only, as the kernels' transform gives it.
fn flat(dc: i16, quant: u16) -> u8 {
    // 16 bits wrap in the product and the shift; see `kernels`.
    let value = dc.wrapping_mul(quant as i16).wrapping_shl(2);
    (((i32::from(value) + 16) >> 5).clamp(-128, 127) + 128) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flat_block_is_what_the_transform_makes_of_it() {
        for quant in [0, 1, 2, 3, 16, 99, 255, 32768, 65535] {
            for dc in i16::MIN..=i16::MAX {
                let mut block = [0; 64];
                block[0] = dc;
                let (mut out, table) = ([0; 64], [quant; 64]);
                Kernels::portable().idct_islow(&block, &table, &mut out, 8);
                assert_eq!(out, [flat(dc, quant); 64], "{dc} times {quant}");
            }
        }
    }
}
