//! GIF: the first frame on its screen, as Pillow's `GifImagePlugin` lays it.

use weezl::{BitOrder, decode::Decoder};

use super::bytes::{array, u16_le};
use super::raster::{Palette, Raster, Samples};
use crate::{Error, Format, Limits, Result};

const FORMAT: Format = Format::Gif;

/// Everything before the compressed indices of the first frame.
struct Frame<'a> {
    /// Screen size, grown to hold the frame.
    width: usize,
    height: usize,
    /// The frame's place on the screen.
    left: usize,
    top: usize,
    frame_width: usize,
    frame_height: usize,
    interlaced: bool,
    palette: &'a [u8],
    transparent: Option<u8>,
    /// Sub-blocks, after the byte that gives the code size.
    code_size: u8,
    data: &'a [u8],
}

/// A forward reader that names what is missing.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let Some((head, rest)) = self.0.split_at_checked(len) else {
            return Err(Error::truncated(
                FORMAT,
                "the file ends before the first frame",
            ));
        };
        self.0 = rest;
        Ok(head)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    /// A sub-block; empty at the end of its chain.
    fn block(&mut self) -> Result<&'a [u8]> {
        let len = self.byte()?;
        self.take(usize::from(len))
    }

    fn skip_blocks(&mut self) -> Result<()> {
        while !self.block()?.is_empty() {}
        Ok(())
    }

    /// A colour table when `flags` announce one.
    fn colors(&mut self, flags: u8) -> Result<Option<&'a [u8]>> {
        if flags & 0x80 == 0 {
            return Ok(None);
        }
        self.take(3 << ((flags & 7) + 1)).map(Some)
    }
}

pub(super) fn size(bytes: &[u8]) -> Result<(u64, u64)> {
    let frame = frame(bytes)?;
    Ok((frame.width as u64, frame.height as u64))
}

fn frame(bytes: &[u8]) -> Result<Frame<'_>> {
    let mut reader = Reader(bytes);
    let screen = reader.take(13)?;
    let global = reader.colors(screen[10])?;
    let mut transparent = None;
    loop {
        match reader.byte()? {
            b'!' => {
                let label = reader.byte()?;
                let block = reader.block()?;
                if let (0xf9, Some([flags, _, _, index])) = (label, array(block, 0))
                    && flags & 1 != 0
                {
                    transparent = Some(index);
                }
                if !block.is_empty() {
                    reader.skip_blocks()?;
                }
            }
            b',' => return image(reader, screen, global, transparent),
            b';' => return Err(Error::corrupt(FORMAT, "there is no frame")),
            // Pillow, too, passes over stray bytes between blocks.
            _ => {}
        }
    }
}

fn image<'a>(
    mut reader: Reader<'a>,
    screen: &[u8],
    global: Option<&'a [u8]>,
    transparent: Option<u8>,
) -> Result<Frame<'a>> {
    let descriptor = reader.take(9)?;
    let local = reader.colors(descriptor[8])?;
    let code_size = reader.byte()?;
    let word = |bytes, at| usize::from(u16_le(bytes, at).unwrap_or(0));
    let (left, top) = (word(descriptor, 0), word(descriptor, 2));
    let (frame_width, frame_height) = (word(descriptor, 4), word(descriptor, 6));
    Ok(Frame {
        width: word(screen, 6).max(left + frame_width),
        height: word(screen, 8).max(top + frame_height),
        left,
        top,
        frame_width,
        frame_height,
        interlaced: descriptor[8] & 0x40 != 0,
        palette: local.or(global).unwrap_or_default(),
        transparent,
        code_size,
        data: reader.0,
    })
}

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster> {
    let frame = frame(bytes)?;
    let pixels = frame.width * frame.height;
    limits.check_memory(FORMAT, 5 * pixels as u64)?;
    let indices = frame.indices()?;
    // Pillow fills the screen with the transparent index, else with index 0, not with the
    // background colour of the header.
    let mut canvas = vec![frame.transparent.unwrap_or(0); pixels];
    let rows = indices.chunks_exact(frame.frame_width);
    for (row, y) in rows.zip(frame.row_order()) {
        let at = (frame.top + y) * frame.width + frame.left;
        canvas[at..at + row.len()].copy_from_slice(row);
    }
    // A palette that is a plain ramp makes a grey image, whose indices are not limited by it.
    let samples = if is_gray_ramp(frame.palette) {
        Samples::Luma(canvas)
    } else {
        Samples::Palette(canvas, Palette::from_rgb(frame.palette))
    };
    Ok(Raster {
        width: frame.width as u32,
        height: frame.height as u32,
        samples,
    })
}

fn is_gray_ramp(palette: &[u8]) -> bool {
    palette
        .as_chunks::<3>()
        .0
        .iter()
        .zip(0..=255u8)
        .all(|(color, i)| *color == [i; 3])
}

impl Frame<'_> {
    /// Where each row of the data goes.
    fn row_order(&self) -> Vec<usize> {
        let height = self.frame_height;
        if !self.interlaced {
            return (0..height).collect();
        }
        let passes = [(0, 8), (4, 8), (2, 4), (1, 2)];
        passes
            .into_iter()
            .flat_map(|(from, step)| (from..height).step_by(step))
            .collect()
    }

    /// The frame's colour indices, in the order of the data.
    fn indices(&self) -> Result<Vec<u8>> {
        if self.frame_width == 0 || self.frame_height == 0 {
            return Err(Error::corrupt(FORMAT, "the first frame is empty"));
        }
        if !matches!(self.code_size, 1..=11) {
            let detail = format!("LZW code size {}", self.code_size);
            return Err(Error::corrupt(FORMAT, detail));
        }
        let mut decoder = Decoder::new(BitOrder::Lsb, self.code_size);
        let mut out = vec![0; self.frame_width * self.frame_height];
        let (mut filled, total) = (0, out.len());
        let data = self.blocks();
        let mut rest = data.as_slice();
        while filled < total {
            let step = decoder.decode_bytes(rest, &mut out[filled..]);
            rest = &rest[step.consumed_in..];
            filled += step.consumed_out;
            if let Err(e) = step.status {
                return Err(Error::corrupt(FORMAT, e.to_string()));
            }
            // The decoder holds codes back, so only a step without progress is the end.
            if step.consumed_in == 0 && step.consumed_out == 0 {
                return Err(Error::truncated(
                    FORMAT,
                    format!("{filled} pixels of {total}"),
                ));
            }
        }
        Ok(out)
    }

    /// The sub-blocks' payload, as far as the file goes.
    fn blocks(&self) -> Vec<u8> {
        let mut reader = Reader(self.data);
        let mut data = Vec::with_capacity(self.data.len());
        while let Ok(len) = reader.byte() {
            let len = usize::from(len).min(reader.0.len());
            if len == 0 {
                break;
            }
            data.extend_from_slice(&reader.0[..len]);
            reader.0 = &reader.0[len..];
        }
        data
    }
}
