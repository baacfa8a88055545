//! The hub client against a server on the loopback that can fail in every way a hub does.

mod command;
mod common;
mod faults;
mod happy;
mod processes;
mod python;
mod refusals;
mod server;
