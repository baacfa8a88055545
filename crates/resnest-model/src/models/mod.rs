//! One file, or folder, for each of timm's: its blocks under their names there, and the table of its networks.
//!
//! A new family is a file here, a kind of [`Block`](crate::Block), and a line each in [`registry`].

pub(crate) mod registry;
pub(crate) mod res2net;
pub(crate) mod resnest;
pub(crate) mod resnet;
pub(crate) mod senet;
pub(crate) mod sknet;
mod validate;

use crate::config::ResNetConfig;

/// A name and the configuration it stands for.
pub(crate) type Named = (&'static str, fn() -> ResNetConfig);
