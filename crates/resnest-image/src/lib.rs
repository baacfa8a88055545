//! Encoded images to the pixels and tensors that timm and Pillow would make of them, byte for byte.
//!
//! [`decode`] is Pillow's `Image.open(..).convert("RGB")`; [`Transform`] is timm's evaluation transform:
//! resize, crop or pad, normalise. [`Transform::apply`] goes the whole way from encoded bytes to a
//! (C, H, W) tensor, [`apply_batch`] does it for several images on several threads. The reference is
//! Pillow 13.0 (libjpeg-turbo 3.2, libwebp 1.6) with timm 1.0.31; `tests/pillow.rs` holds the recorded
//! bytes. Nothing here knows of models or tensors of a framework.
//!
//! # Where to look
//! - `decode/`: one file or folder a format, each with Pillow's rules for it; `raster.rs` has the colour
//!   conversions, `jpeg/mod.rs` says how libjpeg's behaviour is divided; `webp/ffi.rs` calls libwebp, the C library.
//! - `resize/`: weights (`filter.rs`), the passes as plain loops (`portable.rs`) and with AVX2 (`avx2.rs`), and the
//!   plan that limits them to the crop's window (`mod.rs`). This `avx2.rs`, the JPEG kernels' and `webp/ffi.rs` are
//!   the crate's only `unsafe`.
//! - `interchange.rs`: pictures of the crate `image`, whose encoders are used elsewhere, but none of its decoders.
//! - `geometry.rs`: sizes and offsets of the crop modes; `transform.rs` and `normalise.rs` use them.
//!
//! # What is refused by name
//! These are [`Error::Unsupported`] rather than pixels that Pillow would not give:
//! - JPEG: more than 500 scans, or scans that add up to more work than real files ask for; lossless frames
//!   that lack a component. What Pillow refuses is refused too: 12-bit samples, hierarchical frames, two
//!   components, a file that ends before its last row. Damaged data that libjpeg decodes with a warning are
//!   read, as Pillow reads them.
//! - PNG: indexed without a palette; a text named `bbox`, `interlace` or `transparency`, which Pillow takes
//!   for a field of its own; a palette between two headers of different kinds; compressed texts and profiles
//!   of over 256 MiB.
//! - TIFF: compressed by CCITT, JPEG, LZMA, Zstandard, WebP or old-style LZW; predictors but 1 and 2; floating
//!   point, signed 16-bit, 32-bit and 12-bit samples; YCbCr and Lab; premultiplied 16-bit or grey; FillOrder
//!   2; more than 6 samples. Uncompressed planes that Pillow misreads (16 bits, inverted or packed grey, more
//!   than four); compressed planes of four samples of which the last is not said to be a straight alpha;
//!   uncompressed files in one piece that does not cover the picture or that a quarter turn (Orientation 5 to 8)
//!   concerns, which Pillow reads otherwise from a file than from a stream, unless it has to unpack them. Tags
//!   that contradict each other: strips and tiles, other numbers of strips than of lengths, strips that cover the
//!   picture more than eight times, an XMP packet that is not bytes. Tags whose numbers are no integers (but
//!   fractions, floating point, bytes); rows a strip or sides of a tile of 0 ([`Error::Corrupt`]).
//! - BMP: embedded JPEG or PNG; bit masks that Pillow refuses; uncompressed 1- and 4-bit files whose palette is
//!   a plain grey ramp of another number of colours, and 8-bit ones with two colours black and white, which
//!   Pillow misreads.
//! - WebP, GIF, PNM and QOI: nothing, but of QOI a picture of one or two pixels across that is a brush of GIMP's too
//!   ([`Error::UnknownFormat`]).
//! - TGA: alpha in a file of fewer than 26 bytes, which Pillow reads from memory but not from a file; what it refuses, such
//!   as true colour with a colour map. A file whose beginning is also that of a format that Pillow tries before (a Windows
//!   cursor, PCX, FLI, IPTC, lines of text) is [`Error::UnknownFormat`]: TGA has no magic number.
//! - ICO: what is refused of the BMP or PNG in it.
//! - Every other format Pillow reads (AVIF, JPEG 2000, DDS, PCX, ...) is [`Error::UnknownFormat`].
//!
//! # What is read though Pillow refuses it
//! Of JPEG, PNG, WebP, GIF, BMP, PNM, TGA, QOI and ICO nothing was found. Of compressed TIFF, files with a damaged tag that says
//! nothing about the pixels, where libtiff gives up on the whole directory.
//!
//! # Memory
//! [`Limits`] are held against the header before anything is decoded: bytes, pixels (as u64), and an
//! estimate of the working memory, in which a JPEG of several scans counts its coefficients, and a lossless WebP
//! the most prefix codes that a file of its length can bring. Buffers are reserved fallibly: what the system
//! cannot give is [`Error::OutOfMemory`] of that image.
#![deny(unsafe_code)]
#![warn(missing_docs)]

mod batch;
mod contain;
mod decode;
mod error;
mod geometry;
mod interchange;
mod limits;
mod memory;
mod normalise;
mod options;
mod pixels;
mod resize;
mod transform;

pub use batch::{apply_batch, decode_batch};
pub use contain::contain;
pub use decode::{DecodeOptions, Format, Header, decode, decode_as, decode_with, probe};
pub use error::{Error, Result};
pub use geometry::Window;
pub use limits::{Limits, PILLOW_MAX_PIXELS};
pub use options::{ColorMode, CropMode, Interpolation, PassOrder};
pub use pixels::Image;
pub use resize::Kernel;
pub use transform::Transform;
