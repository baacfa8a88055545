//! The words a model's configuration uses for its preprocessing, spelled as timm spells them.

use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

macro_rules! words {
    ($type:ident, $option:literal, $allowed:literal, $($variant:ident => $word:literal),+ $(,)?) => {
        impl $type {
            /// Every value, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// timm's word for it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        impl FromStr for $type {
            type Err = Error;

            fn from_str(word: &str) -> Result<Self> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(Error::UnknownOption {
                        option: $option,
                        value: word.to_owned(),
                        allowed: $allowed,
                    }),
                }
            }
        }
    };
}

/// Resampling filter, Pillow's of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Interpolation {
    /// The nearest source pixel; no antialiasing.
    Nearest,
    /// Triangle, support 1. timm's default.
    #[default]
    Bilinear,
    /// Cubic with a = -0.5, support 2.
    Bicubic,
    /// Box, support 0.5.
    Box,
    /// Hamming-windowed sinc, support 1.
    Hamming,
    /// Lanczos, support 3.
    Lanczos,
}

words!(Interpolation, "interpolation", "nearest, bilinear, bicubic, box, hamming, lanczos",
    Nearest => "nearest", Bilinear => "bilinear", Bicubic => "bicubic",
    Box => "box", Hamming => "hamming", Lanczos => "lanczos");

/// How an image of any shape becomes the model's shape (`timm/data/transforms_factory.py`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CropMode {
    /// Scale the short edge, keep the aspect ratio, cut the centre out. timm's default.
    #[default]
    Center,
    /// Scale both edges, ignore the aspect ratio, cut the centre out.
    Squash,
    /// Scale the long edge, keep the aspect ratio, pad with the mean colour.
    Border,
}

words!(CropMode, "crop_mode", "center, squash, border",
    Center => "center", Squash => "squash", Border => "border");

/// Which axis is resampled first. Each pass rounds to u8, so the order shows in the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PassOrder {
    /// Pillow 13: vertical first when the height shrinks by more than twice what the width does.
    #[default]
    Pillow13,
    /// Pillow 12 and older: horizontal first, but for portraits taller than 100:1 that shrink in height.
    Pillow12,
}

words!(PassOrder, "pass_order", "pillow13, pillow12",
    Pillow13 => "pillow13", Pillow12 => "pillow12");

/// What an image is decoded to; Pillow's `convert("RGB")` or `convert("L")`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ColorMode {
    /// Three channels.
    #[default]
    Rgb,
    /// One channel, for models with `in_chans = 1`.
    Luma,
}

words!(ColorMode, "color_mode", "rgb, luma", Rgb => "rgb", Luma => "luma");

impl ColorMode {
    /// Channels of the decoded image: 3 or 1.
    pub const fn channels(self) -> u8 {
        match self {
            Self::Rgb => 3,
            Self::Luma => 1,
        }
    }
}
