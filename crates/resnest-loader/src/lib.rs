//! Under construction.

pub mod hub;
