//! Results for people.

use comfy_table::{CellAlignment, Table, presets};

use super::cores::Expected;
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

/// One row a step: tasks, the longest, what is serial, then milliseconds on each number of threads; the sums; the forward
/// as always, its efficiency, and what was measured.
pub fn expected(expected: &Expected) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let words = ["layer", "tasks", "longest", "serial"].map(str::to_owned);
    let counts = expected.threads.iter().map(ToString::to_string);
    table.set_header(words.into_iter().chain(counts));
    let ms = |ms: f64| format!("{ms:.3}");
    for step in &expected.steps {
        let first = [
            step.path.clone(),
            step.tasks.to_string(),
            ms(step.longest_ms),
            ms(step.serial_ms),
        ];
        table.add_row(first.into_iter().chain(step.ms.iter().copied().map(ms)));
    }
    let of_all = |place: usize| expected.steps.iter().map(|step| step.ms[place]).sum();
    let sums = (0..expected.threads.len()).map(|place| ms(of_all(place)));
    let serial = expected.steps.iter().map(|step| step.serial_ms).sum();
    let first = ["sum", "", "", &ms(serial)].map(str::to_owned);
    table.add_row(first.into_iter().chain(sums));
    let alone = ms(expected.serial_ms);
    let mut row = |name: &str, cells: Vec<String>| {
        let serial = if name == "forward" { &alone } else { "" };
        let first = [name, "", "", serial].map(str::to_owned);
        table.add_row(first.into_iter().chain(cells));
    };
    row(
        "forward",
        expected.forward_ms.iter().copied().map(ms).collect(),
    );
    let percent = |share: &f64| format!("{:.0}%", 100.0 * share);
    row(
        "efficiency",
        expected.efficiency.iter().map(percent).collect(),
    );
    let seen = |seen: &Option<f64>| seen.map_or(String::new(), ms);
    row("measured", expected.measured_ms.iter().map(seen).collect());
    let numbers: Vec<_> = (1..expected.threads.len() + 4).collect();
    aligned(table, &numbers)
}

fn aligned(mut table: Table, numbers: &[usize]) -> String {
    for &index in numbers {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}
