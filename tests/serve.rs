//! `resnest serve` as its users meet it: a process, an address, and clients that know nothing of this code.

#[path = "serve/answers.rs"]
mod answers;
#[path = "serve/clients.rs"]
mod clients;
mod common;
#[path = "serve/doors.rs"]
mod doors;
#[path = "serve/life.rs"]
mod life;
#[path = "serve/server.rs"]
mod server;
