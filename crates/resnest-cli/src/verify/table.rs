//! The comparison for people.

use comfy_table::{CellAlignment, Table, presets};
use resnest::verify::{Report, StageReport};

/// The table under its heading, the bars, and the verdict.
pub fn text(head: &str, report: &Report) -> String {
    let plural = if report.images == 1 { "" } else { "s" };
    let images = format!("{} image{plural}", report.images);
    let mut lines = vec![format!("{head}; {images}"), String::new()];
    lines.push(table(&report.stages));
    lines.push(String::new());
    lines.push(format!("bars: {}", report.bars));
    let sampled = |s: &StageReport| s.values < s.shape.iter().product();
    if report.stages.iter().any(sampled) {
        lines
            .push("values: those that the reference recorded of each stage, evenly strided".into());
    }
    lines.extend(report.notes.iter().map(|note| format!("note: {note}")));
    lines.push(verdict(report));
    lines.join("\n")
}

fn table(stages: &[StageReport]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "stage",
        "shape",
        "values",
        "max |Δ|",
        "of largest",
        "relative",
        "1 - cosine",
        "to f64",
        "its to f64",
        "ratio",
        "",
    ]);
    for stage in stages {
        table.add_row(row(stage));
    }
    for index in 2..10 {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

fn row(s: &StageReport) -> [String; 11] {
    let shape: Vec<String> = s.shape.iter().map(ToString::to_string).collect();
    let small = |v: f64| match v {
        0.0 => "0".to_owned(),
        v => format!("{v:.1e}"),
    };
    let optional = |v: Option<f64>| v.map_or(String::new(), small);
    let of_largest = match s.max_diff {
        0.0 => 0.0,
        diff => diff / s.largest,
    };
    [
        s.stage.clone(),
        shape.join("x"),
        s.values.to_string(),
        small(s.max_diff),
        small(of_largest),
        small(s.relative_error),
        // A sum's own rounding can leave a cosine just above 1.
        small((1.0 - s.cosine).max(0.0)),
        optional(s.error_to_f64),
        optional(s.reference_error_to_f64),
        s.ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")),
        (if s.passed { "PASS" } else { "FAIL" }).to_owned(),
    ]
}

fn verdict(report: &Report) -> String {
    let Some(first) = report.first_departure() else {
        return format!("PASS: all {} stages", report.stages.len());
    };
    let failed = report.stages.iter().filter(|s| !s.passed).count();
    let reason = first.reason.as_deref().unwrap_or("it kept no bar");
    format!(
        "FAIL: {} departs first ({reason}); {failed} of {} stages fail",
        first.stage,
        report.stages.len()
    )
}
