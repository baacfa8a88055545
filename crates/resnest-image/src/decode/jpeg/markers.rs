//! The marker segments as libjpeg reads them (`jdmarker.c`, T.81 annex B): tables, the frame, scans.

use super::FORMAT;
use super::frame::{Component, Frame};
use super::source::Source;
use super::zigzag::NATURAL;
use crate::{Error, Result};

/// The kinds of frame that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Coding {
    pub progressive: bool,
    pub lossless: bool,
    pub arithmetic: bool,
}

/// A Huffman table as the file gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HuffmanSpec {
    /// Codes of each length 1 to 16; item 0 is unused.
    pub counts: [u8; 17],
    pub values: [u8; 256],
}

/// How arithmetic coding is conditioned (T.81 F.1.4.4).
#[derive(Debug, Clone)]
pub(super) struct Conditioning {
    pub dc_low: [u8; 16],
    pub dc_high: [u8; 16],
    pub ac_split: [u8; 16],
}

impl Default for Conditioning {
    fn default() -> Self {
        Self {
            dc_low: [0; 16],
            dc_high: [1; 16],
            ac_split: [5; 16],
        }
    }
}

/// A scan's header: its components by index into the frame, and what of their coefficients it carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ScanHeader {
    pub components: Vec<usize>,
    pub spectral_start: u8,
    pub spectral_end: u8,
    pub approx_high: u8,
    pub approx_low: u8,
}

/// What the next stop of the markers is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    Scan(ScanHeader),
    End,
}

/// A file being read: where, and what its markers have set.
#[derive(Debug, Clone)]
pub(super) struct Stream<'a> {
    pub source: Source<'a>,
    /// A marker that was met in entropy-coded data and not yet acted on; 0 is none.
    pub unread: u8,
    saw_start: bool,
    pub frame: Option<Frame>,
    pub quant: [Option<[u16; 64]>; 4],
    pub dc_huffman: [Option<HuffmanSpec>; 4],
    pub ac_huffman: [Option<HuffmanSpec>; 4],
    pub conditioning: Conditioning,
    /// MCUs between restart markers; 0 is none.
    pub restart_interval: u16,
    next_restart: u8,
    pub saw_jfif: bool,
    /// The transform that an Adobe marker names.
    pub adobe: Option<u8>,
    /// Scans begun.
    pub scans: usize,
}

fn bad_length(segment: &str) -> Error {
    Error::corrupt(FORMAT, format!("the {segment} segment has a wrong length"))
}

impl<'a> Stream<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self {
            source: Source::new(data),
            unread: 0,
            saw_start: false,
            frame: None,
            quant: [None; 4],
            dc_huffman: [const { None }; 4],
            ac_huffman: [const { None }; 4],
            conditioning: Conditioning::default(),
            restart_interval: 0,
            next_restart: 0,
            saw_jfif: false,
            adobe: None,
            scans: 0,
        }
    }

    /// Reads up to the first scan. A stream of tables alone may precede the picture's; its Huffman and
    /// quantisation tables stay.
    pub fn read_to_first_scan(&mut self) -> Result<ScanHeader> {
        loop {
            match self.read_markers()? {
                Stop::Scan(scan) => return Ok(scan),
                Stop::End if self.frame.is_some() => {
                    return Err(Error::corrupt(FORMAT, "the picture has no scan"));
                }
                Stop::End => self.saw_start = false,
            }
        }
    }

    /// Reads segments until a scan or the end.
    pub fn read_markers(&mut self) -> Result<Stop> {
        loop {
            if self.unread == 0 {
                self.unread = if self.saw_start {
                    self.next_marker()?
                } else {
                    self.first_marker()?
                };
            }
            let code = self.unread;
            match code {
                0xd8 => self.start_of_image()?,
                0xc0..=0xc3 | 0xc9..=0xcb => self.start_of_frame(code)?,
                0xc4 => self.define_huffman()?,
                0xcc => self.define_conditioning()?,
                0xda => {
                    let scan = self.start_of_scan()?;
                    self.unread = 0;
                    return Ok(Stop::Scan(scan));
                }
                0xd9 => {
                    self.unread = 0;
                    return Ok(Stop::End);
                }
                0xdb => self.define_quant()?,
                0xdd => self.define_restart()?,
                0xe0 | 0xee => self.application(code)?,
                0xdc | 0xe1..=0xef | 0xfe => {
                    let len = self.source.word()?;
                    self.source.skip(usize::from(len.saturating_sub(2)))?;
                }
                0x01 | 0xd0..=0xd7 => {}
                0xc5..=0xc8 | 0xcd..=0xcf => {
                    let kind = format!("frame type SOF{}", code - 0xc0);
                    return Err(Error::unsupported(FORMAT, kind));
                }
                _ => {
                    let what = format!("unknown marker {code:#04x}");
                    return Err(Error::corrupt(FORMAT, what));
                }
            }
            self.unread = 0;
        }
    }

    fn first_marker(&mut self) -> Result<u8> {
        match (self.source.byte()?, self.source.byte()?) {
            (0xff, 0xd8) => Ok(0xd8),
            _ => Err(Error::corrupt(
                FORMAT,
                "no start of image where one must be",
            )),
        }
    }

    /// The next marker's code, past whatever lies before it; never 0 or 0xff.
    fn next_marker(&mut self) -> Result<u8> {
        loop {
            while self.source.byte()? != 0xff {}
            let code = loop {
                match self.source.byte()? {
                    0xff => {}
                    code => break code,
                }
            };
            if code != 0 {
                return Ok(code);
            }
        }
    }

    /// Goes past the restart marker that is due, or finds out how to go on without it
    /// (`jpeg_resync_to_restart`).
    pub fn read_restart(&mut self) -> Result<()> {
        if self.unread == 0 {
            self.unread = self.next_marker()?;
        }
        let due = self.next_restart;
        loop {
            let ahead = self.unread.wrapping_sub(0xd0).wrapping_sub(due) & 7;
            match self.unread {
                // No marker at all: what follows is another's data.
                ..0xc0 => self.unread = self.next_marker()?,
                0xd0..=0xd7 => match ahead {
                    // The due one was lost; its interval stays empty.
                    1 | 2 => break,
                    // One of the past.
                    6 | 7 => self.unread = self.next_marker()?,
                    // The due one, or one too far away to mean anything.
                    _ => {
                        self.unread = 0;
                        break;
                    }
                },
                _ => break,
            }
        }
        self.next_restart = (due + 1) & 7;
        Ok(())
    }

    fn start_of_image(&mut self) -> Result<()> {
        if self.saw_start {
            return Err(Error::corrupt(FORMAT, "two starts of image"));
        }
        self.saw_start = true;
        self.conditioning = Conditioning::default();
        self.restart_interval = 0;
        self.saw_jfif = false;
        self.adobe = None;
        Ok(())
    }

    fn start_of_frame(&mut self, code: u8) -> Result<()> {
        if self.frame.is_some() {
            return Err(Error::corrupt(FORMAT, "two frame headers"));
        }
        let coding = Coding {
            progressive: matches!(code, 0xc2 | 0xca),
            lossless: matches!(code, 0xc3 | 0xcb),
            arithmetic: code >= 0xc9,
        };
        let source = &mut self.source;
        let len = source.word()?;
        let precision = source.byte()?;
        let (height, width) = (source.word()?, source.word()?);
        let count = source.byte()?;
        if height == 0 || width == 0 || count == 0 {
            return Err(Error::corrupt(FORMAT, "the frame header says no pixels"));
        }
        if len != 8 + 3 * u16::from(count) {
            return Err(bad_length("frame"));
        }
        let mut components = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            let (id, factors, table) = (source.byte()?, source.byte()?, source.byte()?);
            components.push(Component::new(id, factors, table));
        }
        self.frame = Some(Frame::new(coding, precision, (width, height), components));
        Ok(())
    }

    fn start_of_scan(&mut self) -> Result<ScanHeader> {
        let source = &mut self.source;
        let Some(frame) = &mut self.frame else {
            return Err(Error::corrupt(FORMAT, "a scan without a frame header"));
        };
        let len = source.word()?;
        let count = usize::from(source.byte()?);
        if usize::from(len) != 2 * count + 6 || !(1..=4).contains(&count) {
            return Err(bad_length("scan"));
        }
        let mut components = Vec::with_capacity(count);
        for slot in 0..count {
            let (id, tables) = (source.byte()?, source.byte()?);
            // Only a component whose own slot is still free is looked at; of two with one id that is
            // the next.
            let mut open = frame.components.iter_mut().enumerate().take(4).skip(slot);
            let found = open.find(|(_, component)| component.id == id);
            let Some((index, component)) = found.filter(|(index, _)| !components.contains(index))
            else {
                let what = format!("the scan names component {id}, which is not there to take");
                return Err(Error::corrupt(FORMAT, what));
            };
            component.dc_table = usize::from(tables >> 4);
            component.ac_table = usize::from(tables & 15);
            components.push(index);
        }
        let (spectral_start, spectral_end, approx) =
            (source.byte()?, source.byte()?, source.byte()?);
        self.next_restart = 0;
        self.scans += 1;
        Ok(ScanHeader {
            components,
            spectral_start,
            spectral_end,
            approx_high: approx >> 4,
            approx_low: approx & 15,
        })
    }

    fn define_huffman(&mut self) -> Result<()> {
        let source = &mut self.source;
        let mut left = i32::from(source.word()?) - 2;
        while left > 16 {
            let index = source.byte()?;
            let mut spec = HuffmanSpec {
                counts: [0; 17],
                values: [0; 256],
            };
            for count in &mut spec.counts[1..] {
                *count = source.byte()?;
            }
            left -= 17;
            let count: usize = spec.counts.iter().map(|&count| usize::from(count)).sum();
            let values = spec.values.get_mut(..count);
            let Some(values) = values.filter(|values| values.len() as i32 <= left) else {
                return Err(Error::corrupt(FORMAT, "a Huffman table has too many codes"));
            };
            for value in values {
                *value = source.byte()?;
            }
            left -= count as i32;
            let tables = match index & 0x10 {
                0 => &mut self.dc_huffman,
                _ => &mut self.ac_huffman,
            };
            let Some(table) = tables.get_mut(usize::from(index & !0x10)) else {
                let what = format!("Huffman table {index:#04x}, and there are four of a kind");
                return Err(Error::corrupt(FORMAT, what));
            };
            *table = Some(spec);
        }
        if left != 0 {
            return Err(bad_length("Huffman table"));
        }
        Ok(())
    }

    fn define_conditioning(&mut self) -> Result<()> {
        let mut left = i32::from(self.source.word()?) - 2;
        while left > 0 {
            let (index, value) = (usize::from(self.source.byte()?), self.source.byte()?);
            left -= 2;
            let conditioning = &mut self.conditioning;
            match index {
                0..16 => {
                    let (low, high) = (value & 15, value >> 4);
                    if low > high {
                        return Err(Error::corrupt(FORMAT, "a wrong arithmetic conditioning"));
                    }
                    conditioning.dc_low[index] = low;
                    conditioning.dc_high[index] = high;
                }
                16..32 => conditioning.ac_split[index - 16] = value,
                _ => {
                    let what = format!("arithmetic conditioning of table {index}, of 32");
                    return Err(Error::corrupt(FORMAT, what));
                }
            }
        }
        if left != 0 {
            return Err(bad_length("arithmetic conditioning"));
        }
        Ok(())
    }

    fn define_quant(&mut self) -> Result<()> {
        let source = &mut self.source;
        let mut left = i32::from(source.word()?) - 2;
        while left > 0 {
            let index = source.byte()?;
            let wide = index >> 4 != 0;
            let Some(table) = self.quant.get_mut(usize::from(index & 15)) else {
                let what = format!("quantisation table {}, of four", index & 15);
                return Err(Error::corrupt(FORMAT, what));
            };
            let table = table.get_or_insert([0; 64]);
            for &at in &NATURAL[..64] {
                table[usize::from(at)] = match wide {
                    true => source.word()?,
                    false => source.byte()?.into(),
                };
            }
            left -= if wide { 129 } else { 65 };
        }
        if left != 0 {
            return Err(bad_length("quantisation table"));
        }
        Ok(())
    }

    fn define_restart(&mut self) -> Result<()> {
        if self.source.word()? != 4 {
            return Err(bad_length("restart interval"));
        }
        self.restart_interval = self.source.word()?;
        Ok(())
    }

    /// APP0 and APP14, which may say what the colours are.
    fn application(&mut self, code: u8) -> Result<()> {
        let len = usize::from(self.source.word()?.saturating_sub(2));
        let mut start = [0; 14];
        let known = len.min(start.len());
        for byte in &mut start[..known] {
            *byte = self.source.byte()?;
        }
        if code == 0xe0 && known == 14 && start.starts_with(b"JFIF\0") {
            self.saw_jfif = true;
        }
        if code == 0xee && known >= 12 && start.starts_with(b"Adobe") {
            self.adobe = Some(start[11]);
        }
        self.source.skip(len - known)
    }
}
