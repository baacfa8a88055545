//! GIF: the first frame on its screen, as Pillow's `GifImagePlugin` lays it.

mod lzw;

use super::bytes::u16_le;
use super::raster::{Palette, Raster, Samples};
use crate::memory::filled;
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
    /// Its own colours, and those of all frames, which may be none.
    local: Option<&'a [u8]>,
    global: &'a [u8],
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
                if let Some(index) = extension(&mut reader)? {
                    transparent = Some(index);
                }
            }
            b',' => return image(reader, screen, global, transparent),
            b';' => return Err(Error::corrupt(FORMAT, "there is no frame")),
            // Pillow, too, passes over stray bytes between blocks.
            _ => {}
        }
    }
}

/// Skips an extension as Pillow does, which takes a chain that ends at once for one that is still to come, except in a
/// comment. The transparent index, if it names one.
fn extension(reader: &mut Reader) -> Result<Option<u8>> {
    let label = reader.byte()?;
    let block = reader.block()?;
    let mut transparent = None;
    match (label, block) {
        (0xf9, []) => {}
        (0xf9, &[flags, _, _, index, ..]) => transparent = (flags & 1 != 0).then_some(index),
        (0xf9, &[flags, _, _]) if flags & 1 == 0 => {}
        (0xf9, _) => {
            let detail = format!("a graphic control of {} bytes", block.len());
            return Err(Error::corrupt(FORMAT, detail));
        }
        (0xfe, []) => return Ok(None),
        (0xff, name) if name.starts_with(b"NETSCAPE2.0") => {
            reader.block()?;
        }
        _ => {}
    }
    reader.skip_blocks()?;
    Ok(transparent)
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
        local,
        global: global.unwrap_or_default(),
        transparent,
        code_size,
        data: reader.0,
    })
}

pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Raster> {
    let frame = frame(bytes)?;
    let pixels = frame.width * frame.height;
    // Indices, canvas, and the colours made of it; the table.
    limits.check_memory(FORMAT, 5 * pixels as u64 + (32 << 10))?;
    let indices = frame.indices()?;
    // Pillow fills the screen with the transparent index, else with index 0, not with the
    // background colour of the header.
    let mut canvas = filled(pixels, frame.transparent.unwrap_or(0))?;
    let rows = indices.chunks_exact(frame.frame_width);
    for (row, y) in rows.zip(frame.row_order()) {
        let at = (frame.top + y) * frame.width + frame.left;
        canvas[at..at + row.len()].copy_from_slice(row);
    }
    // A palette that is a plain ramp makes a grey image, whose indices are not limited by it. Where only the frame's
    // own is one, Pillow puts the global palette on the grey image.
    let colors = |palette| Palette::from_rgb(palette);
    let samples = match (frame.local, frame.global) {
        (Some(local), _) if !is_gray_ramp(local) => Samples::Palette(canvas, colors(local)),
        (_, global) if is_gray_ramp(global) => Samples::Luma(canvas),
        (Some(_), global) => Samples::GrayWithPalette(canvas, colors(global)),
        (None, global) => Samples::Palette(canvas, colors(global)),
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
        lzw::indices(
            self.data,
            self.code_size,
            self.frame_width * self.frame_height,
        )
    }
}
