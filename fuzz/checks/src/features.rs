//! Files of features, read back.

use resnest::features::{FeatureTable, FeatureWriter};

/// Rows of any values, some of them broken images: the same bits are read back, NaN for the broken.
pub fn npy(data: &[u8]) {
    let Some((&[rows, width, broken], values)) = data.split_first_chunk() else {
        return;
    };
    let (rows, width) = (usize::from(rows % 8), usize::from(width % 16) + 1);
    let is_broken = |row: usize| broken >> (row % 8) & 1 == 1;
    let mut bits = values
        .chunks(4)
        .map(|chunk| {
            chunk
                .iter()
                .fold(0, |bits, &byte| bits << 8 | u32::from(byte))
        })
        .chain(std::iter::repeat(0));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("features.npy");
    let table = FeatureTable {
        model: "demo".into(),
        layer: "pre_logits".into(),
        shape: vec![width],
        files: (0..rows).map(|row| format!("{row}.png")).collect(),
    };
    let mut writer = FeatureWriter::create(&path, table).expect("a writer");
    let mut expected = Vec::new();
    for row in 0..rows {
        let values: Vec<f32> = bits.by_ref().take(width).map(f32::from_bits).collect();
        let pushed = if is_broken(row) {
            Err("broken")
        } else {
            Ok(&values[..])
        };
        writer.push(pushed).expect("a row");
        expected.push((!is_broken(row)).then_some(values));
    }
    writer.finish().expect("a file");
    let bytes = std::fs::read(&path).expect("the file");
    let (shape, found) = read(&bytes);
    assert_eq!(shape, format!("{rows}, {width}"));
    for (found, expected) in found.chunks(width).zip(expected) {
        match expected {
            None => assert!(found.iter().all(|v| v.is_nan())),
            Some(values) => {
                assert!((found.iter().zip(values)).all(|(a, b)| a.to_bits() == b.to_bits()))
            }
        }
    }
}

/// Shape and values, where the header is as numpy writes one of format 1.0.
fn read(bytes: &[u8]) -> (&str, Vec<f32>) {
    let rest = bytes.strip_prefix(b"\x93NUMPY\x01\0").expect("the magic");
    let (&len, rest) = rest.split_first_chunk().expect("a length");
    let (text, values) = rest.split_at(usize::from(u16::from_le_bytes(len)));
    assert_eq!(
        (bytes.len() - values.len()) % 64,
        0,
        "where the values begin"
    );
    let text = str::from_utf8(text).expect("ASCII");
    let shape = text
        .strip_prefix("{'descr': '<f4', 'fortran_order': False, 'shape': (")
        .and_then(|text| text.strip_suffix('\n')?.trim_end().strip_suffix("), }"));
    let (values, odd) = values.as_chunks();
    assert!(odd.is_empty(), "whole values");
    let values = values.iter().map(|&value| f32::from_le_bytes(value));
    (shape.expect("a shape of f32 in C order"), values.collect())
}
