//! The demo model: a small ResNeSt trained with timm on CIFAR-10, embedded so that everything works without a network.

use resnest_loader::{Overrides, Resolved, resolve_parts};

/// What the demo model is called: `--model demo`.
pub const NAME: &str = "demo";

/// Its `config.json`, as timm writes it.
pub const CONFIG: &str = include_str!("../demo/config.json");

/// Its weights, a safetensors file.
pub const WEIGHTS: &[u8] = include_bytes!("../demo/model.safetensors");

/// The bundled photos by name: what `verify --self` looks at.
pub const PHOTOS: [(&str, &[u8]); 2] = [
    ("chelsea.png", include_bytes!("../demo/photos/chelsea.png")),
    ("horse.png", include_bytes!("../demo/photos/horse.png")),
];

/// Everything about it but the loaded network.
///
/// # Errors
/// Overrides that the network cannot take.
pub fn resolve(overrides: &Overrides) -> Result<Resolved, resnest_loader::Error> {
    resolve_parts(NAME, CONFIG, WEIGHTS, overrides)
}
