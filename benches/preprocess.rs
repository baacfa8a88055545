//! The way that every command takes from bytes to pixels, for a program that compares it: `image_vs_pillow.py`.
//!
//! A path on each line of standard input; on each line of standard output `ok NANOSECONDS` that
//! [`Classifier::preprocess`] took for that file, read before, or `error TEXT`. One thread, 224 pixels, bilinear.

use std::error::Error;
use std::io::{BufRead, Write};
use std::time::Instant;

use resnest::{Classifier, Interpolation};

fn main() -> Result<(), Box<dyn Error>> {
    let builder = Classifier::builder("demo").threads(1).input_size(224);
    let builder = builder
        .crop_pct(0.875)
        .interpolation(Interpolation::Bilinear);
    let classifier = builder.load()?;
    let mut stdout = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        match time(&classifier, &line?) {
            Ok(nanoseconds) => writeln!(stdout, "ok {nanoseconds}")?,
            Err(error) => writeln!(stdout, "error {error}")?,
        }
        stdout.flush()?;
    }
    Ok(())
}

fn time(classifier: &Classifier, path: &str) -> Result<u128, Box<dyn Error>> {
    let bytes = std::fs::read(path)?;
    let start = Instant::now();
    let pixels = classifier.preprocess(&bytes)?;
    let elapsed = start.elapsed();
    std::hint::black_box(&pixels);
    Ok(elapsed.as_nanos())
}
