//! `tensors.txt.gz`: the state dict of every architecture, as timm builds it.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

/// One architecture.
pub struct Listing {
    pub name: String,
    pub parameters: usize,
    /// Name → shape, but for the norms' counters.
    pub tensors: BTreeMap<String, Vec<usize>>,
    /// Norms with running statistics, by their counters.
    pub counted_norms: Vec<String>,
}

/// Every architecture, in the file's order.
pub fn read(path: &Path) -> Vec<Listing> {
    let mut text = String::new();
    let file = std::fs::File::open(path).unwrap();
    flate2::read::GzDecoder::new(file)
        .read_to_string(&mut text)
        .unwrap();
    let mut listings: Vec<Listing> = Vec::new();
    for line in text.lines() {
        let fields: Vec<_> = line.split(' ').collect();
        match (fields.as_slice(), listings.last_mut()) {
            (["#", name, parameters], _) => listings.push(Listing {
                name: (*name).to_owned(),
                parameters: parameters.parse().unwrap(),
                tensors: BTreeMap::new(),
                counted_norms: Vec::new(),
            }),
            ([name, shape], Some(listing)) => {
                let shape = shape.split('x').map(|side| side.parse().unwrap());
                listing.tensors.insert((*name).to_owned(), shape.collect());
            }
            ([name, "scalar", "int64"], Some(listing)) => {
                let norm = name.strip_suffix(".num_batches_tracked").unwrap();
                listing.counted_norms.push(norm.to_owned());
            }
            _ => panic!("not a line of a listing: {line}"),
        }
    }
    listings
}
