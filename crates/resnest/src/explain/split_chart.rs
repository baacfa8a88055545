//! The picture of a network's split weights: a row for each block, in it a line for each split.

use std::fmt::Write;

use super::splits::BlockSplits;

const LEFT: f64 = 84.0;
const PLOT: f64 = 560.0;
const WIDTH: f64 = LEFT + PLOT + 34.0;
const TOP: f64 = 92.0;
/// Height of one split's line.
const LINE: f64 = 11.0;
/// Between the blocks.
const GAP: f64 = 9.0;

/// An SVG of the weights each block gave its splits: a dot at the mean, a bar over the middle 80% of the channels, a
/// dashed line where all splits weigh the same.
pub fn split_chart(title: &str, blocks: &[BlockSplits]) -> String {
    let radix = blocks.iter().map(BlockSplits::radix).max().unwrap_or(0);
    let chart = Chart {
        radix,
        most: axis_end(blocks),
        row: radix as f64 * LINE + GAP,
        bottom: TOP + blocks.len() as f64 * (radix as f64 * LINE + GAP),
    };
    let mut svg = String::new();
    // Writing to a string does not fail.
    let _ = chart.draw(&mut svg, title, blocks);
    svg
}

/// What the weights reach, rounded up to tenths: the end of the axis.
fn axis_end(blocks: &[BlockSplits]) -> f64 {
    let upper = |block: &BlockSplits| {
        let ends = (0..block.radix()).filter_map(|split| block.quantile(split, 0.9));
        ends.fold(0.0, f32::max)
    };
    let most = blocks.iter().map(upper).fold(0.0, f32::max);
    ((f64::from(most) * 10.0 + 0.2).ceil() / 10.0).clamp(0.2, 1.0)
}

struct Chart {
    radix: usize,
    /// The weight at the right end of the axis.
    most: f64,
    /// Height of a block.
    row: f64,
    /// Where the blocks end.
    bottom: f64,
}

impl Chart {
    fn draw(&self, svg: &mut String, title: &str, blocks: &[BlockSplits]) -> std::fmt::Result {
        let height = self.bottom + 30.0;
        writeln!(
            svg,
            r##"<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" font-family="Helvetica, Arial, sans-serif" font-size="12" fill="#222">"##
        )?;
        writeln!(
            svg,
            r##"<rect width="100%" height="100%" fill="#fff"/>
<text x="14" y="24" font-size="15" font-weight="bold">{}</text>
<text x="14" y="44" fill="#666">{}</text>"##,
            escaped(&shortened(title)),
            self.subtitle()
        )?;
        self.legend(svg)?;
        self.stages(svg, blocks)?;
        self.axis(svg)?;
        for (index, block) in blocks.iter().enumerate() {
            self.block(svg, block, TOP + index as f64 * self.row)?;
        }
        writeln!(svg, "</svg>")
    }

    fn subtitle(&self) -> &'static str {
        match self.radix {
            1 => {
                "sigmoid gate of the one split, over its channels: mean (dot) and middle 80% (bar)"
            }
            _ => {
                "softmax weight of each split, over its channels: mean (dot) and middle 80% (bar); dashed: no preference"
            }
        }
    }

    fn x(&self, weight: f64) -> f64 {
        LEFT + PLOT * (weight / self.most).min(1.0)
    }

    fn legend(&self, svg: &mut String) -> std::fmt::Result {
        // More than fit in a line would be no help.
        for split in 0..self.radix.min(8) {
            let x = LEFT + 70.0 * split as f64;
            writeln!(
                svg,
                r#"<circle cx="{x}" cy="64" r="4.5" fill="{}"/><text x="{}" y="68">split {}</text>"#,
                color(split),
                x + 9.0,
                split + 1
            )?;
        }
        Ok(())
    }

    /// Every other stage stands on grey.
    fn stages(&self, svg: &mut String, blocks: &[BlockSplits]) -> std::fmt::Result {
        let stage = |block: &BlockSplits| {
            let (stage, _) = block.block.split_once('.').unwrap_or((&block.block, ""));
            stage.to_owned()
        };
        let mut first = 0;
        for (count, blocks) in blocks.chunk_by(|a, b| stage(a) == stage(b)).enumerate() {
            if count % 2 == 0 {
                let (y, height) = (
                    TOP + first as f64 * self.row,
                    blocks.len() as f64 * self.row,
                );
                writeln!(
                    svg,
                    r##"<rect x="8" y="{y}" width="{}" height="{height}" fill="#f3f4f7"/>"##,
                    WIDTH - 16.0
                )?;
            }
            first += blocks.len();
        }
        Ok(())
    }

    fn axis(&self, svg: &mut String) -> std::fmt::Result {
        let (top, bottom) = (TOP, self.bottom);
        for tenth in 0..=(self.most * 10.0).round() as usize {
            let weight = tenth as f64 / 10.0;
            let x = self.x(weight);
            writeln!(
                svg,
                r##"<line x1="{x:.1}" x2="{x:.1}" y1="{top}" y2="{bottom}" stroke="#d9dce3"/><text x="{x:.1}" y="{}" text-anchor="middle" fill="#666">{weight}</text>"##,
                bottom + 17.0
            )?;
        }
        if self.radix > 1 {
            let x = self.x(1.0 / self.radix as f64);
            writeln!(
                svg,
                r##"<line x1="{x:.1}" x2="{x:.1}" y1="{top}" y2="{bottom}" stroke="#555" stroke-dasharray="4 3"/>"##
            )?;
        }
        Ok(())
    }

    fn block(&self, svg: &mut String, block: &BlockSplits, top: f64) -> std::fmt::Result {
        let middle = top + self.row / 2.0;
        writeln!(
            svg,
            r#"<text x="{}" y="{:.1}" text-anchor="end">{}</text>"#,
            LEFT - 12.0,
            middle + 4.0,
            escaped(&block.block)
        )?;
        for (split, mean) in block.means().into_iter().enumerate() {
            let y = top + GAP / 2.0 + LINE * (split as f64 + 0.5);
            let at = |share| {
                let weight = block.quantile(split, share).unwrap_or(mean);
                self.x(f64::from(weight))
            };
            let (from, to, x, color) = (at(0.1), at(0.9), self.x(f64::from(mean)), color(split));
            writeln!(
                svg,
                r#"<line x1="{from:.1}" x2="{to:.1}" y1="{y:.1}" y2="{y:.1}" stroke="{color}" stroke-opacity="0.45" stroke-width="5" stroke-linecap="round"/><circle cx="{x:.1}" cy="{y:.1}" r="4" fill="{color}"><title>{} split {}: {mean:.4}</title></circle>"#,
                escaped(&block.block),
                split + 1
            )?;
        }
        Ok(())
    }
}

/// Of Tableau's ten colours, one after the other.
fn color(split: usize) -> String {
    let colors = colorous::TABLEAU10;
    format!("#{:x}", colors[split % colors.len()])
}

/// As much of a title as fits: its end is more telling than its beginning.
fn shortened(title: &str) -> String {
    const MOST: usize = 70;
    let chars = title.chars().count();
    match chars > MOST {
        true => std::iter::once('…')
            .chain(title.chars().skip(chars - MOST + 1))
            .collect(),
        false => title.to_owned(),
    }
}

fn escaped(text: &str) -> String {
    let replaced = text.replace('&', "&amp;").replace('<', "&lt;");
    // Control characters have no place in XML, escaped or not.
    replaced.chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_lie_at_the_means_and_names_are_escaped() {
        let block = BlockSplits {
            block: "layer1.0".into(),
            weights: vec![vec![0.25, 0.25], vec![0.75, 0.75]],
        };
        let svg = split_chart("a<b & c\u{1}", &[block]);
        assert!(svg.contains("a&lt;b &amp; c</text>"), "{svg}");
        // The axis ends at 0.8.
        for mean in [0.25, 0.75] {
            let dot = format!(r#"<circle cx="{:.1}""#, LEFT + PLOT * mean / 0.8);
            assert!(svg.contains(&dot), "{dot} in {svg}");
        }
        assert!(split_chart("", &[]).contains("</svg>"));
        let long = split_chart(&"é".repeat(999), &[]);
        assert!(long.contains(&format!(">…{}<", "é".repeat(69))), "{long}");
    }
}
