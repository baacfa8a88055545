//! Sizes and offsets of timm's three crop modes, in integers and f64 as Python computes them.

use crate::resize::Rect;
use crate::{CropMode, Error, Result, Transform};

/// The rectangle of an image that becomes a model's input, in the image's pixels: x to the right, y down, (0, 0) the
/// upper left corner of the first pixel. Where the input is padded the rectangle reaches beyond the image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Left edge.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// Extent to the right.
    pub width: f64,
    /// Extent downwards.
    pub height: f64,
}

impl Window {
    /// The same rectangle on the image resized by these factors, a thumbnail for example.
    pub fn scaled(self, across: f64, down: f64) -> Self {
        Self {
            x: self.x * across,
            y: self.y * down,
            width: self.width * across,
            height: self.height * down,
        }
    }
}

/// Where along one axis the crop lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Axis {
    /// First position taken from the resized image.
    pub start: u32,
    /// Positions taken.
    pub len: u32,
    /// Padding before them.
    pub pad: u32,
}

impl Axis {
    /// torchvision's `center_crop`, one axis: the offset rounds half to even, padding rounds down in front.
    fn centered(resized: u32, wanted: u32) -> Self {
        if wanted > resized {
            return Self {
                start: 0,
                len: resized,
                pad: (wanted - resized) / 2,
            };
        }
        let start = (f64::from(resized - wanted) / 2.0).round_ties_even() as u32;
        Self {
            start,
            len: wanted,
            pad: 0,
        }
    }
}

/// The resize and the crop of one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// (width, height) that the whole image would be resized to.
    pub resized: (u32, u32),
    pub x: Axis,
    pub y: Axis,
    size: (u32, u32),
}

impl Geometry {
    /// `transform` has been checked; `width` and `height` are the image's.
    pub fn new(transform: &Transform, width: u32, height: u32) -> Result<Self> {
        let scaled = |side: u32| (f64::from(side) / transform.crop_pct).floor();
        let (scale_height, scale_width) = (scaled(transform.size.0), scaled(transform.size.1));
        let (image_width, image_height) = (f64::from(width), f64::from(height));
        let ratios = (image_height / scale_height, image_width / scale_width);
        let keep = |ratio: f64| {
            (
                (image_width / ratio).round_ties_even(),
                (image_height / ratio).round_ties_even(),
            )
        };
        let (new_width, new_height) = match transform.crop_mode {
            CropMode::Squash => (scale_width, scale_height),
            CropMode::Border => keep(ratios.0.max(ratios.1)),
            CropMode::Center if scale_height != scale_width => keep(ratios.0.min(ratios.1)),
            CropMode::Center => short_edge(scale_height, image_width, image_height),
        };
        let side = |side: f64| (side >= 1.0 && side <= f64::from(i32::MAX)).then_some(side as u32);
        let (Some(resized_width), Some(resized_height)) = (side(new_width), side(new_height))
        else {
            // Of a scale that no image could have the transform is to blame.
            if side(scale_width).is_some() && side(scale_height).is_some() {
                return Err(Error::ImageShape {
                    width,
                    height,
                    resized_width: new_width as u64,
                    resized_height: new_height as u64,
                });
            }
            return Err(Error::BadTransform {
                option: "crop_pct",
                detail: format!(
                    "{} turns a {width}x{height} image into {new_width}x{new_height}",
                    transform.crop_pct
                ),
            });
        };
        Ok(Self {
            resized: (resized_width, resized_height),
            x: Axis::centered(resized_width, transform.size.1),
            y: Axis::centered(resized_height, transform.size.0),
            size: transform.size,
        })
    }

    /// The part of the resized image that is wanted.
    pub fn window(&self) -> Rect {
        Rect {
            x: self.x.start,
            y: self.y.start,
            width: self.x.len,
            height: self.y.len,
        }
    }

    /// Where the whole of the result, padding included, lies on a `width` x `height` image.
    pub fn on_source(&self, width: u32, height: u32) -> Window {
        let along = |axis: Axis, wanted: u32, resized: u32, source: u32| {
            let scale = f64::from(source) / f64::from(resized);
            let first = f64::from(axis.start) - f64::from(axis.pad);
            (first * scale, f64::from(wanted) * scale)
        };
        let (x, across) = along(self.x, self.size.1, self.resized.0, width);
        let (y, down) = along(self.y, self.size.0, self.resized.1, height);
        Window {
            x,
            y,
            width: across,
            height: down,
        }
    }

    pub fn is_padded(&self) -> bool {
        (self.y.len, self.x.len) != self.size
    }
}

/// torchvision's `Resize(int)`: the short edge to `edge`, the long one in proportion, cut to an integer.
fn short_edge(edge: f64, width: f64, height: f64) -> (f64, f64) {
    // edge * long stays below 2^53, so the quotient is Python's
    if width <= height {
        (edge, (edge * height / width).floor())
    } else {
        ((edge * width / height).floor(), edge)
    }
}
