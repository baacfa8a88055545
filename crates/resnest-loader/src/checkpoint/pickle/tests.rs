//! Pickles written by hand, opcode by opcode.

use super::*;

fn problem(bytes: &[u8]) -> String {
    match read(bytes) {
        Err(Fault::Bad { problem, .. }) => problem,
        Err(Fault::Forbidden { global }) => format!("forbidden {global}"),
        Ok(pickle) => panic!("read as {:?}", pickle.root),
    }
}
