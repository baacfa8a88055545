//! Many files, some of them broken, in bounded memory: `cargo run --release --features demo --example batch FILE...`.

use std::ops::ControlFlow;

use resnest::{Classifier, TopK};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut files: Vec<String> = std::env::args().skip(1).collect();
    if files.is_empty() {
        let photos = "crates/resnest/demo/photos";
        files = ["chelsea.png", "nothing.png", "horse.png"]
            .map(|name| format!("{photos}/{name}"))
            .into();
        files.push("Cargo.toml".into());
    }
    let classifier = Classifier::builder("demo").load()?;
    let pipeline = classifier.pipeline().batch_size(32);
    // Files are read and decoded beside the network; answers come in the order of the files.
    let read = |file: &String| -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(std::fs::read(file)?)
    };
    let ran = pipeline.run(files, read, &TopK(1), |batch| {
        for image in batch {
            match image.answer {
                Ok(best) => println!("{}: {}", image.input, best[0].label),
                Err(error) => println!("{}: no answer, {error}", image.input),
            }
        }
        ControlFlow::Continue(())
    })?;
    println!("{} workers, {:?} in the network", ran.workers, ran.network);
    Ok(())
}
