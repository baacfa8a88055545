//! The one pixel container that passes between the steps.

use crate::{ColorMode, Error, Result, decode};

/// Decoded pixels: u8, rows top to bottom, channels interleaved (H, W, C).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// 3 (red, green, blue) or 1 (luma).
    pub channels: u8,
    /// `height * width * channels` bytes.
    pub data: Vec<u8>,
}

impl Image {
    /// Wraps pixels that are already decoded.
    ///
    /// # Errors
    /// [`Error::PixelCount`] when `data` is not `height * width * channels` long, a side is 0, or
    /// `channels` is neither 1 nor 3.
    pub fn new(width: u32, height: u32, channels: u8, data: Vec<u8>) -> Result<Self> {
        let image = Self {
            width,
            height,
            channels,
            data,
        };
        image.check()?;
        Ok(image)
    }

    /// Whether the pixels' count fits their size. The fields are public, so every consumer checks them again before
    /// indexing.
    ///
    /// # Errors
    /// As [`Image::new`].
    pub fn check(&self) -> Result<()> {
        let Self {
            width,
            height,
            channels,
            ref data,
        } = *self;
        let expected = u64::from(width) * u64::from(height) * u64::from(channels);
        if matches!(channels, 1 | 3) && expected > 0 && expected == data.len() as u64 {
            return Ok(());
        }
        let len = data.len();
        Err(Error::PixelCount {
            width,
            height,
            channels,
            len,
        })
    }

    /// The same picture in RGB or luma: Pillow's `convert("RGB")` or `convert("L")`.
    ///
    /// # Errors
    /// As [`Image::new`], and [`Error::OutOfMemory`].
    pub fn into_mode(self, mode: ColorMode) -> Result<Self> {
        self.check()?;
        match self.channels == mode.channels() {
            true => Ok(self),
            false => decode::convert(self, mode),
        }
    }
}
