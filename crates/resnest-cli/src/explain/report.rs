//! What `resnest explain` says of one image, for people and for programs.

use std::path::PathBuf;

use comfy_table::{CellAlignment, Table, presets};
use resnest::dataset::path_text;
use resnest::explain::{ActivationMap, BlockSplits, Explanation};
use serde_json::{Value, json};

use crate::words::{shown, shown_path};

/// What was found out about one image, and which files show it.
pub struct Seen {
    /// What the image is called.
    pub file: String,
    /// Its maps.
    pub explanation: Explanation,
    /// Overlay and raw map of each map.
    pub files: Vec<[PathBuf; 2]>,
    /// The weights each block gave its splits, if they were asked for.
    pub splits: Option<Vec<BlockSplits>>,
    /// Their picture.
    pub chart: Option<PathBuf>,
}

impl Seen {
    /// For people: a line a map, a table of the splits.
    pub fn text(&self) -> String {
        let image = &self.explanation.image;
        let window = &self.explanation.window;
        let mut text = format!(
            "{} ({}x{}; the model saw {:.0}x{:.0} from {:.0},{:.0})\n",
            shown(&self.file),
            image.width,
            image.height,
            window.width,
            window.height,
            window.x,
            window.y
        );
        for (map, [overlay, _]) in self.maps() {
            let prediction = &map.prediction;
            let name = shown(prediction.description.as_ref().unwrap_or(&prediction.label));
            let ((height, width), (least, most)) = (map.size(), map.range());
            text += &format!(
                "  {:5.1}%  {name}: {height}x{width} map, {least:.2} to {most:.2}{}\n          {} and .npy\n",
                100.0 * prediction.probability,
                if most > 0.0 {
                    ""
                } else {
                    ": nothing speaks for it"
                },
                shown_path(overlay),
            );
        }
        text + &self.splits_text()
    }

    fn splits_text(&self) -> String {
        let Some(splits) = &self.splits else {
            return String::new();
        };
        let radix = splits.first().map_or(0, BlockSplits::radix);
        let about = match radix {
            0 => return "\n  no split attention in this network (radix 0)\n".into(),
            1 => "\n  radix 1: one split, which nothing is weighed against; a sigmoid gates it. Mean gate of each block,\n  and in brackets the middle 80% of channels:".to_owned(),
            _ => format!(
                "\n  mean weight of each split over channels and cardinal groups ({:.2}: no preference),\n  in brackets the middle 80% of channels:",
                1.0 / radix as f64
            ),
        };
        let chart = self.chart.as_ref();
        let chart = chart.map_or(String::new(), |path| format!("\n  {}", shown_path(path)));
        format!("{about}\n{}{chart}\n", table(splits))
    }

    /// For programs: one object.
    pub fn json(&self) -> Value {
        let (image, window) = (&self.explanation.image, &self.explanation.window);
        let maps: Vec<Value> = self
            .maps()
            .map(|(map, files)| map_json(map, files))
            .collect();
        let splits = self.splits.as_ref().map(|blocks| {
            let blocks = blocks.iter().map(|block| {
                json!({"block": block.block, "radix": block.radix(), "mean": block.means(),
                       "p10": quantiles(block, 0.1), "p90": quantiles(block, 0.9)})
            });
            blocks.collect::<Vec<_>>()
        });
        json!({
            "file": self.file,
            "width": image.width,
            "height": image.height,
            "window": {"x": window.x, "y": window.y, "width": window.width, "height": window.height},
            "maps": maps,
            "splits": splits,
            "splits_chart": self.chart.as_ref().map(path_text),
        })
    }

    fn maps(&self) -> impl Iterator<Item = (&ActivationMap, &[PathBuf; 2])> {
        self.explanation.maps.iter().zip(&self.files)
    }
}

fn map_json(map: &ActivationMap, [overlay, raw]: &[PathBuf; 2]) -> Value {
    let (prediction, (height, width)) = (&map.prediction, map.size());
    let (least, most) = map.range();
    json!({
        "index": prediction.index,
        "label": prediction.label,
        "description": prediction.description,
        "probability": prediction.probability,
        "logit": prediction.logit,
        "map_height": height,
        "map_width": width,
        "least": least,
        "most": most,
        "overlay": path_text(overlay),
        "map": path_text(raw),
    })
}

fn quantiles(block: &BlockSplits, share: f64) -> Vec<Option<f32>> {
    (0..block.radix())
        .map(|split| block.quantile(split, share))
        .collect()
}

/// A row a block, a column a split.
fn table(blocks: &[BlockSplits]) -> String {
    let radix = blocks.first().map_or(0, BlockSplits::radix);
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let splits = (1..=radix).map(|split| match radix {
        1 => "gate".to_owned(),
        _ => format!("split {split}"),
    });
    table.set_header(std::iter::once("  block".to_owned()).chain(splits));
    for block in blocks {
        let cells = block.means().into_iter().enumerate().map(|(split, mean)| {
            let end = |share| block.quantile(split, share).unwrap_or(mean);
            format!("{mean:.3} ({:.2}-{:.2})", end(0.1), end(0.9))
        });
        table.add_row(std::iter::once(format!("  {}", block.block)).chain(cells));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}
