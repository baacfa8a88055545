//! Encoded pictures against themselves and their limits.

use resnest_image::{ColorMode, Error, Format, Header, Image, Limits, decode, decode_as, probe};

/// Small enough that a mutated header cannot make a run slow.
pub fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_bytes = 1 << 20;
    limits.max_pixels = 1 << 18;
    limits.max_memory = 16 << 20;
    limits
}

macro_rules! targets {
    ($($name:ident: $format:ident),+) => {$(
        /// A picture of this format; bytes that begin otherwise are given its magic number.
        pub fn $name(data: &[u8]) {
            picture(data, Format::$format);
        }
    )+};
}

targets!(jpeg: Jpeg, png: Png, webp: WebP, gif: Gif, bmp: Bmp, tiff: Tiff, pnm: Pnm, tga: Tga, qoi: Qoi, ico: Ico);

/// The format's first bytes, so that no run is spent on bytes of no format.
fn with_magic(data: &[u8], format: Format) -> Vec<u8> {
    let mut bytes = data.to_vec();
    let magic: &[u8] = match format {
        Format::Jpeg => b"\xff\xd8\xff",
        Format::Png => b"\x89PNG\r\n\x1a\n",
        Format::Gif => b"GIF89a",
        Format::Bmp => b"BM",
        Format::Tiff => b"II*\0",
        Format::WebP => b"RIFF",
        Format::Pnm => b"P5 ",
        Format::Qoi => b"qoif",
        Format::Ico => b"\0\0\x01\0",
        // TGA has none.
        _ => b"",
    };
    let known = bytes.starts_with(magic)
        || (format == Format::Tiff && bytes.starts_with(b"MM"))
        || (format == Format::Pnm && bytes.starts_with(b"P"))
        || (format == Format::Gif && bytes.starts_with(b"GIF87a"));
    if !known && bytes.len() >= magic.len() {
        bytes[..magic.len()].copy_from_slice(magic);
    }
    if format == Format::WebP && bytes.len() >= 12 {
        bytes[8..12].copy_from_slice(b"WEBP");
    }
    bytes
}

fn picture(data: &[u8], format: Format) {
    let bytes = with_magic(data, format);
    let header = probe(&bytes, &limits());
    not_contained(header.as_ref().err());
    let decoded = decode(&bytes, &limits());
    not_contained(decoded.as_ref().err());
    assert_eq!(decoded, decode(&bytes, &limits()), "twice");
    let luma = decode_as(&bytes, ColorMode::Luma, &limits());
    match (header, decoded) {
        (Ok(header), Ok(image)) => {
            fits(header, &image);
            fits(header, luma.as_ref().expect("luma where there is RGB"));
            limits_are_kept(&bytes, &image);
        }
        (Err(at_header), Err(at_pixels)) => assert_eq!(at_header, at_pixels),
        (Err(error), Ok(_)) => panic!("decoded though the header is refused: {error}"),
        (Ok(_), Err(error)) => assert_eq!(luma, Err(error), "luma where there is no RGB"),
    }
}

fn not_contained(error: Option<&Error>) {
    if let Some(Error::Panicked { detail, .. }) = error {
        panic!("a decoder panicked: {detail}");
    }
}

fn fits(header: Header, image: &Image) {
    image.check().expect("as many pixels as its size says");
    let (size, turned) = ((image.width, image.height), (image.height, image.width));
    let said = (header.width, header.height);
    assert!(
        size == said || (header.format == Format::Tiff && turned == said),
        "{size:?} for a header of {said:?}"
    );
}

fn limits_are_kept(bytes: &[u8], image: &Image) {
    let max_pixels = u64::from(image.width) * u64::from(image.height) - 1;
    let mut fewer = limits();
    fewer.max_pixels = max_pixels;
    let refused = decode(bytes, &fewer);
    assert!(
        matches!(refused, Err(Error::TooManyPixels { .. })),
        "{refused:?}"
    );
    let mut tight = limits();
    tight.max_memory = image.data.len() as u64 / 3;
    let refused = decode(bytes, &tight);
    assert!(
        matches!(refused, Err(Error::TooMuchMemory { .. })),
        "{refused:?}"
    );
}
