//! Networks in 8-bit integers: calibrated on images, written as a checkpoint that loads like any other.
//!
//! ```no_run
//! use resnest::quantize::{Options, Quantizer};
//! use resnest::{Classifier, ClassifierOptions};
//!
//! let quantizer = Quantizer::load("demo", &ClassifierOptions::default(), Options::default())?;
//! let photos = ["a.jpg", "b.jpg"]; // a few hundred of the kind that will be classified
//! let read = |i: usize| std::fs::read(photos[i]);
//! let quantized = quantizer.run(photos.len(), read, |_| {})?;
//! quantized.write("demo-int8.safetensors".as_ref())?;
//! let classifier = Classifier::builder("demo").checkpoint("demo-int8.safetensors").load()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Weights are symmetric, with a scale for each output channel; inputs have one scale for all channels, whose range leaves
//! out what makes the mean squared error least. What rounding moves the means of a layer by is taken off its norm's bias
//! (Nagel et al., *Data-Free Quantization through Weight Equalization and Bias Correction*, section 4.2,
//! [arXiv:1906.04721]), here from the measured means of every tap of a kernel, borders included. The first layer, attention,
//! narrow groups and the classifier stay in f32.
//!
//! [arXiv:1906.04721]: https://arxiv.org/abs/1906.04721

mod file;
mod layers;
mod network;
mod observe;
mod quantized;
mod quantizer;
mod range;
mod simulate;
mod weights;

pub use layers::Kept;
pub use quantized::Quantized;
pub use quantizer::{Looked, Options, Quantizer};
pub use simulate::{Simulation, fake_quantise};

/// The indices of `samples` of `images` images, evenly spaced from the first on; all of them where there are no more.
pub fn evenly_spaced(images: usize, samples: usize) -> Vec<usize> {
    let samples = samples.min(images);
    let at = |i: usize| (i as u128 * images as u128 / samples as u128) as usize;
    (0..samples).map(at).collect()
}
