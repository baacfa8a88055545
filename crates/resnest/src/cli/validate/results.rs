//! timm's `--results-file`.

use std::path::Path;

use anyhow::{Context, Result};
use resnest::validate::{Row, Validation};
use serde::Serialize;

use super::args::{FileArgs, ResultsFormat};

/// Writes the rows of the models that were gone through to their end, best first.
pub fn write(args: &FileArgs, all: &[&Validation]) -> Result<()> {
    let Some(path) = &args.results_file else {
        return Ok(());
    };
    let mut rows: Vec<&Row> = all
        .iter()
        .filter(|v| !v.interrupted)
        .map(|v| &v.row)
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    rows.sort_by(|a, b| b.top1.total_cmp(&a.top1));
    let by_ending = match path.extension().is_some_and(|ending| ending == "json") {
        true => ResultsFormat::Json,
        false => ResultsFormat::Csv,
    };
    let bytes = match args.results_format.unwrap_or(by_ending) {
        ResultsFormat::Csv => csv(&rows)?,
        ResultsFormat::Json => json(&rows)?,
    };
    write_file(path, &bytes)
}

pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// With the line ends that Python's `csv` writes.
fn csv(rows: &[&Row]) -> Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    for row in rows {
        writer.serialize(row)?;
    }
    writer.into_inner().map_err(|e| e.into_error().into())
}

/// One object for one model, an array for several, indented by four.
fn json(rows: &[&Row]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut writer = serde_json::Serializer::with_formatter(&mut bytes, indent);
    match rows {
        [row] => row.serialize(&mut writer)?,
        rows => rows.serialize(&mut writer)?,
    }
    Ok(bytes)
}
