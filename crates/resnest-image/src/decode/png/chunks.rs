//! The walk over the chunks, with Pillow's idea of which damage matters (`PngImagePlugin.py`).

use zlib_rs::crc32::crc32;

use super::data::{self, Rows};
use super::info::Info;
use super::{FORMAT, Mode};
use crate::decode::bytes::u32_be;
use crate::{Error, Result};

/// Pillow hands zlib at most this many bytes at a time.
const BLOCK: usize = 65_536;

type Name = [u8; 4];

/// A part of the picture, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Area {
    pub x: usize,
    pub y: usize,
    pub width: usize,
    pub height: usize,
}

/// A place in the file, and what the chunks before it said.
struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
    info: Info<'a>,
}

/// A file up to its first pixels.
pub(super) struct Start<'a> {
    pub width: u32,
    pub height: u32,
    pub mode: Mode,
    pub palette: Option<&'a [u8]>,
    interlaced: bool,
    area: Area,
    /// More than one frame, so that Pillow stops reading at the next one.
    animated: bool,
    feed: Feed<'a>,
}

/// The chunks of pixels, a block at a time.
pub(super) struct Feed<'a> {
    walk: Walk<'a>,
    /// Bytes left of the chunk.
    left: usize,
}

impl<'a> Walk<'a> {
    /// The next chunk's name and length.
    fn header(&mut self) -> Result<(Name, usize)> {
        let Some((&[a, b, c, d], name)) = self.bytes.get(self.at..).and_then(|rest| {
            Some((
                rest.first_chunk::<4>()?,
                *rest.get(4..)?.first_chunk::<4>()?,
            ))
        }) else {
            return Err(Error::truncated(
                FORMAT,
                "the file ends before the next chunk",
            ));
        };
        if !name.iter().all(|&c| c.is_ascii_alphanumeric() || c == b'_') {
            let detail = format!("a chunk is named {}", name.escape_ascii());
            return Err(Error::corrupt(FORMAT, detail));
        }
        self.at += 8;
        Ok((name, u32::from_be_bytes([a, b, c, d]) as usize))
    }

    /// The next `len` bytes, all of them.
    fn read(&mut self, name: Name, len: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(len);
        let Some(data) = end.and_then(|end| self.bytes.get(self.at..end)) else {
            let detail = format!("the file ends inside chunk {}", name.escape_ascii());
            return Err(Error::truncated(FORMAT, detail));
        };
        self.at += len;
        Ok(data)
    }

    /// The next `len` bytes, or as many as there are.
    fn take(&mut self, len: usize) -> &'a [u8] {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = &rest[..len.min(rest.len())];
        self.at += taken.len();
        taken
    }

    fn check_crc(&mut self, name: Name, data: &[u8]) -> Result<()> {
        let stored = u32_be(self.bytes, self.at);
        self.at += 4;
        if stored != Some(crc32(crc32(0, &name), data)) {
            let detail = format!("the checksum of chunk {} is wrong", name.escape_ascii());
            return Err(Error::corrupt(FORMAT, detail));
        }
        Ok(())
    }

    /// The sequence number at the beginning of an `fdAT`, and how many bytes of pixels follow.
    fn frame_data(&mut self, len: usize) -> Result<usize> {
        let Some(left) = len.checked_sub(4) else {
            return Err(Error::corrupt(FORMAT, "a chunk fdAT of under 4 bytes"));
        };
        let sequence = self.read(*b"fdAT", 4)?;
        self.info
            .frame_data(u32_be(sequence, 0).unwrap_or_default())?;
        Ok(left)
    }
}

impl<'a> Start<'a> {
    /// Reads as far as Pillow's `Image.open` does: to the first chunk of pixels, checksums included.
    pub fn read(bytes: &'a [u8]) -> Result<Self> {
        let mut walk = Walk {
            bytes,
            at: 8,
            info: Info::default(),
        };
        loop {
            let (name, len) = walk.header()?;
            let left = match (&name, walk.info.mode) {
                // Before IHDR, Pillow takes it for a chunk that it does not know.
                (b"IDAT", Some(mode)) => (mode, len),
                (b"fdAT", Some(mode)) => (mode, walk.frame_data(len)?),
                (b"IEND", _) => {
                    return Err(Error::corrupt(FORMAT, "there are no pixels (IDAT)"));
                }
                (b"fdAT", None) => {
                    return Err(Error::corrupt(FORMAT, "pixels before the header (IHDR)"));
                }
                _ => {
                    let data = walk.read(name, len)?;
                    walk.info.chunk(name, data)?;
                    walk.check_crc(name, data)?;
                    continue;
                }
            };
            return Self::new(walk, left.0, left.1, name);
        }
    }

    fn new(walk: Walk<'a>, mode: Mode, left: usize, name: Name) -> Result<Self> {
        let (width, height) = walk.info.size;
        let info = &walk.info;
        if info.palette.is_some() && !matches!(mode, Mode::Indexed(_)) {
            let detail = "two headers, between them a palette";
            return Err(Error::unsupported(FORMAT, detail));
        }
        let area = match info.frame {
            None => Area {
                x: 0,
                y: 0,
                width: width as usize,
                height: height as usize,
            },
            Some(area) => area,
        };
        let outside = |at: usize, len: usize, whole: u32| len == 0 || at + len > whole as usize;
        if outside(area.x, area.width, width) || outside(area.y, area.height, height) {
            let detail = format!("a first frame of {}x{} pixels", area.width, area.height);
            return Err(Error::corrupt(FORMAT, detail));
        }
        let default_image = info.default_image || (info.frame.is_none() && name == *b"IDAT");
        let frames = info
            .frames
            .map_or(1, |n| u64::from(n) + u64::from(default_image));
        Ok(Self {
            width,
            height,
            mode,
            palette: info.palette,
            interlaced: info.interlaced,
            area,
            animated: frames > 1,
            feed: Feed { walk, left },
        })
    }

    /// Decodes into `data`, rows of `width` pixels that are black before, and reads on as far as
    /// Pillow does after the pixels.
    pub fn read_pixels(mut self, data: &mut [u8]) -> Result<()> {
        // Pillow's own limit on a row: its bits are counted in an int.
        if self.area.width > i32::MAX as usize / self.mode.bits() - 7 {
            return Err(Error::corrupt(FORMAT, "rows of more than 2^31 bits"));
        }
        let rows = Rows::new(self.mode, self.area, self.interlaced);
        data::read(&mut self.feed, rows, data, self.width as usize)?;
        self.feed.finish(self.animated)
    }
}

impl<'a> Feed<'a> {
    /// The next block, never empty; an error when the pixels end.
    pub fn next(&mut self) -> Result<&'a [u8]> {
        while self.left == 0 {
            self.walk.take(4);
            let (name, len) = self.walk.header()?;
            self.left = match &name {
                b"IDAT" | b"DDAT" => len,
                b"fdAT" => self.walk.frame_data(len)?,
                _ => {
                    let detail = format!("the pixels end before chunk {}", name.escape_ascii());
                    return Err(Error::truncated(FORMAT, detail));
                }
            };
        }
        let len = self.left.min(BLOCK);
        self.left -= len;
        match self.walk.take(len) {
            [] => Err(Error::truncated(FORMAT, "the file ends inside the pixels")),
            block => Ok(block),
        }
    }

    /// What Pillow's `load_end` does: no checksums, any end will do, but what is there must be whole.
    fn finish(&mut self, animated: bool) -> Result<()> {
        let walk = &mut self.walk;
        walk.take(self.left);
        loop {
            walk.take(4);
            let Ok((name, len)) = walk.header() else {
                return Ok(());
            };
            match &name {
                b"IEND" => return Ok(()),
                b"fcTL" if animated => return Ok(()),
                b"IDAT" => {
                    walk.read(name, len)?;
                }
                b"fdAT" => {
                    let left = walk.frame_data(len)?;
                    walk.read(name, left)?;
                }
                _ => {
                    let data = walk.read(name, len)?;
                    walk.info.chunk(name, data)?;
                }
            }
        }
    }
}
