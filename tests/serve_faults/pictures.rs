//! Pictures made here: tiny, heavy, and liars.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;

/// A chunk of a PNG.
fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(kind);
    crc.update(data);
    let length = u32::try_from(data.len()).unwrap();
    [
        &length.to_be_bytes()[..],
        kind,
        data,
        &crc.sum().to_be_bytes(),
    ]
    .concat()
}

fn header(width: u32, height: u32) -> Vec<u8> {
    // 8 bits of RGB.
    let sizes = [width.to_be_bytes(), height.to_be_bytes()].concat();
    let data = [&sizes[..], &[8, 2, 0, 0, 0]].concat();
    [b"\x89PNG\r\n\x1a\n".to_vec(), chunk(b"IHDR", &data)].concat()
}

/// A PNG of one colour.
pub fn png(width: u32, height: u32, colour: [u8; 3]) -> Vec<u8> {
    let row = [vec![0], colour.repeat(width as usize)].concat();
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
    (0..height).for_each(|_| packed.write_all(&row).unwrap());
    let data = packed.finish().unwrap();
    [
        header(width, height),
        chunk(b"IDAT", &data),
        chunk(b"IEND", b""),
    ]
    .concat()
}

/// A PNG that says it is larger than it is.
pub fn lying_png(width: u32, height: u32) -> Vec<u8> {
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&vec![0; 1 << 20]).unwrap();
    let data = packed.finish().unwrap();
    [
        header(width, height),
        chunk(b"IDAT", &data),
        chunk(b"IEND", b""),
    ]
    .concat()
}

/// A real JPEG whose frame header says another size.
pub fn lying_jpeg(jpeg: &[u8], width: u16, height: u16) -> Vec<u8> {
    let mut bytes = jpeg.to_vec();
    let frame = bytes.windows(2).position(|two| two == [0xff, 0xc0]);
    let at = frame.expect("a baseline frame") + 5;
    bytes[at..at + 2].copy_from_slice(&height.to_be_bytes());
    bytes[at + 2..at + 4].copy_from_slice(&width.to_be_bytes());
    bytes
}

/// A GIF of one pixel that says its screen is larger.
pub fn lying_gif(width: u16, height: u16) -> Vec<u8> {
    let size = [width.to_le_bytes(), height.to_le_bytes()].concat();
    [
        b"GIF89a",
        &size[..],
        b"\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0",
        &size,
        b"\0\x02\x02D\x01\0;",
    ]
    .concat()
}

/// A BMP without its pixels.
pub fn lying_bmp(width: i32, height: i32) -> Vec<u8> {
    let mut bytes = b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec();
    bytes.extend(width.to_le_bytes());
    bytes.extend(height.to_le_bytes());
    bytes.extend(b"\x01\0\x18\0");
    bytes.extend([0; 24]);
    bytes
}
