//! The hub client against a server on the loopback that can fail in every way a hub does.

mod command;
mod common;
mod faults;
mod happy;
mod patience;
mod photo;
mod processes;
mod python;
mod refusals;
mod server;
mod unverified;

#[allow(dead_code, reason = "shared by #[path]; here only weights are wanted")]
#[path = "../golden/fixture.rs"]
mod fixture;
#[allow(dead_code, reason = "shared by #[path]; here only weights are wanted")]
#[path = "../golden/formula.rs"]
mod formula;
#[path = "../family/weights.rs"]
mod weights;
