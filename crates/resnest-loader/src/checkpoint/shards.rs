//! Sharded checkpoints: `model.safetensors.index.json` maps each tensor to the file that holds it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::{Content, read_file};
use crate::error::{Error, Result};
use crate::loader::read_limited;

/// An index larger than this is refused; real ones take about a hundred bytes a tensor.
const MAX_INDEX: u64 = 64 << 20;

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The shard files an index names, each once, in order. They lie beside the index.
///
/// # Errors
/// [`Error::Index`] when the index is malformed or a name would leave its folder.
pub(crate) fn files(index: &Path) -> Result<BTreeSet<String>> {
    Ok(parse(index)?.weight_map.into_values().collect())
}

fn parse(path: &Path) -> Result<Index> {
    let io = |source| Error::Io {
        path: path.to_path_buf(),
        source,
    };
    let problem = |problem| Error::Index {
        origin: path.display().to_string(),
        problem,
    };
    let text = read_limited(path, MAX_INDEX).map_err(io)?;
    let text =
        text.ok_or_else(|| problem(format!("more than {MAX_INDEX} bytes, which are refused")))?;
    parse_text(&text).map_err(problem)
}

/// An index's JSON, which names no file but those beside it.
fn parse_text(text: &[u8]) -> std::result::Result<Index, String> {
    let index: Index = serde_json::from_slice(text).map_err(|e| e.to_string())?;
    for (tensor, file) in &index.weight_map {
        let mut parts = Path::new(file).components();
        if !matches!(
            (parts.next(), parts.next()),
            (Some(Component::Normal(_)), None)
        ) {
            return Err(format!(
                "tensor {tensor}: '{file}' is not a file beside the index"
            ));
        }
    }
    Ok(index)
}

/// The number of tensors that an index's text names; for tests that make up the text.
pub(crate) fn count(text: &[u8]) -> std::result::Result<usize, String> {
    Ok(parse_text(text)?.weight_map.len())
}

/// Reads every shard and holds the index to what they contain.
pub(crate) fn read(path: &Path) -> Result<Content> {
    let index = parse(path)?;
    let origin = path.display().to_string();
    let mut all = Content::default();
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    let shards: BTreeSet<&String> = index.weight_map.values().collect();
    for shard in shards {
        let file: PathBuf = path.with_file_name(shard);
        let (_, content) = read_file(&file, &file.display().to_string())?;
        for tensor in &content.tensors {
            if let Some(first) = seen.insert(tensor.name.clone(), shard.clone()) {
                return Err(Error::Duplicate {
                    origin,
                    tensor: tensor.name.clone(),
                    first,
                    second: shard.clone(),
                });
            }
        }
        all.tensors.extend(content.tensors);
        all.strays.extend(content.strays);
        all.metadata.extend(content.metadata);
    }
    agree(&index, &seen).map_err(|problem| Error::Index { origin, problem })?;
    Ok(all)
}

fn agree(index: &Index, seen: &BTreeMap<String, String>) -> std::result::Result<(), String> {
    for (tensor, file) in &index.weight_map {
        match seen.get(tensor) {
            Some(found) if found == file => {}
            Some(found) => return Err(format!("tensor {tensor} is in {found}, not in {file}")),
            None => return Err(format!("tensor {tensor} is not in {file}")),
        }
    }
    match seen
        .iter()
        .find(|(tensor, _)| !index.weight_map.contains_key(*tensor))
    {
        Some((tensor, file)) => Err(format!("tensor {tensor} of {file} is not listed")),
        None => Ok(()),
    }
}
