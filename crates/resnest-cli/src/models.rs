//! `resnest models`: what can be had, and what is here already.

use anyhow::anyhow;
use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use resnest::loader::{Entry, Loader};
use resnest::{Overrides, demo};
use serde_json::{Value, json};

use super::args::{HubArgs, TableFormat};
use super::words::shown_lines;
use super::{Failure, Status, load, print};

#[derive(Debug, Args)]
pub struct ModelsArgs {
    /// Only names that match: * and ? are wildcards, a plain word matches anywhere
    #[arg(value_name = "PATTERN")]
    pub pattern: Option<String>,
    /// A table, or an array of objects
    #[arg(long, value_enum, default_value_t)]
    pub format: TableFormat,
    #[command(flatten)]
    pub hub: HubArgs,
}

/// Lists the manifest's entries that match.
pub fn run(args: &ModelsArgs) -> Result<Status, Failure> {
    let loader = load::loader(&args.hub)?;
    let pattern = match args.pattern.as_deref() {
        None => "*".to_owned(),
        Some(pattern) if pattern.contains(['*', '?']) => pattern.to_owned(),
        Some(word) => format!("*{word}*"),
    };
    let entries: Vec<&Entry> = loader.manifest().matching(&pattern).collect();
    if entries.is_empty() && args.pattern.as_deref() == Some(demo::NAME) {
        let problem = "demo is part of this program and in no list: `resnest info demo` shows it";
        return Err(Failure::Usage(anyhow!(problem)));
    }
    if entries.is_empty() {
        let all = loader.manifest().iter().count();
        return Err(Failure::Usage(anyhow!(
            "no model matches {pattern:?}; without a pattern `resnest models` lists all {all}"
        )));
    }
    match args.format {
        TableFormat::Text => print(&shown_lines(&table(&loader, &entries))),
        TableFormat::Json => {
            let all: Vec<Value> = entries.iter().map(|entry| object(&loader, entry)).collect();
            print(&serde_json::to_string_pretty(&all).unwrap_or_default())
        }
    }
}

/// The licence of the weights; what forbids commercial use is said in words.
fn licence(entry: &Entry) -> String {
    let licence = entry.pretrained.license.as_deref().unwrap_or("not stated");
    match entry.is_non_commercial() {
        true => format!("{licence} (non-commercial)"),
        false => licence.to_owned(),
    }
}

fn cached(loader: &Loader, entry: &Entry) -> bool {
    let source = resnest::ModelSource::Named(entry.name.clone());
    let resolved = loader.resolve(&source, &Overrides::default());
    resolved.is_ok_and(|resolved| loader.locate(&resolved).is_some())
}

fn table(loader: &Loader, entries: &[&Entry]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "model",
        "parameters",
        "GMAC",
        "input",
        "crop",
        "filter",
        "top-1",
        "top-5",
        "licence",
        "in cache",
    ]);
    for entry in entries {
        let cfg = &entry.pretrained;
        let [_, height, width] = cfg.input_size;
        let percent = |value: Option<f64>| value.map_or("?".to_owned(), |v| format!("{v:.3}"));
        table.add_row([
            entry.name.clone(),
            entry
                .params
                .map_or("?".to_owned(), |n| format!("{:.2}M", n as f64 / 1e6)),
            entry.gmacs.map_or("?".to_owned(), |n| format!("{n:.2}")),
            format!("{height}x{width}"),
            cfg.crop_pct.to_string(),
            cfg.interpolation.clone(),
            percent(entry.top1),
            percent(entry.top5),
            licence(entry),
            if cached(loader, entry) { "yes" } else { "no" }.to_owned(),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

fn object(loader: &Loader, entry: &Entry) -> Value {
    json!({
        "name": entry.name,
        "architecture": entry.architecture,
        "repo": entry.repo,
        "revision": entry.revision,
        "url": entry.url,
        "non_commercial": entry.is_non_commercial(),
        "parameters": entry.params,
        "gmacs": entry.gmacs,
        "top1": entry.top1,
        "top5": entry.top5,
        "real_top1": entry.real_top1,
        "v2_top1": entry.v2_top1,
        "source": entry.source,
        "pretrained_cfg": entry.pretrained,
        "in_cache": cached(loader, entry),
    })
}
