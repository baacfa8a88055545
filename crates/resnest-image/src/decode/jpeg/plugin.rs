//! What Pillow's `JpegImagePlugin` reads of a file before libjpeg sees it, and where it refuses.
//!
//! It walks the segments up to the first scan by their lengths alone, with its own idea of what must hold:
//! a picture is 8 bits deep and has 1, 3 or 4 layers, and a few segments are looked into on the way.

use std::borrow::Cow;

use super::FORMAT;
use crate::decode::bytes::{u16_be, u32_be};
use crate::decode::exif;
use crate::{Error, Result};

/// The one Photoshop block that the plugin looks into, and how much of it.
const RESOLUTION: u16 = 0x03ed;
const RESOLUTION_LEN: usize = 14;

const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";

/// What the plugin knows of a picture when it is opened.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Opened<'a> {
    pub width: u16,
    pub height: u16,
    pub layers: u8,
    /// The segments of the EXIF block.
    exif: Vec<&'a [u8]>,
    /// The last XMP packet.
    pub xmp: Option<&'a [u8]>,
    /// The JFIF segment gave a resolution, so that of the EXIF block is not looked at.
    resolution: bool,
    /// Segments of a colour profile.
    profile: Vec<&'a [u8]>,
}

fn refused(what: &str) -> Error {
    Error::corrupt(FORMAT, what)
}

/// A marker's segment without its length, and where the next begins.
fn segment(bytes: &[u8], at: usize) -> Result<(&[u8], usize)> {
    let short = || Error::truncated(FORMAT, "the file ends within its header");
    let len = u16_be(bytes, at).ok_or_else(short)?.saturating_sub(2);
    let (start, end) = (at + 2, at + 2 + usize::from(len));
    Ok((bytes.get(start..end).ok_or_else(short)?, end))
}

/// Reads a file up to its first scan.
pub(super) fn open(bytes: &[u8]) -> Result<Opened<'_>> {
    let mut opened = Opened::default();
    let mut at = 2;
    loop {
        let (marker, code) = next_code(bytes, at)?;
        at = marker + 2;
        if !has_segment(code)? {
            continue;
        }
        let (payload, end) = segment(bytes, at)?;
        at = end;
        match code {
            0xe0..=0xef => opened.application(code, payload)?,
            0xdb => check_quant(payload)?,
            0xc4 | 0xcc | 0xdc | 0xdd | 0xdf | 0xfe => {}
            0xda => break,
            _ => opened.start_of_frame(payload)?,
        }
    }
    if opened.layers == 0 {
        return Err(refused("a scan without a frame header"));
    }
    match opened.exif() {
        Some(block) if !opened.resolution && exif::resolution_stops_pillow(&block) => {
            Err(refused("the EXIF resolution is no number"))
        }
        _ => Ok(opened),
    }
}

/// The next marker at or after `at`: where its last 0xff is, and its code.
fn next_code(bytes: &[u8], mut at: usize) -> Result<(usize, u8)> {
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let end = || Error::truncated(FORMAT, "the file ends before the first scan");
        at += rest.iter().position(|&b| b == 0xff).ok_or_else(end)?;
        match bytes.get(at + 1) {
            None => return Err(end()),
            Some(0xff) => at += 1,
            Some(0) => at += 2,
            Some(&code) => return Ok((at, code)),
        }
    }
}

/// Whether the plugin skips a segment after the marker.
fn has_segment(code: u8) -> Result<bool> {
    match code {
        0xc8 | 0xd0..=0xd9 | 0xf0..=0xfd => Ok(false),
        0xc0.. => Ok(true),
        _ => Err(refused("what should be a marker is none")),
    }
}

/// Tables of 64 values of one byte or two, each after a byte of its own.
fn check_quant(mut payload: &[u8]) -> Result<()> {
    while let Some(&kind) = payload.first() {
        let len = if kind >> 4 == 0 { 65 } else { 129 };
        payload = payload
            .get(len..)
            .ok_or_else(|| refused("a quantisation table is cut short"))?;
    }
    Ok(())
}

impl<'a> Opened<'a> {
    /// The EXIF block, a small TIFF; several segments are joined.
    pub fn exif(&self) -> Option<Cow<'a, [u8]>> {
        match self.exif[..] {
            [] => None,
            [only] => Some(Cow::Borrowed(only)),
            _ => Some(Cow::Owned(self.exif.concat())),
        }
    }

    fn start_of_frame(&mut self, payload: &[u8]) -> Result<()> {
        let short = || refused("the frame header is too short");
        let [bits, h1, h0, w1, w0, layers] = *payload.first_chunk().ok_or_else(short)?;
        self.width = u16::from_be_bytes([w1, w0]);
        self.height = u16::from_be_bytes([h1, h0]);
        if bits != 8 {
            return Err(Error::unsupported(FORMAT, format!("{bits}-bit samples")));
        }
        if !matches!(layers, 1 | 3 | 4) {
            let what = format!("{layers} components");
            return Err(Error::unsupported(FORMAT, what));
        }
        self.layers = layers;
        let mut profile = std::mem::take(&mut self.profile);
        profile.sort_unstable();
        if profile.first().is_some_and(|first| first.len() < 14) {
            return Err(refused("a colour profile is cut short"));
        }
        match payload.len() % 3 {
            0 => Ok(()),
            _ => Err(short()),
        }
    }

    fn application(&mut self, code: u8, payload: &'a [u8]) -> Result<()> {
        match code {
            0xe0 if payload.starts_with(b"JFIF") && payload.len() < 7 => {
                Err(refused("the JFIF segment is too short"))
            }
            0xe0 if payload.starts_with(b"JFIF") => {
                self.resolution |= payload.len() >= 12 && matches!(payload[7], 1 | 2);
                Ok(())
            }
            0xe1 if payload.starts_with(b"Exif\0\0") => {
                self.exif.push(&payload[6..]);
                Ok(())
            }
            0xe1 if payload.starts_with(XMP) => {
                self.xmp = Some(&payload[XMP.len()..]);
                Ok(())
            }
            0xe2 if payload.starts_with(b"ICC_PROFILE\0") => {
                self.profile.push(payload);
                Ok(())
            }
            0xed if payload.starts_with(b"Photoshop 3.0\0") => check_photoshop(payload),
            0xee if payload.starts_with(b"Adobe") && payload.len() < 7 => {
                Err(refused("the Adobe segment is too short"))
            }
            _ => Ok(()),
        }
    }
}

/// Walks the blocks of a Photoshop segment; only a name that is not there stops the plugin.
fn check_photoshop(payload: &[u8]) -> Result<()> {
    let mut at = 14;
    while payload.get(at..at + 4) == Some(b"8BIM") {
        let Some(code) = u16_be(payload, at + 4) else {
            break;
        };
        let Some(&name) = payload.get(at + 6) else {
            return Err(refused("a Photoshop block ends before its name"));
        };
        at += 7 + usize::from(name);
        at += at & 1;
        let Some(size) = u32_be(payload, at) else {
            break;
        };
        let (start, size) = (at + 4, size as usize);
        let left = payload.len().saturating_sub(start).min(size);
        if code == RESOLUTION && left < RESOLUTION_LEN {
            break;
        }
        at = start.saturating_add(size);
        at = at.saturating_add(at & 1);
        if at >= payload.len() {
            break;
        }
    }
    Ok(())
}
