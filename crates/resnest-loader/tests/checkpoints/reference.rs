//! Our reading of safetensors headers against that of the `safetensors` crate, over headers written by hand
//! and tens of thousands of their mutations: the same files are read, the same tensors are found in them.

use std::time::{Duration, Instant};

use resnest_loader::{Checkpoint, check};
use resnest_model::ResNetConfig;
use safetensors::SafeTensors;

/// A file of this header and so many bytes of data.
fn file(header: &[u8], data: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.extend((0..data).map(|i| i as u8));
    bytes
}

/// Headers and the bytes of data they speak of.
const HEADERS: [(&str, usize); 25] = [
    (
        r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F16","shape":[],"data_offsets":[8,10]}}"#,
        10,
    ),
    (
        r#"{"__metadata__":null,"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
        4,
    ),
    (
        r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"U8","shape":[1,3],"data_offsets":[0,3]}}"#,
        3,
    ),
    (r#"{"__metadata__":{}}"#, 0),
    (r#"{"__metadata__":[]}"#, 0),
    (r#"{"__metadata__":{"a":1}}"#, 0),
    (r#"{"__metadata__":{"a":null}}"#, 0),
    (r#"{"__metadata__":{"a":"b","a":"c"}}"#, 0),
    (r#"{"__metadata__":{},"__metadata__":null}"#, 0),
    ("{}", 0),
    ("{ }   \n", 0),
    (" \t\r\n{}", 0),
    ("{}\u{a0}", 0),
    ("{}\0", 0),
    (r#"{"a":["F32",[1],[0,4]]}"#, 4),
    (
        r#"{"a":{"dtype":{"F32":null},"shape":[1],"data_offsets":[0,4]}}"#,
        4,
    ),
    (
        r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"more":[[[[1e5,"x"]]]]}}"#,
        4,
    ),
    (
        r#"{"a":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}}"#,
        4,
    ),
    (
        r#"{"a":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}"#,
        1,
    ),
    (
        r#"{"a":{"dtype":"F8_E8M0","shape":[2],"data_offsets":[0,2]}}"#,
        2,
    ),
    (
        r#"{"a":{"dtype":"BOOL","shape":[0,9],"data_offsets":[0,0]},"b":{"dtype":"I64","shape":[0],"data_offsets":[0,0]}}"#,
        0,
    ),
    (
        r#"{"b":{"dtype":"C64","shape":[1],"data_offsets":[8,16]},"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}"#,
        16,
    ),
    (
        r#"{"\u0061\ud83d\ude00":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}"#,
        4,
    ),
    (
        r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
        8,
    ),
    (
        r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
        4,
    ),
];

/// What a mutation puts somewhere into a header.
const PIECES: [&str; 44] = [
    "null",
    "true",
    "0",
    "1",
    "4",
    "8",
    "-1",
    "-0",
    "1.0",
    "1e0",
    "1e999",
    "18446744073709551615",
    "18446744073709551616",
    "4611686018427387904",
    "[]",
    "[0]",
    "{}",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    " ",
    "\n",
    "\t",
    "\u{b}",
    "\u{a0}",
    "\u{feff}",
    "\"\"",
    "\"F32\"",
    "\"F4\"",
    "\"x\":1,",
    "\"__metadata__\":null,",
    "\"__metadata__\":{\"k\":\"v\"},",
    "\"dtype\":",
    "\"shape\":[2],",
    "\"data_offsets\":[0,4]",
    "\"\\ud800\"",
    "\"more\":[[1,{\"y\":null}]],",
    "\0",
    "01",
];

/// A sequence without a pattern (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

/// One change mostly: blind, or where JSON may have something put in.
fn mutated(header: &str, random: &mut Random) -> Vec<u8> {
    let mut bytes = header.as_bytes().to_vec();
    for _ in 0..=random.below(4) / 3 {
        let structural = |(_, byte): &(usize, &u8)| b"{}[],:".contains(byte);
        let places: Vec<usize> = bytes
            .iter()
            .enumerate()
            .filter(structural)
            .map(|(i, _)| i + 1)
            .collect();
        let at = match places.len() {
            0 => random.below(bytes.len() + 1),
            count => match random.below(3) {
                0 => random.below(bytes.len() + 1),
                _ => places[random.below(count)],
            },
        };
        let end = (at + random.below(5)).min(bytes.len());
        match random.below(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let copy = bytes[at..end].to_vec();
                bytes.splice(at..at, copy);
            }
            3 => {
                bytes.splice(at..end, PIECES[random.below(PIECES.len())].bytes());
            }
            _ => {
                bytes.splice(at..at, PIECES[random.below(PIECES.len())].bytes());
            }
        }
    }
    bytes
}

/// How two readings of one file ended.
#[derive(Default, Debug, PartialEq, Eq)]
struct Count {
    both: usize,
    neither: usize,
    twice: usize,
    type_unknown: usize,
}

fn compare(bytes: &[u8], count: &mut Count) {
    let shown = || String::from_utf8_lossy(&bytes[8..]).into_owned();
    let theirs = SafeTensors::deserialize(bytes);
    let ours = Checkpoint::from_bytes(bytes.to_vec(), "ours");
    match (ours, theirs) {
        (Err(_), Err(_)) => count.neither += 1,
        (Ok(_), Err(theirs)) => panic!("the reference refuses ({theirs}): {}", shown()),
        (Err(ours), Ok(_)) => {
            // the two that are refused on purpose
            let text = ours.to_string();
            match text {
                text if text.contains("appears twice") => count.twice += 1,
                text if text.contains("is not supported") => count.type_unknown += 1,
                text => panic!("the reference reads it: {text}: {}", shown()),
            }
        }
        (Ok(ours), Ok(theirs)) => {
            count.both += 1;
            assert_eq!(ours.len(), theirs.len(), "{}", shown());
            for (name, view) in theirs.tensors() {
                let Some(tensor) = ours.get(&name) else {
                    panic!("no tensor {name:?}: {}", shown())
                };
                assert_eq!(tensor.shape(), view.shape(), "{}", shown());
                let dtype = format!("{:?}", view.dtype())
                    .replace("F8_", "F8")
                    .to_lowercase();
                assert_eq!(tensor.dtype().to_string(), dtype, "{}", shown());
                if view.dtype() == safetensors::Dtype::F32 {
                    let (values, _) = view.data().as_chunks::<4>();
                    let wanted: Vec<_> = values.iter().map(|b| u32::from_le_bytes(*b)).collect();
                    let found = tensor.to_f32().unwrap();
                    assert!(found.iter().map(|v| v.to_bits()).eq(wanted), "{}", shown());
                }
            }
        }
    }
}

#[test]
fn headers_are_read_as_the_reference_reads_them() {
    let mut random = Random(20);
    let mut count = Count::default();
    for (header, data) in HEADERS {
        compare(&file(header.as_bytes(), data), &mut count);
        for _ in 0..4000 {
            let data = match random.below(4) {
                0 => random.below(20),
                _ => data,
            };
            compare(&file(&mutated(header, &mut random), data), &mut count);
        }
    }
    println!("{count:?}");
    assert!(count.both > 3000 && count.neither > 20_000, "{count:?}");
    assert!(count.twice > 50 && count.type_unknown > 50, "{count:?}");
}

#[test]
fn metadata_that_is_null_is_none() {
    let (header, data) = HEADERS[1];
    let read = Checkpoint::from_bytes(file(header.as_bytes(), data), "null").unwrap();
    assert_eq!((read.len(), read.metadata().len()), (1, 0));
}

/// A header of so many tensors, each of no elements.
fn many(tensors: usize) -> Vec<u8> {
    let entry = |i: usize| {
        format!(
            "\"layer{i}.conv.weight\":{{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}"
        )
    };
    let entries: Vec<_> = (0..tensors).map(entry).collect();
    file(format!("{{{}}}", entries.join(",")).as_bytes(), 0)
}

#[test]
fn headers_of_a_million_tensors_are_refused_at_once() {
    let start = Instant::now();
    let error = Checkpoint::from_bytes(many(1_000_000), "many").unwrap_err();
    assert!(
        error.to_string().contains("more than 100000 tensors"),
        "{error}"
    );
    // as many as are read are compared with a network's in no time either
    let read = Checkpoint::from_bytes(many(100_000), "many").unwrap();
    let report = check(&read, &ResNetConfig::resnest50d()).unwrap();
    assert_eq!(report.unexpected.len(), 100_000);
    assert!(report.to_string().lines().count() < 40);
    let took = start.elapsed();
    // a second of one CPU; a busy machine takes its time
    assert!(took < Duration::from_secs(20), "{took:?}");
}
