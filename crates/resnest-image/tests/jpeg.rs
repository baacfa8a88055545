//! JPEG files made here: what a small file may cost.

use resnest_image::{Error, Limits, decode};

fn segment(code: u8, body: &[u8]) -> Vec<u8> {
    let len = (body.len() as u16 + 2).to_be_bytes();
    [&[0xff, code], &len[..], body].concat()
}

/// A scan of the one component: zigzag band, successive approximation and data.
fn scan(band: (u8, u8), approximation: u8, data: &[u8]) -> Vec<u8> {
    let header = segment(0xda, &[1, 1, 0, band.0, band.1, approximation]);
    [&header[..], data].concat()
}

/// A grey progressive picture of a square's side, with a DC scan that says nothing, and more scans.
fn progressive(side: u16, scans: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let side = side.to_be_bytes();
    let quant = [&[0][..], &[1; 64]].concat();
    let frame = [8, side[0], side[1], side[0], side[1], 1, 1, 0x11, 0];
    // Each has one code, of one bit: a DC difference of 0, and a run of up to 32767 blocks.
    let table = |class, symbol| [&[class, 1][..], &[0; 15], &[symbol]].concat();
    let mut file = b"\xff\xd8".to_vec();
    file.extend(segment(0xdb, &quant));
    file.extend(segment(0xc2, &frame));
    file.extend(segment(0xc4, &table(0, 0)));
    file.extend(segment(0xc4, &table(0x10, 0xe0)));
    file.extend(scan((0, 0), 0, b"\0"));
    scans.for_each(|scan| file.extend(scan));
    file.extend(b"\xff\xd9");
    file
}

fn refused_for(file: &[u8], words: &str) {
    match decode(file, &Limits::default()) {
        Err(Error::Unsupported { detail, .. }) => assert!(detail.contains(words), "{detail}"),
        other => panic!("{:?}", other.map(|image| image.width)),
    }
}

#[test]
fn five_hundred_scans_are_read_and_one_more_is_refused_by_name() {
    let empty = |count| progressive(16, (0..count).map(|_| scan((1, 63), 0, b"\0")));
    let image = decode(&empty(499), &Limits::default()).expect("500 scans");
    // Every coefficient is 0, and so every sample the middle one.
    assert!(image.data.iter().all(|&value| value == 128));
    refused_for(&empty(500), "500 scans");
}

#[test]
fn a_small_file_of_much_work_is_refused_by_name() {
    // 135,424 blocks to a scan, in five runs of 15 bits, all ones but the code's.
    let run = [0x7f, 0xfe, 0xff, 0xfd, 0xff, 0xfb, 0xff, 0xf7, 0xff, 0xef];
    let data: Vec<u8> = run
        .iter()
        .flat_map(|&byte| [byte, 0].into_iter().take(if byte == 0xff { 2 } else { 1 }))
        .collect();
    let refinements = |count| progressive(2944, (0..count).map(|_| scan((1, 63), 0x10, &data)));
    assert!(refinements(499).len() < 20_000);
    refused_for(&refinements(499), "more work");
    decode(&refinements(9), &Limits::default()).expect("a few scans");
}
