//! Results for people.

use comfy_table::{CellAlignment, Table, presets};

use super::measure::{Measured, Profile};

/// One row a model.
pub fn table(measured: &[&Measured]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "model",
        "input",
        "batch",
        "threads",
        "on",
        "precision",
        "median ms",
        "min ms",
        "images/s",
        "GMAC",
        "load ms",
        "peak MB",
        "runs",
    ]);
    for m in measured {
        let [_, height, width] = m.input_size;
        table.add_row([
            m.model.clone(),
            format!("{height}x{width}"),
            m.batch_size.to_string(),
            m.threads.to_string(),
            m.device.clone(),
            m.precision.clone(),
            format!("{:.2}", m.median_ms),
            format!("{:.2}", m.min_ms),
            format!("{:.1}", m.images_per_second),
            format!("{:.2}", m.gmacs),
            format!("{:.0}", m.load_ms),
            m.peak_rss_bytes
                .map_or("?".to_owned(), |bytes| format!("{:.0}", bytes as f64 / 1e6)),
            m.runs.to_string(),
        ]);
    }
    let numbers = [1, 2, 3, 6, 7, 8, 9, 10, 11, 12];
    aligned(table, &numbers)
}

/// One row a step, and the sum.
pub fn profile(profile: &Profile) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["layer", "operation", "algorithm", "ms", "share", "GFLOP/s"]);
    for layer in &profile.layers {
        table.add_row([
            layer.path.clone(),
            layer.operation.clone(),
            layer.algorithm.clone().unwrap_or_default(),
            format!("{:.3}", layer.ms),
            format!("{:.1}%", 100.0 * layer.share),
            layer
                .gflops
                .map_or(String::new(), |gflops| format!("{gflops:.1}")),
        ]);
    }
    let sum = format!("{:.3}", profile.layers_ms);
    table.add_row(["sum", "", "", &sum, "100.0%", ""]);
    aligned(table, &[3, 4, 5])
}

fn aligned(mut table: Table, numbers: &[usize]) -> String {
    for &index in numbers {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}
