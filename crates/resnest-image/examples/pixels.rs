//! A line server around the crate, driven by the Python scripts in `crates/resnest-image/tests/pillow` and `benches`.
//!
//! One command a line on stdin, one answer a line on stdout; arguments are separated by tabs:
//! - `decode MODE PATH`
//! - `upright MODE PATH`: the same, turned by the EXIF orientation
//! - `crop HEIGHT WIDTH CROP_PCT CROP_MODE INTERPOLATION PASS_ORDER MODE PATH`
//! - `time PATH`: bytes to the default 224 tensor, file already read
//!
//! Answers: `ok WIDTH HEIGHT SHA256`, `ok NANOSECONDS`, or `error TEXT`. MODE is `rgb` or `luma`.

use std::error::Error;
use std::io::{BufRead, Write};
use std::time::Instant;

use resnest_image::{ColorMode, DecodeOptions, Image, Limits, Transform, decode_as, decode_with};
use sha2::{Digest, Sha256};

fn main() -> Result<(), Box<dyn Error>> {
    let mut stdout = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let answer = match answer(&line?) {
            Ok(answer) => format!("ok {answer}"),
            Err(error) => format!("error {error}"),
        };
        writeln!(stdout, "{answer}")?;
        stdout.flush()?;
    }
    Ok(())
}

fn answer(line: &str) -> Result<String, Box<dyn Error>> {
    let limits = Limits::default();
    let fields: Vec<&str> = line.split('\t').collect();
    match fields[..] {
        ["decode", mode, path] => Ok(describe(&decode_as(
            &std::fs::read(path)?,
            mode.parse()?,
            &limits,
        )?)),
        ["upright", mode, path] => {
            let options = DecodeOptions {
                color_mode: mode.parse()?,
                exif_orientation: true,
            };
            Ok(describe(&decode_with(
                &std::fs::read(path)?,
                &options,
                &limits,
            )?))
        }
        [
            "crop",
            height,
            width,
            crop_pct,
            crop_mode,
            interpolation,
            pass_order,
            mode,
            path,
        ] => {
            let luma = mode.parse::<ColorMode>()? == ColorMode::Luma;
            let transform = Transform {
                size: (height.parse()?, width.parse()?),
                crop_pct: crop_pct.parse()?,
                crop_mode: crop_mode.parse()?,
                interpolation: interpolation.parse()?,
                pass_order: pass_order.parse()?,
                mean: if luma {
                    vec![0.5]
                } else {
                    vec![0.485, 0.456, 0.406]
                },
                std: if luma {
                    vec![0.25]
                } else {
                    vec![0.229, 0.224, 0.225]
                },
            };
            Ok(describe(&transform.crop(&decode_as(
                &std::fs::read(path)?,
                transform.color_mode(),
                &limits,
            )?)?))
        }
        ["time", path] => {
            let bytes = std::fs::read(path)?;
            let start = Instant::now();
            let tensor = Transform::default().apply(&bytes, &limits)?;
            let elapsed = start.elapsed();
            std::hint::black_box(&tensor);
            Ok(elapsed.as_nanos().to_string())
        }
        _ => Err(format!("unknown command: {line}").into()),
    }
}

fn describe(image: &Image) -> String {
    let digest = Sha256::digest(&image.data);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{} {} {digest}", image.width, image.height)
}
