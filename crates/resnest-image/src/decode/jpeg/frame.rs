//! Sizes of a frame, its components and its scans (`jdinput.c`, T.81 A.1 and A.2).

use super::FORMAT;
use super::markers::{Coding, ScanHeader, Stream};
use crate::{Error, Result};

/// Samples of a block's side.
pub(super) const SIDE: usize = 8;

/// libjpeg's `JPEG_MAX_DIMENSION`.
const MAX_SIDE: usize = 65500;

/// Blocks that an MCU may have (libjpeg's `D_MAX_BLOCKS_IN_MCU`).
pub(super) const MAX_MCU_BLOCKS: usize = 10;

/// One component of the frame.
#[derive(Debug, Clone)]
pub(super) struct Component {
    pub id: u8,
    /// Sampling factors.
    pub h: usize,
    pub v: usize,
    quant_index: usize,
    /// The quantisation table in force at the component's first scan; all 0 before.
    pub quant: Option<[u16; 64]>,
    /// Tables of the current scan.
    pub dc_table: usize,
    pub ac_table: usize,
    /// Blocks that hold samples of the picture.
    pub blocks_wide: usize,
    pub blocks_high: usize,
    /// Samples of the picture.
    pub width: usize,
    pub height: usize,
}

impl Component {
    pub fn new(id: u8, factors: u8, quant_index: u8) -> Self {
        Self {
            id,
            h: usize::from(factors >> 4),
            v: usize::from(factors & 15),
            quant_index: usize::from(quant_index),
            quant: None,
            dc_table: 0,
            ac_table: 0,
            blocks_wide: 0,
            blocks_high: 0,
            width: 0,
            height: 0,
        }
    }

    /// Finds the component's sizes from the frame's and its largest sampling factors.
    fn measure(
        &mut self,
        (width, height): (usize, usize),
        (max_h, max_v): (usize, usize),
        side: usize,
    ) -> Result<()> {
        let (h, v) = (self.h, self.v);
        if !max_h.is_multiple_of(h) || !max_v.is_multiple_of(v) {
            let what = format!("a component sampled {h}x{v} beside {max_h}x{max_v}");
            return Err(Error::unsupported(FORMAT, what));
        }
        let (wide, high) = (width * h, height * v);
        self.width = wide.div_ceil(max_h);
        self.height = high.div_ceil(max_v);
        self.blocks_wide = wide.div_ceil(max_h * side);
        self.blocks_high = high.div_ceil(max_v * side);
        Ok(())
    }

    /// Blocks across, padded to whole MCUs.
    pub fn padded_wide(&self) -> usize {
        self.blocks_wide.next_multiple_of(self.h)
    }

    /// Blocks down, padded to whole MCUs.
    pub fn padded_high(&self) -> usize {
        self.blocks_high.next_multiple_of(self.v)
    }
}

/// The frame header, with the sizes that follow from it once [`Frame::set_up`] has run.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub coding: Coding,
    precision: u8,
    pub width: usize,
    pub height: usize,
    pub components: Vec<Component>,
    /// The largest sampling factors.
    pub max_h: usize,
    pub max_v: usize,
    /// Samples of a block's side: 1 where the frame is lossless.
    pub side: usize,
    /// MCUs of an interleaved scan.
    pub mcus_wide: usize,
    pub mcus_high: usize,
}

impl Frame {
    pub fn new(
        coding: Coding,
        precision: u8,
        (width, height): (u16, u16),
        components: Vec<Component>,
    ) -> Self {
        Self {
            coding,
            precision,
            width: width.into(),
            height: height.into(),
            components,
            max_h: 1,
            max_v: 1,
            side: if coding.lossless { 1 } else { SIDE },
            mcus_wide: 0,
            mcus_high: 0,
        }
    }

    /// Checks the header as libjpeg does at the first scan, and finds all sizes.
    pub fn set_up(&mut self) -> Result<()> {
        if self.width.max(self.height) > MAX_SIDE {
            let what = format!("{}x{} pixels", self.width, self.height);
            return Err(Error::unsupported(FORMAT, what));
        }
        if self.precision != 8 {
            let what = format!("{}-bit samples", self.precision);
            return Err(Error::unsupported(FORMAT, what));
        }
        for component in &self.components {
            let factors = [component.h, component.v];
            if factors.iter().any(|factor| !(1..=4).contains(factor)) {
                let what = format!("sampling factors {factors:?}, of 1 to 4");
                return Err(Error::corrupt(FORMAT, what));
            }
            self.max_h = self.max_h.max(component.h);
            self.max_v = self.max_v.max(component.v);
        }
        self.mcus_wide = self.width.div_ceil(self.side * self.max_h);
        self.mcus_high = self.height.div_ceil(self.side * self.max_v);
        let (size, most) = ((self.width, self.height), (self.max_h, self.max_v));
        for component in &mut self.components {
            component.measure(size, most, self.side)?;
        }
        Ok(())
    }

    /// Blocks of all components, padded to whole MCUs.
    pub fn padded_blocks(&self) -> usize {
        let blocks = |c: &Component| c.padded_wide() * c.padded_high();
        self.components.iter().map(blocks).sum()
    }
}

/// Where one block of an MCU belongs.
#[derive(Debug, Clone, Copy)]
pub(super) struct McuBlock {
    /// Which of the scan's components.
    pub slot: usize,
    /// Which of the frame's components.
    pub component: usize,
    /// Position within the MCU.
    pub x: usize,
    pub y: usize,
}

/// One scan: its header and its MCUs.
#[derive(Debug, Clone)]
pub(super) struct Scan {
    pub header: ScanHeader,
    pub blocks: Vec<McuBlock>,
    pub mcus_wide: usize,
    pub mcus_high: usize,
    /// MCU rows to one row of interleaved MCUs.
    pub rows_to_mcu: usize,
}

impl Scan {
    /// Finds the scan's MCUs, and keeps the quantisation tables that its components now get.
    pub fn begin(stream: &mut Stream<'_>, header: ScanHeader) -> Result<Self> {
        let Some(frame) = &mut stream.frame else {
            return Err(Error::corrupt(FORMAT, "a scan without a frame header"));
        };
        for &index in &header.components {
            let component = &mut frame.components[index];
            if component.quant.is_none() && !frame.coding.lossless {
                let table = stream.quant.get(component.quant_index).copied().flatten();
                let Some(table) = table else {
                    let what = format!("quantisation table {} is missing", component.quant_index);
                    return Err(Error::corrupt(FORMAT, what));
                };
                component.quant = Some(table);
            }
        }
        let scan = match header.components[..] {
            [index] => Self::of_one(frame, index, header),
            _ => Self::interleaved(frame, header),
        };
        if scan.blocks.len() > MAX_MCU_BLOCKS {
            let what = format!("{} blocks in an MCU, of 10", scan.blocks.len());
            return Err(Error::corrupt(FORMAT, what));
        }
        Ok(scan)
    }

    fn of_one(frame: &Frame, index: usize, header: ScanHeader) -> Self {
        let component = &frame.components[index];
        Self {
            header,
            blocks: vec![McuBlock {
                slot: 0,
                component: index,
                x: 0,
                y: 0,
            }],
            mcus_wide: component.blocks_wide,
            mcus_high: component.blocks_high,
            rows_to_mcu: component.v,
        }
    }

    fn interleaved(frame: &Frame, header: ScanHeader) -> Self {
        let mut blocks = Vec::with_capacity(MAX_MCU_BLOCKS);
        for (slot, &index) in header.components.iter().enumerate() {
            let Component { h, v, .. } = frame.components[index];
            for (y, x) in (0..v).flat_map(|y| (0..h).map(move |x| (y, x))) {
                blocks.push(McuBlock {
                    slot,
                    component: index,
                    x,
                    y,
                });
            }
        }
        Self {
            header,
            blocks,
            mcus_wide: frame.mcus_wide,
            mcus_high: frame.mcus_high,
            rows_to_mcu: 1,
        }
    }

    pub fn is_interleaved(&self) -> bool {
        self.header.components.len() > 1
    }

    /// Blocks across of each of the scan's components in an MCU.
    pub fn mcu_samples(&self) -> [usize; 4] {
        let mut wide = [0; 4];
        for block in &self.blocks {
            wide[block.slot & 3] = block.x + 1;
        }
        wide
    }

    /// Blocks of a component in an MCU, across and down.
    pub fn share(&self, component: &Component) -> (usize, usize) {
        match self.is_interleaved() {
            true => (component.h, component.v),
            false => (1, 1),
        }
    }
}
