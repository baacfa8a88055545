//! The zip layout of `torch.save` since 1.6: `<name>/data.pkl` and `<name>/data/<key>`, all stored
//! uncompressed, so that storages are read in place.

use std::borrow::Cow;
use std::io::BufReader;
use std::sync::Arc;

use ::zip::{CompressionMethod, ZipArchive};

use super::Content;
use super::pickle;
use super::store::Store;
use super::torch::{StateDict, Storages, fault};
use crate::error::{Error, Result};

/// The first bytes of a zip archive.
pub(crate) const MAGIC: &[u8] = b"PK\x03\x04";

/// Records of an archive at most. A checkpoint has one for each storage; the largest training states of
/// these networks have some thousands.
const MAX_RECORDS: usize = 100_000;
/// Bytes read from one place of the archive: a record's header and its name.
const BUFFER: usize = 512;

/// Reads the state dict of a zip checkpoint.
pub(crate) fn read(store: &Arc<Store>) -> Result<Content> {
    let origin = store.origin();
    let records = records(store)?;
    let problem = |problem: String| Error::Zip {
        origin: origin.into(),
        problem,
    };
    let (prefix, pickle_at) = records
        .iter()
        .find_map(|(name, at)| Some((name.strip_suffix("data.pkl")?, *at)))
        .filter(|(prefix, _)| prefix.is_empty() || prefix.ends_with('/'))
        .ok_or_else(|| problem("no data.pkl in it: this is no checkpoint of torch.save".into()))?;
    check_byte_order(store, &records, prefix)?;
    let folder = format!("{prefix}data/");
    let storages: Storages = records
        .iter()
        .filter_map(|(name, at)| Some((name.strip_prefix(&folder)?.to_string(), *at)))
        .collect();
    if pickle_at.1 > pickle::MAX_BYTES {
        let (found, most) = (pickle_at.1, pickle::MAX_BYTES);
        return Err(problem(format!(
            "record {prefix}data.pkl: {found} bytes; more than {most} are refused"
        )));
    }
    let bytes = slice(store, pickle_at, "data.pkl")?;
    let pickle = pickle::read(&bytes).map_err(|f| fault(origin, f))?;
    StateDict {
        pickle: &pickle,
        storages: &storages,
        store,
    }
    .read()
}

/// Every record's name, first byte and length, each checked to lie inside the file.
fn records(store: &Store) -> Result<Vec<(String, (usize, usize))>> {
    let problem = |problem: String| Error::Zip {
        origin: store.origin().into(),
        problem,
    };
    let reader = BufReader::with_capacity(BUFFER, store.cursor());
    let mut archive = ZipArchive::new(reader).map_err(|e| problem(format!("{e} (cut short?)")))?;
    if archive.len() > MAX_RECORDS {
        return Err(problem(format!(
            "{} records; more than {MAX_RECORDS} are refused",
            archive.len()
        )));
    }
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
                    .is_some_and(|end| end <= store.len())
            });
            let at = inside.ok_or_else(|| bad("reaches outside the file"))?;
            Ok((name, at))
        })
        .collect()
}

fn check_byte_order(
    store: &Store,
    records: &[(String, (usize, usize))],
    prefix: &str,
) -> Result<()> {
    let name = format!("{prefix}byteorder");
    // absent before torch 2.1, which wrote little-endian wherever it ran in practice
    let Some((_, (start, length))) = records.iter().find(|(n, _)| *n == name) else {
        return Ok(());
    };
    const LITTLE: &[u8] = b"little";
    let order = slice(store, (*start, (*length).min(LITTLE.len() + 1)), &name)?;
    if *order == *LITTLE {
        return Ok(());
    }
    Err(Error::Zip {
        origin: store.origin().into(),
        problem: "saved on a big-endian machine; save it again on a little-endian one".into(),
    })
}

fn slice<'a>(
    store: &'a Store,
    (start, length): (usize, usize),
    what: &str,
) -> Result<Cow<'a, [u8]>> {
    store.read(start..start.saturating_add(length), what)
}
