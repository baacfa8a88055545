//! The demo model: a small ResNeSt trained with timm on CIFAR-10, embedded so that everything works without a network.
//!
//! Feature `demo`; without it there is only the name, and errors that say so.

use resnest_loader::{Checkpoint, Overrides, Resolved};

use crate::Error;

/// What the demo model is called: `--model demo`.
pub const NAME: &str = "demo";

/// Its `config.json`, as timm writes it.
#[cfg(feature = "demo")]
pub const CONFIG: &str = include_str!("../demo/config.json");

/// Its weights, a safetensors file.
#[cfg(feature = "demo")]
pub const WEIGHTS: &[u8] = include_bytes!("../demo/model.safetensors");

/// The bundled photos by name: what `verify --self` looks at.
#[cfg(feature = "demo")]
pub const PHOTOS: [(&str, &[u8]); 2] = [
    ("chelsea.png", include_bytes!("../demo/photos/chelsea.png")),
    ("horse.png", include_bytes!("../demo/photos/horse.png")),
];

/// Everything about it but the loaded network.
///
/// # Errors
/// Overrides that the network cannot take; [`Error::DemoNotBuilt`].
#[cfg(feature = "demo")]
pub fn resolve(overrides: &Overrides) -> Result<Resolved, Error> {
    Ok(resnest_loader::resolve_parts(
        NAME, CONFIG, WEIGHTS, overrides,
    )?)
}

/// Its tensors.
#[cfg(feature = "demo")]
pub(crate) fn checkpoint() -> Result<Checkpoint, Error> {
    Ok(Checkpoint::from_bytes(WEIGHTS, NAME)?)
}

/// What builds without the demo model say in its place.
///
/// # Errors
/// [`Error::DemoNotBuilt`].
#[cfg(not(feature = "demo"))]
pub fn resolve(_: &Overrides) -> Result<Resolved, Error> {
    Err(Error::DemoNotBuilt)
}

#[cfg(not(feature = "demo"))]
pub(crate) fn checkpoint() -> Result<Checkpoint, Error> {
    Err(Error::DemoNotBuilt)
}
