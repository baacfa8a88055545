//! The loops against what Pillow's libjpeg-turbo gave (`tests/pillow/jpeg_kernels.py`), and against one
//! another.

use proptest::prelude::*;
use serde_json::Value;

use super::Kernels;

/// All implementations that this CPU runs.
fn all() -> [Kernels; 2] {
    [Kernels::portable(), Kernels::new()]
}

fn recorded(list: &str) -> Vec<Value> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/pillow/jpeg_kernels.json"
    );
    let text = std::fs::read_to_string(path).expect("the recorded values");
    let mut all: Value = serde_json::from_str(&text).expect("JSON");
    match all[list].take() {
        Value::Array(cases) if !cases.is_empty() => cases,
        other => panic!("{list}: {other}"),
    }
}

fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().expect("hexadecimal");
    (0..hex.len() / 2)
        .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hexadecimal"))
        .collect()
}

fn words<const N: usize>(hex: &Value) -> [u16; N] {
    let bytes = bytes(hex);
    std::array::from_fn(|i| u16::from_le_bytes([bytes[2 * i], bytes[2 * i + 1]]))
}

#[test]
fn blocks_become_pillows_samples_whatever_their_coefficients() {
    for (n, case) in recorded("blocks").iter().enumerate() {
        let coefficients = words::<64>(&case["coefficients"]).map(|c| c as i16);
        let quant = words::<64>(&case["quant"]);
        for kernels in all() {
            let mut out = vec![7; 7 * 11 + 8];
            kernels.idct_islow(&coefficients, &quant, &mut out, 11);
            let rows: Vec<u8> = out.chunks(11).flat_map(|row| row[..8].to_vec()).collect();
            assert_eq!(rows, bytes(&case["samples"]), "block {n}, {kernels:?}");
            let between = out.chunks(11).flat_map(|row| &row[8..]);
            assert!(between.into_iter().all(|&b| b == 7), "block {n}: beside it");
        }
    }
}

/// The whole of a plane, rows beyond its edges being those at the edges.
fn upsampled(kernels: &Kernels, kind: &str, plane: &[u8], width: usize) -> Vec<u8> {
    let rows: Vec<&[u8]> = plane.chunks_exact(width).collect();
    let mut out = Vec::new();
    for (y, near) in rows.iter().enumerate() {
        let above = rows[y.saturating_sub(1)];
        let below = rows[(y + 1).min(rows.len() - 1)];
        let mut row = vec![0; width * 2];
        match kind {
            "h2v1" => {
                kernels.h2v1(near, &mut row);
                out.extend_from_slice(&row);
            }
            "h2v2" => {
                for far in [above, below] {
                    kernels.h2v2(near, far, &mut row);
                    out.extend_from_slice(&row);
                }
            }
            "h1v2" => {
                row.truncate(width);
                for (far, upper) in [(above, true), (below, false)] {
                    kernels.h1v2(near, far, upper, &mut row);
                    out.extend_from_slice(&row);
                }
            }
            other => panic!("{other}"),
        }
    }
    out
}

#[test]
fn planes_are_upsampled_to_pillows_at_every_width() {
    for case in recorded("rows") {
        let kind = case["kind"].as_str().expect("a word");
        let width = case["width"].as_u64().expect("a number") as usize;
        let plane = bytes(&case["input"]);
        for kernels in all() {
            let got = upsampled(&kernels, kind, &plane, width);
            assert_eq!(
                got,
                bytes(&case["output"]),
                "{kind} of {width}, {kernels:?}"
            );
        }
    }
}

#[test]
fn colours_become_pillows() {
    for case in recorded("colours") {
        let planes: Vec<Vec<u8>> = case["planes"]
            .as_array()
            .expect("planes")
            .iter()
            .map(bytes)
            .collect();
        for kernels in all() {
            let mut got = vec![0; planes[0].len() * planes.len()];
            match &planes[..] {
                [y, cb, cr] => kernels.ycc_to_rgb(y, cb, cr, &mut got),
                [y, cb, cr, k] => kernels.ycck_to_cmyk(y, cb, cr, k, &mut got),
                other => panic!("{} planes", other.len()),
            }
            assert_eq!(got, bytes(&case["pixels"]), "{}, {kernels:?}", case["kind"]);
        }
    }
}

/// Coefficients as they are met, and as they never should be.
fn coefficient() -> impl Strategy<Value = i16> {
    prop_oneof![
        6 => Just(0i16),
        3 => -40i16..40,
        1 => any::<i16>(),
        1 => prop_oneof![Just(i16::MIN), Just(i16::MAX), Just(1), Just(-1), Just(8192), Just(-8192)],
    ]
}

/// A block with coefficients in all rows, in the first `rows` only, or its DC alone.
fn block() -> impl Strategy<Value = [i16; 64]> {
    let kept = prop_oneof![4 => Just(64usize), 2 => Just(8), 1 => Just(1), 1 => 2usize..64];
    (proptest::collection::vec(coefficient(), 64), kept)
        .prop_map(|(all, kept)| std::array::from_fn(|i| if i < kept { all[i] } else { 0 }))
}

fn quant() -> impl Strategy<Value = [u16; 64]> {
    let value = prop_oneof![3 => 1u16..60, 1 => any::<u16>(), 1 => Just(1u16)];
    proptest::collection::vec(value, 64).prop_map(|v| std::array::from_fn(|i| v[i]))
}

/// `count` rows of the same length.
fn rows(count: usize) -> impl Strategy<Value = Vec<Vec<u8>>> {
    let sample = prop_oneof![1 => Just(0u8), 1 => Just(255u8), 3 => any::<u8>()];
    (0usize..150).prop_flat_map(move |n| {
        proptest::collection::vec(proptest::collection::vec(sample.clone(), n), count)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_kernel_transforms_as_the_portable_one(
        coefficients in block(), quant in quant(), stride in 8usize..40,
    ) {
        let [portable, best] = all().map(|kernels| {
            let mut out = vec![3; 7 * stride + 8];
            kernels.idct_islow(&coefficients, &quant, &mut out, stride);
            out
        });
        prop_assert_eq!(portable, best);
    }

    #[test]
    fn every_kernel_treats_rows_as_the_portable_one(rows in rows(4), upper: bool) {
        let n = rows[0].len();
        let [portable, best] = all().map(|kernels| {
            let mut out = [vec![3; 2 * n], vec![3; 2 * n], vec![3; n], vec![3; 3 * n], vec![3; 4 * n]];
            let [h2v1, h2v2, h1v2, rgb, cmyk] = &mut out;
            kernels.h2v1(&rows[0], h2v1);
            kernels.h2v2(&rows[0], &rows[1], h2v2);
            kernels.h1v2(&rows[0], &rows[1], upper, h1v2);
            kernels.ycc_to_rgb(&rows[0], &rows[1], &rows[2], rgb);
            kernels.ycck_to_cmyk(&rows[0], &rows[1], &rows[2], &rows[3], cmyk);
            out
        });
        prop_assert_eq!(portable, best);
    }
}

#[test]
fn every_colour_is_the_portable_one() {
    let [cb, cr]: [Vec<u8>; 2] =
        [0, 8].map(|shift| (0..1 << 16).map(|i| (i >> shift) as u8).collect());
    for y in 0..=255 {
        let y = vec![y; 1 << 16];
        let [portable, best] = all().map(|kernels| {
            let mut rgb = vec![0; 3 << 16];
            kernels.ycc_to_rgb(&y, &cb, &cr, &mut rgb);
            rgb
        });
        assert!(portable == best, "luma {}", y[0]);
    }
}
