//! Pictures that were once read otherwise than Pillow reads them, each a kind of its own.
//!
//! `pillow/cases/README.md` says what each is; `pillow.json` beside it holds Pillow 13's size and the
//! SHA-256 of its RGB bytes.

use std::fs;
use std::path::Path;

use resnest_image::{Limits, decode};
use sha2::{Digest, Sha256};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_case_is_pillows_or_an_error_where_pillows_is() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pillow/cases");
    let text = fs::read_to_string(folder.join("pillow.json")).expect("pillow.json");
    let all: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let mut wrong = Vec::new();
    for (name, expected) in all.as_object().expect("files") {
        let bytes = fs::read(folder.join(name)).expect("a case");
        let got = decode(&bytes, &Limits::default());
        let right = match (&got, expected["rgb_sha256"].as_str()) {
            (Ok(image), Some(sha)) => {
                let size = [image.width, image.height].map(serde_json::Value::from);
                expected["size"].as_array().is_some_and(|s| *s == size)
                    && hex(&Sha256::digest(&image.data)) == sha
            }
            (Err(_), None) => true,
            _ => false,
        };
        if !right {
            wrong.push(format!("{name}: {:?}", got.map(|i| (i.width, i.height))));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
