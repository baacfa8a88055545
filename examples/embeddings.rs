//! How alike two images are, by the cosine of their embeddings: `cargo run --release --features demo --example embeddings`.

use resnest::Classifier;
use resnest::features::Layer;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let photo = |name| std::fs::read(format!("crates/resnest/demo/photos/{name}.png"));
    let photos = [photo("chelsea")?, photo("horse")?, photo("chelsea")?];
    // Of a network for embeddings alone the classifier need not be there.
    let classifier = Classifier::builder("demo").headless(true).load()?;
    let rows = classifier.features(&photos, Layer::PreLogits);
    let rows: Vec<Vec<f32>> = rows.into_iter().collect::<Result<_, _>>()?;
    println!("{} values each", rows[0].len());
    println!("cat and horse {:.3}", cosine(&rows[0], &rows[1]));
    println!("cat and cat   {:.3}", cosine(&rows[0], &rows[2]));
    Ok(())
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
