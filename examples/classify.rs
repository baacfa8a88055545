//! The best classes of one image: `cargo run --release --features demo --example classify [IMAGE] [MODEL]`.

use resnest::{Classifier, Error};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let photo = "crates/resnest/demo/photos/chelsea.png";
    let image = arguments.next().unwrap_or_else(|| photo.into());
    let model = arguments.next().unwrap_or_else(|| "demo".into());
    let classifier = Classifier::builder(model).load()?;
    match classifier.classify(&std::fs::read(&image)?, 3) {
        Ok(best) => {
            for class in best {
                let words = class.description.unwrap_or(class.label);
                println!("{:5.1}% {words}", 100.0 * class.probability);
            }
        }
        Err(error @ Error::Image(_)) => println!("{image} is no image: {}", error.with_causes()),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
