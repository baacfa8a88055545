//! Pixels against Pillow 13 and timm: every byte of every kind of file and of every kind of crop.
//!
//! `tests/pillow/make_fixtures.py` made the files and recorded what Pillow and timm made of them.

use std::fs;
use std::path::{Path, PathBuf};

use resnest_image::{
    ColorMode, DecodeOptions, Error, Image, Kernel, Limits, PassOrder, Transform, decode,
    decode_as, decode_batch, decode_with, probe,
};
use serde_json::Value;
use sha2::{Digest, Sha256};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pillow")
}

fn json(name: &str) -> Value {
    let path = fixtures().join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn sha(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn file(name: &str) -> Vec<u8> {
    fs::read(fixtures().join("files").join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Prints all failures of a test at once, so that a pattern shows.
fn report(failures: &[String], of: usize) {
    assert!(of > 0, "nothing was compared");
    assert!(
        failures.is_empty(),
        "{} of {of} differ:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

/// What is wrong with a decode, if anything.
fn compare_decode(bytes: &[u8], expected: &Value) -> Option<String> {
    for (key, mode) in [("rgb", ColorMode::Rgb), ("luma", ColorMode::Luma)] {
        let image = match decode_as(bytes, mode, &Limits::default()) {
            Ok(image) => image,
            Err(e) => return Some(format!("{key}: {e}")),
        };
        let size = (u64::from(image.width), u64::from(image.height));
        let wanted = (expected["width"].as_u64()?, expected["height"].as_u64()?);
        if size != wanted {
            return Some(format!("{key}: {size:?}, not {wanted:?}"));
        }
        if Some(sha(&image.data).as_str()) != expected[key].as_str() {
            return Some(format!("{key}: other pixels"));
        }
    }
    None
}

/// Files that `mutants*.py` made at random: Pillow's pixels, an error where Pillow has one, or refused by name.
#[test]
fn files_made_at_random_are_pillows_or_refused_by_name() {
    let all = json("decode.json");
    let files = all["files"].as_object().expect("files");
    let (mut failures, mut equal, mut refused) = (Vec::new(), 0, 0);
    let made = files.iter().filter(|(name, _)| name.starts_with("made_"));
    for (name, expected) in made.clone() {
        let bytes = file(name);
        match (decode(&bytes, &Limits::default()), &expected["error"]) {
            (Ok(_), Value::String(_)) => failures.push(format!("{name}: accepted")),
            (Ok(_), _) => {
                equal += 1;
                let wrong = compare_decode(&bytes, expected);
                failures.extend(wrong.map(|wrong| format!("{name}: {wrong}")));
            }
            (Err(Error::Panicked { detail, .. }), _) => failures.push(format!("{name}: {detail}")),
            (Err(_), Value::String(_)) => {}
            (Err(Error::Unsupported { .. }), _) => refused += 1,
            (Err(e), _) => failures.push(format!("{name}: {e}")),
        }
    }
    report(&failures, made.count());
    assert!(
        equal > 100 && refused * 5 < equal,
        "{equal} equal, {refused} refused by name"
    );
}

#[test]
fn every_kind_of_file_decodes_to_pillows_bytes() {
    let all = json("decode.json");
    let files = all["files"].as_object().expect("files");
    let mut failures = Vec::new();
    for (name, expected) in files.iter().filter(|(name, _)| !name.starts_with("made_")) {
        let bytes = file(name);
        let wrong = if name.starts_with("unsupported_") {
            match decode(&bytes, &Limits::default()) {
                Err(Error::Unsupported { .. }) => None,
                other => Some(format!("not refused by name: {:?}", other.map(|i| i.width))),
            }
        } else if expected["error"].is_string() {
            decode(&bytes, &Limits::default())
                .ok()
                .map(|_| "accepted".to_owned())
        } else {
            compare_decode(&bytes, expected)
        };
        failures.extend(wrong.map(|wrong| format!("{name}: {wrong}")));
    }
    report(&failures, files.len());
}

/// The source of a crop case, by the formula of `make_fixtures.py`.
fn synthetic(width: u32, height: u32, channels: u8) -> Image {
    let seed = u64::from(width) * 7919 + u64::from(height) * 104_729 + u64::from(channels);
    let mut state = seed as u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let len = width as usize * height as usize * usize::from(channels);
    let data = std::iter::repeat_with(next).take(len).collect();
    Image::new(width, height, channels, data).expect("a consistent image")
}

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_f64)
        .collect()
}

fn case_source(case: &Value) -> Image {
    let source = numbers(&case["source"]);
    synthetic(source[0] as u32, source[1] as u32, source[2] as u8)
}

fn case_transform(case: &Value, channels: u8) -> Transform {
    let size = numbers(&case["size"]);
    let word = |key: &str| case[key].as_str().expect("a word");
    let mut transform = Transform {
        size: (size[0] as u32, size[1] as u32),
        crop_pct: case["crop_pct"].as_f64().expect("crop_pct"),
        crop_mode: word("crop_mode").parse().expect("a crop mode"),
        interpolation: word("interpolation").parse().expect("a filter"),
        ..Transform::default()
    };
    if channels == 1 {
        (transform.mean, transform.std) = (vec![0.5], vec![0.25]);
    }
    if !case["mean"].is_null() {
        (transform.mean, transform.std) = (numbers(&case["mean"]), numbers(&case["std"]));
    }
    transform
}

fn compare_crops(name: &str, order: PassOrder) {
    let all = json(name);
    let cases = all["cases"].as_array().expect("cases");
    let mut failures = Vec::new();
    let mut source = synthetic(1, 1, 1);
    for case in cases {
        let wanted = numbers(&case["source"]);
        let have = [
            source.width.into(),
            source.height.into(),
            f64::from(source.channels),
        ];
        if wanted != have {
            source = case_source(case);
        }
        let transform = Transform {
            pass_order: order,
            ..case_transform(case, source.channels)
        };
        for kernel in [Kernel::Auto, Kernel::Portable] {
            let crop = transform.crop_with(&source, kernel);
            let right = match (&crop, case["sha"].as_str()) {
                (Ok(crop), Some(wanted)) => sha(&crop.data).starts_with(wanted),
                (Err(Error::ImageShape { .. }), None) => true,
                _ => false,
            };
            if !right {
                failures.push(format!(
                    "{kernel:?} {case}: {:?}",
                    crop.map(|c| c.data.len())
                ));
            }
        }
    }
    report(&failures, cases.len());
}

#[test]
fn crops_are_timms_with_pillow_13() {
    compare_crops("crops.json", PassOrder::Pillow13);
}

#[test]
fn crops_are_timms_with_pillow_12() {
    compare_crops("crops_pillow12.json", PassOrder::Pillow12);
}

#[test]
fn tensors_are_timms_to_the_last_bit() {
    let all = json("tensors.json");
    let cases = all["cases"].as_array().expect("cases");
    let mut failures = Vec::new();
    for case in cases {
        let source = case_source(case);
        let transform = case_transform(case, source.channels);
        let crop = transform.crop(&source).expect("a crop");
        let mut tensor = vec![0.0; transform.len()];
        transform
            .normalize_into(&crop, &mut tensor)
            .expect("a tensor");
        if Some(sha_f32(&tensor).as_str()) != case["sha"].as_str() {
            failures.push(case.to_string());
        }
    }
    report(&failures, cases.len());
}

fn sha_f32(values: &[f32]) -> String {
    sha(&values
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect::<Vec<u8>>())
}

/// The folder of photos beside the repository; they are not redistributed, so the test that needs them is ignored
/// unless it is asked for, and fails without them.
fn photos() -> PathBuf {
    let shared = std::env::var_os("RESNEST_SHARED").map(PathBuf::from);
    let shared =
        shared.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"));
    let photos = shared.join("data/photos");
    assert!(
        photos.is_dir(),
        "{} is not there: set RESNEST_SHARED",
        photos.display()
    );
    photos
}

#[test]
#[ignore = "needs RESNEST_SHARED: 100 ImageNet photos"]
fn photos_are_pillows_and_timms() {
    let folder = photos();
    let all = json("photos.json");
    let entries = all["photos"].as_object().expect("photos");
    // PHOTO_CROPS of the script
    let crops = [
        r#"{"size":[224,224],"crop_pct":0.875,"crop_mode":"center","interpolation":"bilinear"}"#,
        r#"{"size":[224,224],"crop_pct":0.875,"crop_mode":"center","interpolation":"bicubic"}"#,
        r#"{"size":[256,256],"crop_pct":0.875,"crop_mode":"center","interpolation":"bilinear"}"#,
        r#"{"size":[320,320],"crop_pct":0.909,"crop_mode":"center","interpolation":"bicubic"}"#,
        r#"{"size":[416,416],"crop_pct":0.928,"crop_mode":"center","interpolation":"bicubic"}"#,
        r#"{"size":[224,224],"crop_pct":0.875,"crop_mode":"squash","interpolation":"bicubic"}"#,
        r#"{"size":[224,224],"crop_pct":0.9,"crop_mode":"border","interpolation":"bilinear"}"#,
        r#"{"size":[192,288],"crop_pct":0.95,"crop_mode":"center","interpolation":"lanczos"}"#,
    ]
    .map(|case| case_transform(&serde_json::from_str(case).expect("a case"), 3));
    let mut failures = Vec::new();
    for (name, expected) in entries {
        let bytes = fs::read(folder.join(name)).expect("a photo");
        failures.extend(compare_decode(&bytes, expected).map(|wrong| format!("{name}: {wrong}")));
        let wanted = expected["crops"].as_array().expect("crops");
        assert_eq!(wanted.len(), crops.len());
        for (transform, wanted) in crops.iter().zip(wanted) {
            let crop = decode_as(&bytes, transform.color_mode(), &Limits::default())
                .and_then(|image| transform.crop(&image))
                .expect("a crop");
            if !sha(&crop.data).starts_with(wanted.as_str().expect("a hash")) {
                failures.push(format!("{name}: {transform:?}"));
            }
        }
        let tensor = Transform::default()
            .apply(&bytes, &Limits::default())
            .expect("a tensor");
        if !sha_f32(&tensor).starts_with(expected["tensor"].as_str().expect("a hash")) {
            failures.push(format!("{name}: tensor"));
        }
    }
    report(&failures, entries.len());
}

#[test]
fn exif_orientation_is_applied_only_on_request() {
    let all = json("decode.json");
    let mut failures = Vec::new();
    let mut turned_ones = 0;
    for (name, expected) in all["files"].as_object().expect("files") {
        let Some(upright) = expected["upright"].as_str() else {
            continue;
        };
        let options = DecodeOptions {
            exif_orientation: true,
            ..DecodeOptions::default()
        };
        let turned = decode_with(&file(name), &options, &Limits::default()).expect("an image");
        let size = numbers(&expected["upright_size"]);
        if [turned.width, turned.height].map(f64::from) != size[..] || sha(&turned.data) != upright
        {
            failures.push(format!("{name}: {}x{}", turned.width, turned.height));
        }
        turned_ones += usize::from(expected["rgb"] != expected["upright"]);
    }
    report(&failures, turned_ones);
}

/// A PGM or PPM whose samples are written in decimal.
fn is_decimal(bytes: &[u8]) -> bool {
    bytes.starts_with(b"P2") || bytes.starts_with(b"P3")
}

fn before_last_number(bytes: &[u8]) -> usize {
    let bytes = bytes.trim_ascii_end();
    let space = bytes.iter().rposition(u8::is_ascii_whitespace);
    space.expect("several numbers")
}

/// A cut file is an error, or it was whole enough to give the same pixels; it never panics.
#[test]
fn truncated_files_never_give_other_pixels() {
    let all = json("decode.json");
    let mut failures = Vec::new();
    let mut cuts = 0;
    for (name, expected) in all["files"].as_object().expect("files") {
        let Some(rgb) = expected["rgb"]
            .as_str()
            .filter(|_| !name.starts_with("unsupported") && !name.starts_with("made"))
            // Without its XMP packet, which is its end, Pillow reads it unturned.
            .filter(|_| name != "tiff_orientation_xmp.tif")
            // A comment inside its last number.
            .filter(|_| name != "pnm_comment_in_sample.pnm")
        else {
            continue;
        };
        let bytes = file(name);
        // All of the header, then in steps, then every length near the end.
        let steps = (bytes.len() / 40).max(1);
        let near_end = bytes.len().saturating_sub(24)..bytes.len();
        for len in (0..bytes.len().min(40))
            .chain((40..bytes.len()).step_by(steps))
            .chain(near_end)
        {
            // Of digits fewer are another number.
            if is_decimal(&bytes) && len > before_last_number(&bytes) {
                continue;
            }
            cuts += 1;
            if let Ok(image) = decode(&bytes[..len], &Limits::default())
                && sha(&image.data) != rgb
            {
                failures.push(format!("{name} cut to {len} of {}", bytes.len()));
            }
        }
    }
    report(&failures, cuts);
}

#[test]
fn flipped_bytes_never_panic() {
    let all = json("decode.json");
    let mut small = Limits::default();
    small.max_pixels = 1 << 20;
    small.max_memory = 64 << 20;
    let mut state = 1u32;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as usize
    };
    for (name, _) in all["files"].as_object().expect("files") {
        let original = file(name);
        for _ in 0..60 * usize::from(!original.is_empty()) {
            let mut bytes = original.clone();
            for _ in 0..1 + next() % 4 {
                // Headers are where the damage can be interesting.
                let span = if next() % 2 == 0 {
                    bytes.len()
                } else {
                    bytes.len().min(120)
                };
                let at = next() % span;
                bytes[at] = next() as u8;
            }
            if let Ok(image) = decode(&bytes, &small) {
                let len = image.width as usize * image.height as usize * 3;
                assert_eq!(image.data.len(), len, "{name}");
            }
        }
    }
}

#[test]
fn damage_is_named_with_its_format() {
    let error = |name: &str| decode(&file(name), &Limits::default()).unwrap_err();
    assert_eq!(error("bad_empty.jpg"), Error::Empty);
    assert!(matches!(error("bad_text.jpg"), Error::UnknownFormat { .. }));
    for (name, format) in [
        ("bad_jpeg_truncated.jpg", "JPEG"),
        ("bad_jpeg_no_eoi.jpg", "JPEG"),
        ("bad_jpeg_progressive_truncated.jpg", "JPEG"),
        ("bad_png_truncated.png", "PNG"),
        ("bad_webp_truncated.webp", "WebP"),
        ("bad_gif_truncated.gif", "GIF"),
        ("bad_bmp_truncated.bmp", "BMP"),
        ("bad_tiff_truncated_directory.tif", "TIFF"),
        ("bad_pnm_truncated.pnm", "PNM"),
        ("bad_pnm_plain_truncated.pnm", "PNM"),
        ("bad_tga_truncated.tga", "TGA"),
        ("bad_tga_rle_truncated.tga", "TGA"),
        ("bad_qoi_truncated.qoi", "QOI"),
        ("bad_ico_truncated.ico", "ICO"),
        ("bad_ico_png_truncated.ico", "ICO"),
        ("bad_ico_mask_truncated.ico", "ICO"),
    ] {
        let error = error(name);
        assert!(
            matches!(error, Error::Truncated { .. }),
            "{name}: {error:?}"
        );
        assert!(error.to_string().contains(format), "{name}: {error}");
    }
}

#[test]
fn limits_are_checked_on_the_header() {
    let bytes = file("jpeg_420_base_61x47.jpg");
    let mut few = Limits::default();
    few.max_bytes = 100;
    assert!(matches!(
        decode(&bytes, &few),
        Err(Error::TooManyBytes { .. })
    ));
    for name in [
        "jpeg_420_base_61x47.jpg",
        "png_rgb8.png",
        "webp_lossless.webp",
        "gif_plain.gif",
    ]
    .into_iter()
    .chain(["bmp_24.bmp", "tiff_le_rgb8.tif", "pnm_p6.pnm"])
    .chain(["tga_24.tga", "tga_24_rle.tga", "qoi_runs.qoi"])
    .chain(["ico_pngs.ico", "ico_bitmaps.ico"])
    {
        let header = probe(&file(name), &Limits::default()).expect("a header");
        let pixels = u64::from(header.width) * u64::from(header.height);
        let mut exact = Limits::default();
        exact.max_pixels = pixels;
        assert!(decode(&file(name), &exact).is_ok(), "{name}");
        let mut fewer = Limits::default();
        fewer.max_pixels = pixels - 1;
        assert!(
            matches!(
                decode(&file(name), &fewer),
                Err(Error::TooManyPixels { .. })
            ),
            "{name}"
        );
        let mut tight = Limits::default();
        tight.max_memory = pixels.min(1000);
        assert!(
            matches!(
                decode(&file(name), &tight),
                Err(Error::TooMuchMemory { .. })
            ),
            "{name}"
        );
    }
}

/// `blocks` of `small_files.py`: a sample and a comment that go on in the next of the blocks that Pillow reads.
#[test]
fn a_block_of_decimal_samples_ends_anywhere() {
    let mut bytes = b"P2 300000 2 255\n".to_vec();
    let start = bytes.len();
    bytes.extend(b"7 ".repeat(200_000));
    bytes.resize(start + (1 << 20) - 2, b' ');
    bytes.extend(b"123 ");
    bytes.extend(b"8 ".repeat(200_000));
    bytes.resize(start + (2 << 20) - 3, b' ');
    bytes.extend(b"# a\n 77 \r");
    bytes.extend(b"9 ".repeat(199_999));
    let image = decode(&bytes, &Limits::default()).expect("an image");
    // What `python small_files.py` printed.
    let pillows = "bb529f1b2e3e6d47fda384c11e2689e8acf31d3a48b4f45c3037cdfd82f920ed";
    assert_eq!(sha(&image.data), pillows);
}

/// Whoever answers requests tells a bad image from bad options by the error.
#[test]
fn errors_say_whether_the_image_is_bad() {
    let at_fault = |error: Error| error.is_bad_image();
    for name in [
        "bad_empty.jpg",
        "bad_text.jpg",
        "bad_png_truncated.png",
        "unsupported_tiff_lab.tif",
    ] {
        assert!(
            at_fault(decode(&file(name), &Limits::default()).unwrap_err()),
            "{name}"
        );
    }
    let mut tight = Limits::default();
    tight.max_pixels = 3;
    assert!(at_fault(decode(&file("png_rgb8.png"), &tight).unwrap_err()));
    assert!(at_fault(Image::new(2, 2, 3, vec![0]).unwrap_err()));
    let (photo, narrow) = (synthetic(61, 47, 3), synthetic(300, 1, 3));
    for transform in [
        Transform {
            size: (0, 224),
            ..Transform::default()
        },
        Transform {
            crop_pct: -1.0,
            ..Transform::default()
        },
        // No image could be resized to that.
        Transform {
            crop_pct: 1e-9,
            ..Transform::default()
        },
    ] {
        assert!(
            !at_fault(transform.crop(&photo).unwrap_err()),
            "{transform:?}"
        );
    }
    assert!(!at_fault(
        Transform::default().crop(&synthetic(9, 9, 1)).unwrap_err()
    ));
    assert!(!at_fault("nearly".parse::<ColorMode>().unwrap_err()));
    let border = Transform {
        size: (20, 20),
        crop_mode: resnest_image::CropMode::Border,
        ..Transform::default()
    };
    assert!(border.crop(&photo).is_ok());
    assert!(at_fault(border.crop(&narrow).unwrap_err()));
    assert!(at_fault(border.window(0, 7).unwrap_err()));
}

/// PNG's checksum, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

/// A few dozen bytes that claim gigapixels must cost nothing.
#[test]
fn header_bombs_are_refused() {
    let mut jpeg = file("jpeg_420_base_61x47.jpg");
    let frame = jpeg
        .windows(2)
        .position(|pair| pair == [0xff, 0xc0])
        .expect("a frame header");
    jpeg[frame + 5..frame + 9].fill(0xff);
    let mut png = file("png_rgb8.png");
    png[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
    let checksum = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&checksum.to_be_bytes());
    let mut gif = file("gif_plain.gif");
    gif[6..10].fill(0xff);
    let mut bmp = file("bmp_24.bmp");
    bmp[18..26].copy_from_slice(&[0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0x7f]);
    let mut webp = file("webp_lossy_alpha.webp");
    webp[24..30].fill(0xff);
    let pnm = b"P6 2147483647 2147483647 255\n".to_vec();
    let mut tga = file("tga_24_rle.tga");
    tga[12..16].fill(0xff);
    let mut qoi = file("qoi_rgb.qoi");
    qoi[4..12].fill(0xff);
    let mut ico = file("ico_24.ico");
    ico[22 + 4..22 + 12].copy_from_slice(&[0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0x7f]);
    for bytes in [jpeg, png, gif, bmp, webp, pnm, tga, qoi, ico] {
        let error = probe(&bytes, &Limits::default()).unwrap_err();
        assert!(matches!(error, Error::TooManyPixels { .. }), "{error}");
    }
}

#[test]
fn one_bad_image_does_not_lose_the_batch() {
    let good = file("jpeg_420_base_61x47.jpg");
    let bad = file("bad_jpeg_truncated.jpg");
    let batch = [&good, &bad, &good];
    let results = decode_batch(&batch, &DecodeOptions::default(), &Limits::default());
    assert!(results[0].is_ok() && results[0] == results[2]);
    assert!(matches!(results[1], Err(Error::Truncated { .. })));
}
