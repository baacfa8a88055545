//! All coefficients of a frame whose components come in several scans (`jdcoefct.c`).

use super::frame::{Frame, McuBlock, Scan};
use super::sequential::Block;
use crate::Result;
use crate::memory::filled;

/// The blocks of one component, row by row, padded to whole MCUs.
#[derive(Debug)]
struct Plane {
    blocks: Vec<Block>,
    wide: usize,
    /// Sampling factors.
    h: usize,
    v: usize,
}

/// The coefficients of each component.
#[derive(Debug)]
pub(super) struct Coefficients {
    planes: Vec<Plane>,
}

impl Coefficients {
    pub fn new(frame: &Frame) -> Result<Self> {
        let mut planes = Vec::with_capacity(frame.components.len());
        for component in &frame.components {
            let wide = component.padded_wide();
            planes.push(Plane {
                blocks: filled(wide * component.padded_high(), [0; 64])?,
                wide,
                h: component.h,
                v: component.v,
            });
        }
        Ok(Self { planes })
    }

    pub fn block_mut(&mut self, component: usize, at: usize) -> &mut Block {
        &mut self.planes[component].blocks[at]
    }

    /// A row of blocks of a component.
    pub fn row(&self, component: usize, row: usize) -> &[Block] {
        let plane = &self.planes[component];
        &plane.blocks[row * plane.wide..][..plane.wide]
    }

    /// Where an MCU's blocks stand.
    pub fn places(&self, scan: &Scan, mcu: (usize, usize), places: &mut [usize]) {
        let interleaved = scan.header.components.len() > 1;
        for (place, block) in places.iter_mut().zip(&scan.blocks) {
            *place = self.place(block, mcu, interleaved);
        }
    }

    fn place(&self, block: &McuBlock, (x, y): (usize, usize), interleaved: bool) -> usize {
        let plane = &self.planes[block.component];
        let (h, v) = if interleaved {
            (plane.h, plane.v)
        } else {
            (1, 1)
        };
        (y * v + block.y) * plane.wide + x * h + block.x
    }
}
