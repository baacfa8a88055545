//! What the chunks other than pixels say, and what of it Pillow refuses.

use zlib_rs::{Inflate, InflateFlush, Status};

use super::chunks::Area;
use super::{FORMAT, Mode};
use crate::decode::bytes::u32_be;
use crate::memory::filled;
use crate::{Error, Result};

/// Pillow's `MAX_TEXT_CHUNK`: bytes that a compressed text or profile may have.
const MAX_TEXT: usize = 1 << 20;

/// Pillow's `MAX_TEXT_MEMORY`: bytes (characters in iTXt) of all texts together.
const MAX_TEXTS: u64 = 64 << 20;

/// Inflated bytes of texts and profiles after which a file is not worth it; Pillow has no bound.
const MAX_INFLATED: u64 = 256 << 20;

/// Names of texts that Pillow would take for fields of its own, and then decode otherwise or fail.
const FIELDS: [&[u8]; 3] = [b"bbox", b"interlace", b"transparency"];

#[derive(Default)]
pub(super) struct Info<'a> {
    pub size: (u32, u32),
    pub mode: Option<Mode>,
    pub interlaced: bool,
    pub palette: Option<&'a [u8]>,
    /// Frames of an animation, as its `acTL` says.
    pub frames: Option<u32>,
    /// Whether the picture is none of the frames.
    pub default_image: bool,
    /// Where the latest `fcTL` puts its frame.
    pub frame: Option<Area>,
    /// The latest sequence number of an animation.
    sequence: Option<u32>,
    /// Text so far, and all that was inflated.
    texts: u64,
    inflated: u64,
}

fn corrupt<T>(detail: impl Into<String>) -> Result<T> {
    Err(Error::corrupt(FORMAT, detail))
}

impl<'a> Info<'a> {
    /// A chunk that is neither pixels nor the end.
    pub fn chunk(&mut self, name: [u8; 4], data: &'a [u8]) -> Result<()> {
        let least = match &name {
            b"IHDR" => 13,
            b"gAMA" => 4,
            b"cHRM" => 32,
            b"sRGB" => 1,
            b"pHYs" => 9,
            b"acTL" => 8,
            b"fcTL" => 26,
            b"tRNS" => self.least_transparency(),
            _ => 0,
        };
        if data.len() < least {
            let (name, len) = (name.escape_ascii(), data.len());
            return corrupt(format!("chunk {name} has {len} bytes of {least}"));
        }
        match &name {
            b"IHDR" => self.header(data),
            b"PLTE" => {
                if matches!(self.mode, Some(Mode::Indexed(_))) {
                    self.palette = Some(data);
                }
                Ok(())
            }
            b"iCCP" => self.profile(data),
            b"tEXt" => {
                let (key, text) = split(data).unwrap_or((data, &[]));
                self.keyed_text(key, text.len())
            }
            b"zTXt" => self.compressed_text(data),
            b"iTXt" => self.international_text(data),
            b"acTL" => {
                self.animation(data);
                Ok(())
            }
            b"fcTL" => self.frame(data),
            _ => Ok(()),
        }
    }

    fn header(&mut self, data: &[u8]) -> Result<()> {
        let word = |at| u32_be(data, at).unwrap_or_default();
        self.size = (word(0), word(4));
        self.mode = Mode::new(data[8], data[9]).or(self.mode);
        self.interlaced |= data[12] != 0;
        match data[11] {
            0 => Ok(()),
            other => corrupt(format!("filter method {other} in IHDR")),
        }
    }

    fn least_transparency(&self) -> usize {
        match self.mode {
            Some(Mode::Gray(_) | Mode::Gray16) => 2,
            Some(Mode::Samples { channels: 3, .. }) => 6,
            _ => 0,
        }
    }

    fn animation(&mut self, data: &[u8]) {
        // A second one, or one of no or too many frames, is not believed.
        let frames = u32_be(data, 0).filter(|n| (1..=1 << 31).contains(n));
        if self.frames.take().is_none() {
            self.frames = frames;
        }
    }

    fn frame(&mut self, data: &[u8]) -> Result<()> {
        let word = |at| u32_be(data, at).unwrap_or_default();
        let expected = self.sequence.map_or(0, |n| u64::from(n) + 1);
        self.expect(word(0), expected)?;
        let [width, height, x, y] = [4, 8, 12, 16].map(|at| word(at) as usize);
        if x + width > self.size.0 as usize || y + height > self.size.1 as usize {
            return corrupt("a frame of the animation lies outside the picture");
        }
        self.frame = Some(Area {
            x,
            y,
            width,
            height,
        });
        Ok(())
    }

    pub fn frame_data(&mut self, sequence: u32) -> Result<()> {
        match self.sequence {
            Some(before) => self.expect(sequence, u64::from(before) + 1),
            None => corrupt("a chunk fdAT before any fcTL"),
        }
    }

    fn expect(&mut self, sequence: u32, expected: u64) -> Result<()> {
        if u64::from(sequence) != expected {
            return corrupt(format!("frame chunk {sequence} where {expected} is due"));
        }
        self.sequence = Some(sequence);
        Ok(())
    }

    fn compressed_text(&mut self, data: &[u8]) -> Result<()> {
        let (key, text) = split(data).unwrap_or((data, &[]));
        let (method, text) = text.split_first().unwrap_or((&0, &[]));
        if *method != 0 {
            return corrupt(format!("compression method {method} in zTXt"));
        }
        let len = self.inflate(text)?.map_or(0, |text| text.len());
        self.keyed_text(key, len)
    }

    fn international_text(&mut self, data: &[u8]) -> Result<()> {
        let Some((key, rest)) = split(data) else {
            return Ok(());
        };
        let Some((&[compressed, method], rest)) = rest.split_first_chunk() else {
            return Ok(());
        };
        let Some((language, rest)) = split(rest) else {
            return Ok(());
        };
        let Some((translated, text)) = split(rest) else {
            return Ok(());
        };
        let expanded = match (compressed, method) {
            (0, _) => None,
            (_, 0) => match self.inflate(text)? {
                Some(text) => Some(text),
                None => return Ok(()),
            },
            _ => return Ok(()),
        };
        let words = [language, translated, expanded.as_deref().unwrap_or(text)];
        match words.map(str::from_utf8) {
            [Ok(_), Ok(_), Ok(text)] => self.text(key, text.chars().count()),
            _ => Ok(()),
        }
    }

    fn profile(&mut self, data: &[u8]) -> Result<()> {
        // Without a zero byte Pillow takes the first byte for the method.
        let method = data
            .iter()
            .position(|&byte| byte == 0)
            .map_or(0, |at| at + 1);
        match data.get(method) {
            Some(0) => self.inflate(&data[method + 1..]).map(drop),
            Some(other) => corrupt(format!("compression method {other} in iCCP")),
            None => corrupt("chunk iCCP has no profile"),
        }
    }

    /// As [`inflated`], within bounds for the whole file.
    fn inflate(&mut self, text: &[u8]) -> Result<Option<Vec<u8>>> {
        let out = inflated(text)?;
        self.inflated += out.as_ref().map_or(0, |out| out.len() as u64);
        if self.inflated > MAX_INFLATED {
            let detail = "compressed texts and profiles of more than 256 MiB";
            return Err(Error::unsupported(FORMAT, detail));
        }
        Ok(out)
    }

    /// A text without a key is not kept, except in iTXt.
    fn keyed_text(&mut self, key: &[u8], len: usize) -> Result<()> {
        self.text(key, if key.is_empty() { 0 } else { len })
    }

    fn text(&mut self, key: &[u8], len: usize) -> Result<()> {
        if FIELDS.contains(&key) {
            let detail = format!("a text named \"{}\"", key.escape_ascii());
            return Err(Error::unsupported(FORMAT, detail));
        }
        // This field only says how many frames there are.
        self.default_image |= key == b"default_image" && len > 0;
        self.texts += len as u64;
        if self.texts > MAX_TEXTS {
            return corrupt("texts of more than 64 MiB");
        }
        Ok(())
    }
}

/// What is before the first zero byte and after it.
fn split(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = data.iter().position(|&byte| byte == 0)?;
    Some((&data[..at], &data[at + 1..]))
}

/// Inflates a text; nothing when zlib finds it broken, which Pillow passes over, and an error when it is longer than
/// Pillow reads.
fn inflated(text: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut out = filled(text.len().saturating_mul(1032).clamp(64, MAX_TEXT), 0)?;
    let mut inflate = Inflate::new(true, 15);
    let (mut read, mut written) = (0, 0);
    while let Ok(status) =
        inflate.decompress(&text[read..], &mut out[written..], InflateFlush::SyncFlush)
    {
        let stuck = (read, written) == (inflate.total_in() as usize, inflate.total_out() as usize);
        (read, written) = (inflate.total_in() as usize, inflate.total_out() as usize);
        if status == Status::StreamEnd || read == text.len() || stuck {
            if status != Status::StreamEnd && read < text.len() {
                return corrupt("a text or profile of more than 1 MiB");
            }
            out.truncate(written);
            return Ok(Some(out));
        }
    }
    Ok(None)
}
