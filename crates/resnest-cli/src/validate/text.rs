//! The summary on standard output.

use comfy_table::{CellAlignment, Table, presets};
use resnest::validate::{Agreement, ClassResult, Validation};

/// Classes and pairs that are named.
const NAMED: usize = 5;

/// timm's columns, a row a model, and some lines on each.
pub fn summary(all: &[&Validation]) -> String {
    let mut parts = vec![table(all)];
    parts.extend(all.iter().map(|v| details(v)));
    parts.join("\n\n")
}

fn table(all: &[&Validation]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    // A model in several precisions, one below the other.
    let several = all.iter().any(|v| v.agreement.is_some());
    let mut header = vec!["model"];
    if several {
        header.extend(["precision", "agreement"]);
    }
    header.extend([
        "top1",
        "top1_err",
        "top5",
        "top5_err",
        "param_count",
        "img_size",
        "crop_pct",
        "interpolation",
    ]);
    table.set_header(header);
    for v in all {
        let row = &v.row;
        let mut cells = vec![row.model.clone()];
        if several {
            let agreement = v.agreement.as_ref().and_then(|a| a.percent);
            cells.push(v.precision.to_owned());
            cells.push(agreement.map_or("-".to_owned(), |p| format!("{p:.3}")));
        }
        let percents = [row.top1, row.top1_err, row.top5, row.top5_err];
        cells.extend(percents.map(|p| p.map_or("-".to_owned(), |p| format!("{p:.3}"))));
        cells.push(format!("{:.2}", row.param_count));
        cells.extend([row.img_size.to_string(), row.crop_pct.to_string()]);
        cells.push(row.interpolation.clone());
        table.add_row(cells);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

fn details(v: &Validation) -> String {
    let mut lines = vec![format!("{}: {}", called(v), counted(v))];
    let mut line = |name: &str, text: String| lines.push(format!("  {name:<15}{text}"));
    if let Some(own) = v.own_labels {
        let percent = |p: Option<f64>| p.map_or("-".to_owned(), |p| format!("{p:.3}%"));
        let text = format!("top-1 {}, top-5 {}", percent(own.top1), percent(own.top5));
        line("by own labels", text);
    }
    if let (Some(loss), Some(ece)) = (v.loss, v.ece) {
        line(
            "loss",
            format!("{loss:.4}; expected calibration error {ece:.4}"),
        );
    }
    if let Some(Agreement {
        with,
        images,
        percent,
    }) = &v.agreement
    {
        let percent = percent.map_or("-".to_owned(), |p| format!("{p:.3}%"));
        line(
            "agreement",
            format!("{percent} of {images} images have the best class of {with}"),
        );
    }
    line("worst classes", worst(v));
    line("most confused", confused(v));
    line("time", time(v));
    lines.join("\n")
}

/// The model, and where it matters the precision.
fn called(v: &Validation) -> String {
    match &v.agreement {
        Some(_) => format!("{} in {}", v.row.model, v.precision),
        None => v.row.model.clone(),
    }
}

fn counted(v: &Validation) -> String {
    let classes = v.classes.iter().filter(|class| class.images > 0).count();
    let mut text = format!("{} images of {classes} classes in {}", v.images, v.data);
    if v.interrupted {
        text += &format!(", the first of {}", v.total);
    }
    if v.failed > 0 {
        text += &format!("; {} more could not be read and do not count", v.failed);
    }
    text
}

fn worst(v: &Validation) -> String {
    let mut classes: Vec<&ClassResult> = v.classes.iter().filter(|c| c.images > 0).collect();
    classes.sort_by(|a, b| f64::total_cmp(&a.accuracy.unwrap_or(1.0), &b.accuracy.unwrap_or(1.0)));
    let named = classes.iter().take(NAMED).map(|class| {
        let accuracy = 100.0 * class.accuracy.unwrap_or(1.0);
        format!("{} {accuracy:.1}%", v.called(class.index))
    });
    named.collect::<Vec<_>>().join(", ")
}

fn confused(v: &Validation) -> String {
    let pairs = v.confused(NAMED).into_iter();
    let named: Vec<String> = pairs
        .map(|(target, predicted, n)| format!("{} → {} {n}", v.called(target), v.called(predicted)))
        .collect();
    match named.is_empty() {
        true => "none".into(),
        false => named.join(", "),
    }
}

fn time(v: &Validation) -> String {
    let t = &v.timing;
    format!(
        "{:.1} s, {:.1} images/s: network {:.1} s on {}, waiting for images {:.1} s; \
         beside it on {} decoding {:.1} s, resizing {:.1} s",
        t.seconds,
        t.images_per_second,
        t.network_seconds,
        plural(t.threads, "thread"),
        t.waiting_seconds,
        plural(t.workers, "worker"),
        t.decode_seconds,
        t.resize_seconds
    )
}

fn plural(n: usize, word: &str) -> String {
    format!("{n} {word}{}", if n == 1 { "" } else { "s" })
}
