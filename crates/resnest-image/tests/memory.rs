//! A buffer that the system cannot give is an error of its image, not the end of the process.
#![cfg(unix)]

use std::path::Path;
use std::process::Command;

use resnest_image::{Limits, decode};

/// Pixels a side of every picture; one byte of each is more than [`KILOBYTES`].
const SIDE: u32 = 13_000;

/// Address space of the child.
const KILOBYTES: u32 = 160_000;

/// PNG's checksum, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

fn png() -> Vec<u8> {
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    let side = SIDE.to_be_bytes();
    let header = [b"IHDR", &side[..], &side, &[8, 2, 0, 0, 0]].concat();
    for chunk in [header, b"IDAT\x78\x9c\x01\x01\0\xfe\xff\0".to_vec()] {
        out.extend((chunk.len() as u32 - 4).to_be_bytes());
        out.extend(&chunk);
        out.extend(crc32(&chunk).to_be_bytes());
    }
    out
}

fn gif() -> Vec<u8> {
    let side = (SIDE as u16).to_le_bytes();
    let screen = [b"GIF89a", &side[..], &side, &[0, 0, 0]].concat();
    let frame = [b",\0\0\0\0", &side[..], &side, &[0, 8, 1, 0, 0]].concat();
    [screen, frame].concat()
}

fn bmp() -> Vec<u8> {
    let mut out = b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec();
    out.extend(SIDE.to_le_bytes().repeat(2));
    out.extend([1, 0, 24, 0]);
    out.resize(54, 0);
    out
}

/// Uncompressed, or with one strip by Deflate.
fn tiff(compression: u32) -> Vec<u8> {
    let tags = [
        (256, SIDE),
        (257, SIDE),
        (258, 8),
        (259, compression),
        (262, 2),
        (273, 8),
        (277, 3),
        (279, 100),
    ];
    let mut out = b"II*\0\x08\0\0\0\x08\0".to_vec();
    for (tag, value) in tags {
        let (tag, value) = ((tag as u16).to_le_bytes(), value.to_le_bytes());
        out.extend([&tag[..], &[4, 0, 1, 0, 0, 0], &value].concat());
    }
    out.resize(200, 0);
    out
}

/// Three digits, from which there is no telling how much is missing.
fn pnm() -> Vec<u8> {
    format!("P3 {SIDE} {SIDE} 255 1 2 3").into_bytes()
}

/// Of run lengths.
fn tga() -> Vec<u8> {
    let side = (SIDE as u16).to_le_bytes();
    let head = [0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    [&head[..], &side, &side, &[24, 0, 0x80, 1, 2, 3]].concat()
}

fn qoi() -> Vec<u8> {
    let side = SIDE.to_be_bytes();
    [b"qoif", &side[..], &side, &[3, 0, 0xc0]].concat()
}

/// One PNG.
fn ico() -> Vec<u8> {
    let head = b"\0\0\x01\0\x01\0\0\0\0\0\x01\0\x20\0\0\0\0\0\x16\0\0\0";
    [&head[..], &png()].concat()
}

/// A small animation on a large canvas.
fn webp() -> Vec<u8> {
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pillow/files");
    let mut out = std::fs::read(files.join("webp_animated.webp")).expect("a fixture");
    let side = (SIDE - 1).to_le_bytes();
    out[24..27].copy_from_slice(&side[..3]);
    out[27..30].copy_from_slice(&side[..3]);
    out
}

#[test]
#[ignore = "run by the other test in a process of its own, where memory is short"]
fn child() {
    let files = [
        ("png", png()),
        ("gif", gif()),
        ("bmp", bmp()),
        ("tiff", tiff(1)),
        ("deflate", tiff(8)),
        ("webp", webp()),
        ("pnm", pnm()),
        ("tga", tga()),
        ("qoi", qoi()),
        ("ico", ico()),
    ];
    for (name, bytes) in files {
        match decode(&bytes, &Limits::default()) {
            Ok(image) => println!("{name} is {}x{}", image.width, image.height),
            Err(error) => println!("{name}: {error}"),
        }
    }
}

#[test]
fn a_failed_allocation_is_an_error_of_its_image() {
    let limit = format!("ulimit -v {KILOBYTES}; exec \"$0\" --ignored --exact child --nocapture");
    let executable = std::env::current_exe().expect("this test");
    let output = Command::new("sh")
        .arg("-c")
        .arg(limit)
        .arg(executable)
        .output();
    let output = output.expect("a shell");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{:?}: {text}", output.status);
    let first = ["png", "gif", "bmp", "tiff", "deflate", "webp"];
    for name in first.into_iter().chain(["pnm", "tga", "qoi", "ico"]) {
        let wanted = format!("{name}: the system has no ");
        assert!(text.contains(&wanted), "{name} in {text}");
    }
}
