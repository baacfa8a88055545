//! One file, or folder, for each of timm's: blocks under its names, and the table of the file's networks.

pub(crate) mod res2net;
pub(crate) mod resnest;
pub(crate) mod resnet;
pub(crate) mod senet;
pub(crate) mod sknet;
pub(crate) mod validate;
