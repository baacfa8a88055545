//! All coefficients of a frame whose components come in several scans (`jdcoefct.c`).

use super::frame::{Frame, McuBlock};
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

    /// A block of an MCU, which is one block where the scan is not interleaved.
    #[inline(always)]
    pub fn block_mut(
        &mut self,
        block: &McuBlock,
        (x, y): (usize, usize),
        interleaved: bool,
    ) -> &mut Block {
        let plane = &mut self.planes[block.component];
        let at = match interleaved {
            true => (y * plane.v + block.y) * plane.wide + x * plane.h + block.x,
            false => y * plane.wide + x,
        };
        &mut plane.blocks[at]
    }

    /// A row of blocks of a component.
    pub fn row(&self, component: usize, row: usize) -> &[Block] {
        let plane = &self.planes[component];
        &plane.blocks[row * plane.wide..][..plane.wide]
    }
}
