//! The library's side of `latency.py` and `saturation.py`.
//!
//! `serve_library latency MODEL PHOTOS URL REQUESTS THREADS` classifies a photo through the library, then asks the
//! server for the same one, and so on; `serve_library decode MODEL PHOTOS ROUNDS` takes each photo to the network's
//! input on one thread. On standard output one JSON object with milliseconds.

mod http;

use std::error::Error;
use std::fmt::Display;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use http::{Connection, Target};
use resnest::Classifier;
use resnest::model::keep_freed_memory;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Before each call, for both sides alike: an idle server is one that has nothing left to do from the last request.
const PAUSE: Duration = Duration::from_millis(3);

/// Calls of each side that do not count.
const WARM: usize = 50;

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["latency", model, photos, url, requests, threads] => latency(
            model,
            &read_all(photos)?,
            url,
            requests.parse()?,
            threads.parse()?,
        ),
        ["decode", model, photos, rounds] => decode(model, &read_all(photos)?, rounds.parse()?),
        _ => Err("latency MODEL PHOTOS URL REQUESTS THREADS, or decode MODEL PHOTOS ROUNDS".into()),
    }
}

fn read_all(folder: &str) -> Outcome<Vec<Vec<u8>>> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        paths.push(entry?.path());
    }
    paths.sort();
    Ok(paths.iter().map(std::fs::read).collect::<Result<_, _>>()?)
}

fn latency(
    model: &str,
    photos: &[Vec<u8>],
    url: &str,
    requests: usize,
    threads: usize,
) -> Outcome<()> {
    let classifier = Classifier::builder(model).threads(threads).load()?;
    // As the command does.
    keep_freed_memory();
    let target = Target::parse(url)?;
    let ready: Vec<_> = photos
        .iter()
        .map(|photo| target.request(photo, ""))
        .collect();
    let mut connection = Connection::new(target);
    let (mut library, mut server) = (Vec::new(), Vec::new());
    for turn in 0..WARM + requests {
        let index = turn % photos.len();
        let here = timed(|| Ok(classifier.classify(&photos[index], 5)?.len()))?;
        let there = timed(|| match connection.send(&ready[index])? {
            200 => Ok(5),
            status => Err(format!("the server answers {status}").into()),
        })?;
        if turn >= WARM {
            library.push(here);
            server.push(there);
        }
    }
    let (library, server) = (join(&library), join(&server));
    println!("{{\"library_ms\":[{library}],\"server_ms\":[{server}]}}");
    Ok(())
}

/// Milliseconds of one call on a machine that was idle before it.
fn timed(call: impl FnOnce() -> Outcome<usize>) -> Outcome<f64> {
    sleep(PAUSE);
    let start = Instant::now();
    std::hint::black_box(call()?);
    Ok(start.elapsed().as_secs_f64() * 1000.0)
}

fn join<T: Display>(values: &[T]) -> String {
    values
        .iter()
        .map(T::to_string)
        .collect::<Vec<_>>()
        .join(",")
}

fn decode(model: &str, photos: &[Vec<u8>], rounds: usize) -> Outcome<()> {
    let classifier = Classifier::builder(model).threads(1).load()?;
    keep_freed_memory();
    let mut means = Vec::new();
    for _ in 0..rounds {
        let start = Instant::now();
        for photo in photos {
            std::hint::black_box(classifier.preprocess(photo)?);
        }
        means.push(start.elapsed().as_secs_f64() * 1000.0 / photos.len() as f64);
    }
    means.sort_by(f64::total_cmp);
    println!("{{\"decode_ms\":{}}}", means[means.len() / 2]);
    Ok(())
}
