//! Pictures of the crate `image`: what Pillow makes of the same samples, and the way back.

use std::path::Path;

use image::{DynamicImage, GrayImage, Luma, Rgb, RgbImage};
use resnest_image::{ColorMode, Error, Image, Limits, decode, decode_as};

fn fixtures() -> impl Iterator<Item = std::path::PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pillow/files");
    let files = folder.read_dir().expect("fixtures");
    let paths = files.map(|file| file.expect("a file").path());
    // Whole ones: on some that were made at random `image` panics. One that `image` opens as another mode than Pillow,
    // with alpha, is left out.
    paths.filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("png_") && name != "png_gray16_trns.png"
    })
}

/// `decode` gives Pillow's pixels (`tests/pillow.rs`): so does what `image` has read of the same file, in its own mode.
#[test]
fn every_mode_becomes_pillows_rgb() {
    let mut modes = Vec::new();
    for path in fixtures() {
        let bytes = std::fs::read(&path).expect("a file");
        // Files that either of the two refuses say nothing here.
        let theirs = image::load_from_memory_with_format(&bytes, image::ImageFormat::Png);
        let (Ok(ours), Ok(theirs)) = (decode(&bytes, &Limits::default()), theirs) else {
            continue;
        };
        assert_eq!(Image::from(&theirs), ours, "{}", path.display());
        modes.push(theirs.color());
        assert_eq!(Image::from(theirs), ours, "{}", path.display());
    }
    use image::ColorType::{L8, L16, La8, La16, Rgb8, Rgb16, Rgba8, Rgba16};
    for mode in [L8, La8, Rgb8, Rgba8, L16, La16, Rgb16, Rgba16] {
        assert!(modes.contains(&mode), "no file of {mode:?}");
    }
}

#[test]
fn floats_are_stretched_as_image_does() {
    let float = image::Rgb32FImage::from_pixel(1, 1, Rgb([0.0, 0.5, 2.0]));
    let image = Image::from(DynamicImage::ImageRgb32F(float));
    assert_eq!(image.data, [0, 128, 255]);
}

#[test]
fn there_and_back_nothing_changes() {
    let path = fixtures().next().expect("a fixture");
    let bytes = std::fs::read(path.with_file_name("png_rgb8.png")).expect("a file");
    for mode in [ColorMode::Rgb, ColorMode::Luma] {
        let ours = decode_as(&bytes, mode, &Limits::default()).expect("an image");
        let theirs = DynamicImage::try_from(&ours).expect("pixels that fit");
        assert_eq!(theirs.color().channel_count(), mode.channels());
        let back = Image::from(theirs)
            .into_mode(mode)
            .expect("pixels that fit");
        assert_eq!(back, ours);
    }
    let rgb = decode(&bytes, &Limits::default()).expect("an image");
    let luma = decode_as(&bytes, ColorMode::Luma, &Limits::default()).expect("an image");
    // Pillow's luma, not that of `image`, whose weights are others.
    let gray = GrayImage::try_from(&rgb).expect("pixels that fit");
    assert_eq!(Image::from(gray), luma);
    let grey = RgbImage::try_from(luma.clone()).expect("pixels that fit");
    assert_eq!(
        Image::from(grey),
        luma.into_mode(ColorMode::Rgb).expect("RGB")
    );
}

#[test]
fn pixels_that_do_not_fit_are_refused() {
    let mut image = Image::from(RgbImage::from_pixel(3, 2, Rgb([1, 2, 3])));
    image.width = 4;
    assert!(matches!(
        DynamicImage::try_from(&image),
        Err(Error::PixelCount { .. })
    ));
    assert!(matches!(
        GrayImage::try_from(image),
        Err(Error::PixelCount { .. })
    ));
    let empty = Image::from(GrayImage::from_pixel(0, 5, Luma([0])));
    assert!(matches!(empty.check(), Err(Error::PixelCount { .. })));
}
