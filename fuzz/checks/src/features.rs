//! Files of features, read back by another's reader.

use resnest::features::{FeatureTable, FeatureWriter};

/// Rows of any values, some of them broken images: `npyz` reads the same bits, NaN for the broken.
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
    let file = npyz::NpyFile::new(&bytes[..]).expect("a header");
    assert_eq!(file.shape(), [rows as u64, width as u64]);
    let found: Vec<f32> = file.into_vec().expect("f32");
    for (found, expected) in found.chunks(width).zip(expected) {
        match expected {
            None => assert!(found.iter().all(|v| v.is_nan())),
            Some(values) => {
                assert!((found.iter().zip(values)).all(|(a, b)| a.to_bits() == b.to_bits()))
            }
        }
    }
}
