//! The weights of a direct convolution.

use super::tasks::Cut;
use crate::arch::Isa;
use crate::conv::geometry::Geometry;
use crate::conv::origin::Origin;
use crate::conv::panel::{GroupShape, PanelShape, PanelWeights};
use crate::error::Error;
use crate::memory::buffer::Aligned;
use crate::shape::ConvSpec;
use crate::tuning::{COLD_WEIGHT_MACS, JOIN_TAPS_BELOW};

/// Weights packed for direct convolution.
pub(crate) struct Direct {
    pub(super) panels: PanelWeights,
    pub(super) taps: Taps,
}

/// How the micro-kernel sees the taps of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taps {
    Single,
    /// Those of a row of the kernel as one, for in NHWC they are neighbours; the image is copied
    /// into a frame of zeros first.
    Rows,
    /// All as one: each pixel's are copied into a row first (im2col).
    Gathered,
}

impl Taps {
    fn of(spec: &ConvSpec) -> Self {
        if spec.taps() == 1 || spec.group_in() >= JOIN_TAPS_BELOW {
            Taps::Single
        } else if spec.groups == 1 && spec.dilation == 1 {
            Taps::Rows
        } else {
            Taps::Gathered
        }
    }
}

impl Direct {
    /// # Errors
    /// Those of [`Origin::buffer`].
    pub fn pack(isa: Isa, spec: &ConvSpec, origin: &mut Origin) -> Result<Self, Error> {
        let (k, taps) = (spec.group_in(), spec.taps());
        let joined = Taps::of(spec);
        let mut shape = GroupShape {
            groups: spec.groups,
            k,
            taps,
            out: spec.group_out(),
        };
        (shape.k, shape.taps) = match joined {
            Taps::Single => (k, taps),
            Taps::Rows => (k * spec.kernel, spec.kernel),
            Taps::Gathered => (k * taps, 1),
        };
        // Value `i` of joined tap `tap`: channels of the first tap in it, of the second, ...
        let inside = taps / shape.taps;
        let place = |tap, i| i % k * taps + tap * inside + i / k;
        Ok(Direct {
            panels: PanelWeights::pack(isa, shape, origin, place)?,
            taps: joined,
        })
    }

    /// What is held, in the order of packing.
    pub fn buffers(&self) -> [&Aligned; 2] {
        self.panels.buffers()
    }

    /// Whether all of k is one block: every value is then written once, when its sum is whole, and can be added to
    /// what is there.
    pub fn has_one_block(&self) -> bool {
        self.panels.k <= self.panels.k_block
    }

    /// Whether it can cut its output into planes of so many channels: those of each of its panels.
    pub fn writes_planes(&self, width: usize) -> bool {
        let whole = |p: &PanelShape| p.cols == width;
        self.taps == Taps::Single && self.panels.list.iter().all(whole)
    }

    /// What its tasks depend on.
    pub(super) fn cut(&self, g: &Geometry) -> Cut {
        Cut {
            panels: self.panels.list.len(),
            k_block: self.panels.k_block,
            work: self.work(g),
        }
    }

    /// What an application costs, in multiply-adds.
    pub(super) fn work(&self, g: &Geometry) -> usize {
        g.macs() + COLD_WEIGHT_MACS * self.panels.values()
    }
}
