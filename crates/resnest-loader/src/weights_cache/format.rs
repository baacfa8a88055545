//! What is in a file of packed weights. Numbers are 64 bits, the lowest first.
//!
//! | bytes | hold |
//! |---|---|
//! | 0 to 4096 | magic; lengths of layers and table; checksum of the table; zeros; checksum of all these |
//! | from 4096 | the layers one after the other, as [`PackedConv::write_to`](resnest_model::PackedConv::write_to) wrote them |
//! | the rest | the table: the key, then each layer's name, length and checksum |
//!
//! Every byte is under one of the checksums (XXH3 of 64 bits): they find accidents, not attacks; against those stands
//! who may write to the folder.

use std::ops::Range;

use twox_hash::XxHash3_64;

/// A file begins with these bytes; the last is the version of the format.
const MAGIC: [u8; 8] = *b"RESNEST\x01";
/// Bytes before the first layer: a page.
pub(super) const HEADER: usize = 4096;
const WORD: usize = 8;

/// One layer, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layer {
    pub(super) name: String,
    pub(super) bytes: Range<usize>,
    pub(super) checksum: u64,
}

/// Bytes that belong together, and of which one was changed, have different ones.
pub(super) fn checksum(bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot(bytes)
}

/// The table of layers which follow one another.
pub(super) fn table(key: &str, layers: &[Layer]) -> Vec<u8> {
    let mut table = Vec::new();
    push_text(&mut table, key);
    for layer in layers {
        push_text(&mut table, &layer.name);
        push(&mut table, layer.bytes.len() as u64);
        push(&mut table, layer.checksum);
    }
    table
}

/// The first page of a file whose layers take so many bytes.
pub(super) fn header(layers: usize, table: &[u8]) -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    push(&mut header, layers as u64);
    push(&mut header, table.len() as u64);
    push(&mut header, checksum(table));
    header.resize(HEADER - WORD, 0);
    let sum = checksum(&header);
    push(&mut header, sum);
    header
}

/// The key and the layers of a file, all of which lie inside. What is in the layers has not been looked at.
///
/// # Errors
/// What is wrong with the file.
pub(super) fn parse(file: &[u8]) -> Result<(String, Vec<Layer>), &'static str> {
    let header = file.get(..HEADER).ok_or("cut short")?;
    let (header, sum) = header.split_at(HEADER - WORD);
    if !header.starts_with(&MAGIC) {
        return Err("no file of packed weights of this version");
    }
    if Reader(sum).number()? != checksum(header) {
        return Err("its header is damaged");
    }
    let mut numbers = Reader(&header[MAGIC.len()..]);
    let (layers, table) = (numbers.length()?, numbers.length()?);
    let table_sum = numbers.number()?;
    let end = HEADER
        .checked_add(layers)
        .ok_or("its lengths are impossible")?;
    let found = file.get(end..).ok_or("cut short")?;
    if found.len() != table {
        return Err("not of the length that it states");
    }
    if checksum(found) != table_sum {
        return Err("its table is damaged");
    }
    let mut reader = Reader(found);
    let key = reader.text()?;
    let layers = read_layers(reader, end)?;
    Ok((key, layers))
}

/// The layers of a table, up to byte `end`.
fn read_layers(mut table: Reader, end: usize) -> Result<Vec<Layer>, &'static str> {
    let (mut layers, mut at) = (Vec::new(), HEADER);
    while !table.0.is_empty() {
        let (name, length) = (table.text()?, table.length()?);
        let after = at.checked_add(length).filter(|after| *after <= end);
        let after = after.ok_or("a layer lies outside")?;
        layers.push(Layer {
            name,
            bytes: at..after,
            checksum: table.number()?,
        });
        at = after;
    }
    match at == end {
        true => Ok(layers),
        false => Err("there is more than its table says"),
    }
}

fn push(bytes: &mut Vec<u8>, number: u64) {
    bytes.extend(number.to_le_bytes());
}

fn push_text(bytes: &mut Vec<u8>, text: &str) {
    push(bytes, text.len() as u64);
    bytes.extend(text.as_bytes());
}

/// Bytes that are taken from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], &'static str> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or("its table is cut short")?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u64, &'static str> {
        let bytes = self
            .take(WORD)?
            .first_chunk()
            .ok_or("its table is cut short")?;
        Ok(u64::from_le_bytes(*bytes))
    }

    fn length(&mut self) -> Result<usize, &'static str> {
        usize::try_from(self.number()?).map_err(|_| "its lengths are impossible")
    }

    fn text(&mut self) -> Result<String, &'static str> {
        let length = self.length()?;
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| "a name is no text")?;
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> (Vec<u8>, Vec<Layer>) {
        let data: Vec<u8> = (0..=255).cycle().take(640).collect();
        let layer = |name: &str, bytes: Range<usize>| Layer {
            name: name.to_owned(),
            checksum: checksum(&data[bytes.start - HEADER..bytes.end - HEADER]),
            bytes,
        };
        let layers = vec![
            layer("conv1", HEADER..HEADER + 128),
            layer("layer1.0.conv2", HEADER + 128..HEADER + 576),
            layer("fc", HEADER + 576..HEADER + 640),
        ];
        let table = table("the key", &layers);
        let mut file = header(data.len(), &table);
        file.extend(data);
        file.extend(table);
        (file, layers)
    }

    #[test]
    fn what_is_written_is_read() {
        let (file, layers) = file();
        assert_eq!(parse(&file), Ok(("the key".to_owned(), layers)));
    }

    #[test]
    fn no_byte_of_header_or_table_can_change_unnoticed_and_no_length() {
        let (file, layers) = file();
        let data = HEADER..layers.last().unwrap().bytes.end;
        for at in (0..file.len()).filter(|at| !data.contains(at)) {
            let mut changed = file.clone();
            changed[at] ^= 1 << (at % 8);
            assert!(parse(&changed).is_err(), "{at}");
        }
        for length in 0..file.len() {
            assert!(parse(&file[..length]).is_err(), "{length}");
        }
        let longer = [&file[..], &[0]].concat();
        assert!(parse(&longer).is_err());
    }

    /// Lengths that a file states are compared with what is there, whatever its checksums say.
    #[test]
    fn a_table_that_lies_is_refused() {
        let (file, layers) = file();
        let data = &file[HEADER..HEADER + 640];
        let with = |table: Vec<u8>| [&header(640, &table)[..], data, &table].concat();
        assert!(parse(&with(table("", &layers))).is_ok());
        for length in [0, 64, 639, 641, usize::MAX / 2, usize::MAX] {
            let mut wrong = layers.clone();
            wrong[1].bytes = 0..length;
            let refused = parse(&with(table("", &wrong)));
            assert!(refused.is_err(), "{length}");
        }
        let mut huge = Vec::new();
        push(&mut huge, u64::MAX);
        assert!(parse(&with(huge)).is_err());
        assert!(parse(&header(usize::MAX, &[])).is_err());
    }
}
