//! The zip layout of `torch.save` since 1.6: `<name>/data.pkl` and `<name>/data/<key>`, all stored
//! uncompressed, so that storages are read in place.

use std::io::Cursor;
use std::sync::Arc;

use ::zip::{CompressionMethod, ZipArchive};

use super::Content;
use super::bytes::Bytes;
use super::pickle;
use super::torch::{StateDict, Storages, fault};
use crate::error::{Error, Result};

/// The first bytes of a zip archive.
pub(crate) const MAGIC: &[u8] = b"PK\x03\x04";

/// Reads the state dict of a zip checkpoint.
pub(crate) fn read(bytes: &Arc<Bytes>, origin: &str) -> Result<Content> {
    let records = records(bytes, origin)?;
    let problem = |problem: String| Error::Zip {
        origin: origin.into(),
        problem,
    };
    let (prefix, pickle_at) = records
        .iter()
        .find_map(|(name, at)| Some((name.strip_suffix("data.pkl")?, *at)))
        .filter(|(prefix, _)| prefix.is_empty() || prefix.ends_with('/'))
        .ok_or_else(|| problem("no data.pkl in it: this is no checkpoint of torch.save".into()))?;
    check_byte_order(bytes, &records, prefix).map_err(problem)?;
    let folder = format!("{prefix}data/");
    let storages: Storages = records
        .iter()
        .filter_map(|(name, at)| Some((name.strip_prefix(&folder)?.to_string(), *at)))
        .collect();
    let pickle = pickle::read(slice(bytes, pickle_at)).map_err(|f| fault(origin, f))?;
    StateDict {
        origin,
        pickle: &pickle,
        storages: &storages,
        bytes,
    }
    .read()
}

/// Every record's name, first byte and length, each checked to lie inside the file.
fn records(bytes: &Bytes, origin: &str) -> Result<Vec<(String, (usize, usize))>> {
    let whole: &[u8] = bytes;
    let problem = |problem: String| Error::Zip {
        origin: origin.into(),
        problem,
    };
    let mut archive =
        ZipArchive::new(Cursor::new(whole)).map_err(|e| problem(format!("{e} (cut short?)")))?;
    if archive.has_duplicate_names() {
        return Err(problem("two records have the same name".into()));
    }
    (0..archive.len())
        .map(|index| {
            let record = archive
                .by_index_raw(index)
                .map_err(|e| problem(format!("record {index}: {e}")))?;
            let name = record
                .name()
                .map_err(|e| problem(format!("record {index}: {e}")))?
                .into_owned();
            let bad = |what: &str| problem(format!("record {name}: {what}"));
            if record.compression() != CompressionMethod::Stored || record.encrypted() {
                return Err(bad(
                    "compressed or encrypted; torch.save stores records as they are",
                ));
            }
            if record.size() != record.compressed_size() {
                return Err(bad(
                    "its two sizes differ, though it is stored uncompressed",
                ));
            }
            let at = record.data_start().zip(Some(record.size()));
            let at = at.and_then(|(start, len)| {
                Some((usize::try_from(start).ok()?, usize::try_from(len).ok()?))
            });
            let inside = at.filter(|(start, len)| {
                start
                    .checked_add(*len)
                    .is_some_and(|end| end <= whole.len())
            });
            let at = inside.ok_or_else(|| bad("reaches outside the file"))?;
            Ok((name, at))
        })
        .collect()
}

fn check_byte_order(
    bytes: &Bytes,
    records: &[(String, (usize, usize))],
    prefix: &str,
) -> std::result::Result<(), String> {
    let name = format!("{prefix}byteorder");
    // absent before torch 2.1, which wrote little-endian wherever it ran in practice
    match records
        .iter()
        .find(|(n, _)| *n == name)
        .map(|(_, at)| slice(bytes, *at))
    {
        None | Some(b"little") => Ok(()),
        Some(_) => {
            Err("saved on a big-endian machine; save it again on a little-endian one".into())
        }
    }
}

fn slice(bytes: &Bytes, (start, len): (usize, usize)) -> &[u8] {
    bytes
        .get(start..start.saturating_add(len))
        .unwrap_or_default()
}
