//! The image path by its parts, on a 4000x3000 JPEG (4:2:0, quality 90), one thread.

use std::hint::black_box;

use ::image::ExtendedColorType;
use ::image::codecs::jpeg::JpegEncoder;
use criterion::{Criterion, criterion_group, criterion_main};
use resnest::Classifier;
use resnest_image::{CropMode, Image, Interpolation, Kernel, Limits, Transform, decode};

/// Gradients, edges and some noise, so that every block has work for the entropy decoder.
fn scene(width: u32, height: u32) -> Image {
    let mut state = 1u32;
    let mut data = Vec::with_capacity((width * height * 3) as usize);
    for y in 0..height {
        for x in 0..width {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = (state >> 28) as u8;
            let edge = if (x / 37 + y / 53) % 2 == 0 { 60 } else { 0 };
            data.extend(
                [(x / 20) as u8 / 2, (y / 15) as u8 / 2, ((x + y) / 40) as u8]
                    .map(|v: u8| v.saturating_add(edge).saturating_add(noise)),
            );
        }
    }
    Image::new(width, height, 3, data).expect("a consistent image")
}

/// Whatever the network: its preprocessing is that of ImageNet at 224 pixels.
fn at_224() -> Classifier {
    let ours = Transform::default();
    let builder = Classifier::builder("demo")
        .threads(1)
        .input_size(ours.size)
        .crop_pct(ours.crop_pct)
        .crop_mode(ours.crop_mode)
        .interpolation(ours.interpolation);
    builder.load().expect("the demo model")
}

fn image_path(c: &mut Criterion) {
    let photo = scene(4000, 3000);
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, 90)
        .encode(
            &photo.data,
            photo.width,
            photo.height,
            ExtendedColorType::Rgb8,
        )
        .expect("a JPEG");
    let limits = Limits::default();
    let transform = Transform::default();
    let mut group = c.benchmark_group("image");
    group.sample_size(10);
    let classifier = at_224();
    group.bench_function("jpeg to pixels 224, as the command", |b| {
        b.iter(|| classifier.preprocess(black_box(&jpeg)));
    });
    group.bench_function("jpeg decode, whole", |b| {
        b.iter(|| decode(black_box(&jpeg), &limits))
    });
    for interpolation in [Interpolation::Bilinear, Interpolation::Bicubic] {
        for kernel in [Kernel::Auto, Kernel::Portable] {
            let transform = Transform {
                interpolation,
                ..Transform::default()
            };
            group.bench_function(format!("crop 224 {interpolation} {kernel:?}"), |b| {
                b.iter(|| transform.crop_with(black_box(&photo), kernel));
            });
        }
    }
    let squash = Transform {
        crop_mode: CropMode::Squash,
        ..Transform::default()
    };
    group.bench_function("crop 224 squash", |b| {
        b.iter(|| squash.crop(black_box(&photo)))
    });
    let crop = transform.crop(&photo).expect("a crop");
    let mut tensor = vec![0.0; transform.len()];
    group.bench_function("normalise 224", |b| {
        b.iter(|| transform.normalize_into(black_box(&crop), &mut tensor));
    });
    group.finish();
}

criterion_group!(benches, image_path);
criterion_main!(benches);
