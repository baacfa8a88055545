//! What a decoded picture may come in.

use std::borrow::Cow;

use image::{DynamicImage, GrayImage, RgbImage};
use resnest_image::Image;

/// A decoded picture: this crate's [`Image`], or one of the crate `image`.
pub trait Picture {
    /// Its pixels, borrowed where they lie as they are needed.
    fn to_image(&self) -> Cow<'_, Image>;
}

impl Picture for Image {
    fn to_image(&self) -> Cow<'_, Image> {
        Cow::Borrowed(self)
    }
}

/// As [`Image`] comes from it: what it has besides 8-bit colour is converted as Pillow's `convert("RGB")` does it.
impl Picture for DynamicImage {
    fn to_image(&self) -> Cow<'_, Image> {
        Cow::Owned(self.into())
    }
}

impl Picture for RgbImage {
    fn to_image(&self) -> Cow<'_, Image> {
        Cow::Owned(self.clone().into())
    }
}

impl Picture for GrayImage {
    fn to_image(&self) -> Cow<'_, Image> {
        Cow::Owned(self.clone().into())
    }
}
