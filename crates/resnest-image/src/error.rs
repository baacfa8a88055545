//! The crate's one error type.

use crate::Format;

/// What can go wrong between encoded bytes and a normalised tensor.
///
/// Every variant names the format, the option or the figure that was at fault, and where there is
/// one, the way out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There are no bytes at all.
    #[error("the image file is empty (0 bytes)")]
    Empty,

    /// The first bytes belong to no format this crate reads.
    #[error(
        "unknown image format (the file starts with {magic}); JPEG, PNG, WebP, GIF, BMP, TIFF, PNM, TGA, QOI and ICO are read"
    )]
    UnknownFormat {
        /// The first bytes in hexadecimal.
        magic: String,
    },

    /// The data ends before the image does.
    #[error("truncated {format} image: {detail}")]
    Truncated {
        /// The file's format.
        format: Format,
        /// What was missing.
        detail: String,
    },

    /// The data contradicts its own format.
    #[error("corrupt {format} image: {detail}")]
    Corrupt {
        /// The file's format.
        format: Format,
        /// What was found.
        detail: String,
    },

    /// A valid kind of file that is not decoded here, because equality with Pillow is not established.
    #[error(
        "unsupported {format} image: {detail}; convert it first, for example to an 8-bit RGB PNG"
    )]
    Unsupported {
        /// The file's format.
        format: Format,
        /// Which kind it is.
        detail: String,
    },

    /// More encoded bytes than [`Limits::max_bytes`](crate::Limits::max_bytes).
    #[error("the image file has {bytes} bytes, over the limit of {limit} (Limits::max_bytes)")]
    TooManyBytes {
        /// Length of the file.
        bytes: u64,
        /// The limit in force.
        limit: u64,
    },

    /// More pixels than [`Limits::max_pixels`](crate::Limits::max_pixels).
    #[error(
        "the {format} image is {width}x{height}, over the limit of {limit} pixels (Limits::max_pixels)"
    )]
    TooManyPixels {
        /// The file's format.
        format: Format,
        /// Width in pixels, from the header.
        width: u64,
        /// Height in pixels, from the header.
        height: u64,
        /// The limit in force.
        limit: u64,
    },

    /// Decoding would need more memory than [`Limits::max_memory`](crate::Limits::max_memory).
    #[error(
        "decoding the {format} image would take about {needed} bytes, over the limit of {limit} (Limits::max_memory)"
    )]
    TooMuchMemory {
        /// The file's format.
        format: Format,
        /// Estimate of the working memory in bytes.
        needed: u64,
        /// The limit in force.
        limit: u64,
    },

    /// The system has no memory left for a buffer.
    #[error(
        "the system has no {bytes} bytes left for the image: decode fewer at once, or smaller ones"
    )]
    OutOfMemory {
        /// Bytes that were asked for.
        bytes: u64,
    },

    /// A decoder met a contradiction that it has no error for; its panic was contained.
    #[error(
        "the {format} decoder failed on this image ({detail}): convert it first, and please report it"
    )]
    Panicked {
        /// The file's format.
        format: Format,
        /// What the decoder said.
        detail: String,
    },

    /// Pixels whose count is not width · height · channels, or channels other than 1 and 3.
    #[error(
        "{len} bytes of pixels do not make a {width}x{height} image of {channels} channels (1 or 3)"
    )]
    PixelCount {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Channels claimed.
        channels: u8,
        /// Bytes given.
        len: usize,
    },

    /// A picture so long and narrow that nothing is left of it, or too much, when a transform resizes it.
    #[error(
        "a {width}x{height} image would become {resized_width}x{resized_height} before the crop"
    )]
    ImageShape {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Width that the transform asks for.
        resized_width: u64,
        /// Height that the transform asks for.
        resized_height: u64,
    },

    /// A word that is none of an option's values.
    #[error("{option} cannot be \"{value}\"; allowed: {allowed}")]
    UnknownOption {
        /// Name of the option, as timm spells it.
        option: &'static str,
        /// What was given.
        value: String,
        /// What would be accepted.
        allowed: &'static str,
    },

    /// A transform that describes no possible image.
    #[error("transform option {option}: {detail}")]
    BadTransform {
        /// Name of the field.
        option: &'static str,
        /// Why it cannot be used.
        detail: String,
    },

    /// The output slice does not fit the transform.
    #[error("the output slice holds {actual} values, the transform makes {expected}")]
    OutputLength {
        /// Values the transform makes: channels · height · width.
        expected: usize,
        /// Values the slice holds.
        actual: usize,
    },
}

impl Error {
    /// Whether the image is at fault: its bytes, its pixels, or what they would cost by the [`Limits`](crate::Limits).
    ///
    /// Another image would pass where this one fails; whoever answers requests refuses this one alone. Otherwise the
    /// caller's options are at fault ([`Error::UnknownOption`], [`Error::BadTransform`], [`Error::OutputLength`]), or the
    /// system has no memory left ([`Error::OutOfMemory`]).
    pub fn is_bad_image(&self) -> bool {
        match self {
            Self::Empty
            | Self::UnknownFormat { .. }
            | Self::Truncated { .. }
            | Self::Corrupt { .. }
            | Self::Unsupported { .. }
            | Self::TooManyBytes { .. }
            | Self::TooManyPixels { .. }
            | Self::TooMuchMemory { .. }
            | Self::Panicked { .. }
            | Self::PixelCount { .. }
            | Self::ImageShape { .. } => true,
            Self::OutOfMemory { .. }
            | Self::UnknownOption { .. }
            | Self::BadTransform { .. }
            | Self::OutputLength { .. } => false,
        }
    }

    pub(crate) fn truncated(format: Format, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self::Truncated { format, detail }
    }

    pub(crate) fn corrupt(format: Format, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self::Corrupt { format, detail }
    }

    pub(crate) fn unsupported(format: Format, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self::Unsupported { format, detail }
    }
}

/// The crate's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;
