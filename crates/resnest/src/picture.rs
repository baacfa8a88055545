//! What a decoded picture may come in.

use std::borrow::Cow;

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
