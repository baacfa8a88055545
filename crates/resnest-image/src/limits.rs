//! What a file may cost before anything is decoded.

use crate::{Error, Format, Result};

/// Pillow's limit: twice `Image.MAX_IMAGE_PIXELS`, from which on it refuses a file.
pub const PILLOW_MAX_PIXELS: u64 = 178_956_970;

/// Bounds on one encoded image, checked on its header before any pixel is decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Encoded bytes. Default 256 MiB.
    pub max_bytes: u64,
    /// Width times height. Default [`PILLOW_MAX_PIXELS`].
    pub max_pixels: u64,
    /// Estimated working memory in bytes: pixels, component planes, and the coefficients that a
    /// progressive JPEG must keep. Default 2 GiB.
    pub max_memory: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_bytes: 256 << 20,
            max_pixels: PILLOW_MAX_PIXELS,
            max_memory: 2 << 30,
        }
    }
}

impl Limits {
    pub(crate) fn check_bytes(&self, bytes: &[u8]) -> Result<()> {
        let (len, limit) = (bytes.len() as u64, self.max_bytes);
        if len > limit {
            return Err(Error::TooManyBytes { bytes: len, limit });
        }
        Ok(())
    }

    /// Checks a header's size; sides come as u64 so that no format can wrap them.
    pub(crate) fn check_size(&self, format: Format, width: u64, height: u64) -> Result<()> {
        if width == 0 || height == 0 {
            return Err(Error::corrupt(
                format,
                format!("the header says {width}x{height} pixels"),
            ));
        }
        let limit = self.max_pixels;
        match width.checked_mul(height) {
            Some(pixels) if pixels <= limit && width.max(height) <= i32::MAX as u64 => Ok(()),
            _ => Err(Error::TooManyPixels {
                format,
                width,
                height,
                limit,
            }),
        }
    }

    pub(crate) fn check_memory(&self, format: Format, needed: u64) -> Result<()> {
        let limit = self.max_memory;
        if needed > limit {
            return Err(Error::TooMuchMemory {
                format,
                needed,
                limit,
            });
        }
        Ok(())
    }
}
