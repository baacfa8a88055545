//! The four ways results are written. The machine formats are documented in `docs/cli.md` and stable.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use resnest::dataset::path_text;
use resnest::{Labels, Prediction};
use serde::Serialize;

use super::classify::ClassifyArgs;
use super::words::{shown, shown_path};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people: a bar for each class
    #[default]
    Text,
    /// An array with one object per image, in input order
    Json,
    /// The same objects, one a line, as they come
    Jsonl,
    /// One row a class, with a header
    Csv,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum OutputType {
    /// Softmax over all classes
    #[default]
    Prob,
    /// The output before the softmax
    Logit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LabelType {
    /// The class name only, such as n02123045
    Name,
    /// With the class in words, such as "tabby, tabby cat"
    #[default]
    Description,
    /// With words and definition
    Detailed,
}

/// What is known of one image: its classes, or why there are none.
pub type Outcome = Result<Vec<Prediction>, String>;

/// Everything said of one image.
pub struct Answer {
    /// What it is called.
    pub file: String,
    /// Its classes.
    pub outcome: Outcome,
    /// Where its overlay is, or why there is none; nothing if none was asked for.
    pub overlay: Option<Result<PathBuf, String>>,
}

impl Answer {
    /// What went wrong.
    pub fn failure(&self) -> Option<&str> {
        let overlay = self
            .overlay
            .as_ref()
            .and_then(|overlay| overlay.as_ref().err());
        self.outcome.as_ref().err().or(overlay).map(String::as_str)
    }

    fn cam(&self) -> Option<&Path> {
        self.overlay.as_ref()?.as_deref().ok()
    }
}

/// Writes one image after another to `out`.
pub struct Report<W: Write> {
    out: W,
    style: Style,
    format: Format,
    written: usize,
}

/// How classes and scores are shown.
struct Style {
    output_type: OutputType,
    label_type: LabelType,
    labels: Labels,
}

#[derive(Serialize)]
struct JsonImage<'a> {
    file: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    predictions: Option<Vec<JsonPrediction<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cam: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct JsonPrediction<'a> {
    index: usize,
    label: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probability: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logit: Option<f32>,
}

impl<W: Write> Report<W> {
    /// A report in the format `args` ask for, of a model with these labels.
    pub fn new(out: W, args: &ClassifyArgs, labels: Labels) -> Self {
        let style = Style {
            output_type: args.output_type,
            label_type: args.label_type,
            labels,
        };
        Self {
            out,
            style,
            format: args.format,
            written: 0,
        }
    }

    /// What comes before the first image.
    pub fn begin(&mut self) -> io::Result<()> {
        match self.format {
            Format::Json => write!(self.out, "["),
            Format::Csv => writeln!(
                self.out,
                "file,rank,index,label,description,{},error",
                self.style.score_name()
            ),
            Format::Text | Format::Jsonl => Ok(()),
        }
    }

    /// One image, flushed so that a reader sees it at once.
    pub fn image(&mut self, answer: &Answer) -> io::Result<()> {
        match self.format {
            Format::Text => self.text(answer)?,
            Format::Json => {
                write!(self.out, "{}", if self.written == 0 { "\n" } else { ",\n" })?;
                serde_json::to_writer(&mut self.out, &self.style.json(answer))?;
            }
            Format::Jsonl => {
                serde_json::to_writer(&mut self.out, &self.style.json(answer))?;
                writeln!(self.out)?;
            }
            Format::Csv => self.csv(&answer.file, &answer.outcome)?,
        }
        self.written += 1;
        self.out.flush()
    }

    /// What comes after the last image.
    pub fn end(&mut self) -> io::Result<()> {
        if self.format == Format::Json {
            writeln!(self.out, "{}]", if self.written == 0 { "" } else { "\n" })?;
        }
        self.out.flush()
    }

    fn text(&mut self, answer: &Answer) -> io::Result<()> {
        // A failed image is in the log on standard error; a table of nothing would only hide it.
        let Ok(predictions) = &answer.outcome else {
            return Ok(());
        };
        if self.written > 0 {
            writeln!(self.out)?;
        }
        writeln!(self.out, "{}", shown(&answer.file))?;
        for prediction in predictions {
            let (bar, score) = self.style.bar(prediction);
            let words = self.style.words(prediction);
            writeln!(self.out, "  {score} {bar} {}", shown(&words))?;
        }
        if let Some(path) = answer.cam() {
            writeln!(self.out, "  {}", shown_path(path))?;
        }
        Ok(())
    }

    fn csv(&mut self, file: &str, outcome: &Outcome) -> io::Result<()> {
        let mut rows = csv::WriterBuilder::new()
            .has_headers(false)
            .from_writer(&mut self.out);
        match outcome {
            Err(reason) => rows.write_record([file, "", "", "", "", "", reason])?,
            Ok(predictions) => {
                for (rank, p) in predictions.iter().enumerate() {
                    let description = self.style.description(p).unwrap_or_default();
                    let score = self.style.score(p).to_string();
                    let (rank, index) = ((rank + 1).to_string(), p.index.to_string());
                    rows.write_record([file, &rank, &index, &p.label, &description, &score, ""])?;
                }
            }
        }
        rows.flush()
    }
}

/// Cells of a full bar.
const BAR: usize = 20;

impl Style {
    fn json<'a>(&self, answer: &'a Answer) -> JsonImage<'a> {
        let predictions = |list: &'a Vec<Prediction>| {
            list.iter()
                .map(|p| JsonPrediction {
                    index: p.index,
                    label: &p.label,
                    description: self.description(p),
                    probability: (self.output_type == OutputType::Prob).then_some(p.probability),
                    logit: (self.output_type == OutputType::Logit).then_some(p.logit),
                })
                .collect()
        };
        JsonImage {
            file: &answer.file,
            predictions: answer.outcome.as_ref().ok().map(predictions),
            cam: answer.cam().map(path_text),
            error: answer.failure(),
        }
    }

    fn score_name(&self) -> &'static str {
        match self.output_type {
            OutputType::Prob => "probability",
            OutputType::Logit => "logit",
        }
    }

    fn score(&self, p: &Prediction) -> f32 {
        match self.output_type {
            OutputType::Prob => p.probability,
            OutputType::Logit => p.logit,
        }
    }

    /// The words beside the class name, by label type.
    fn description(&self, p: &Prediction) -> Option<String> {
        match self.label_type {
            LabelType::Name => None,
            LabelType::Description => p.description.clone(),
            LabelType::Detailed => self.labels.detailed(p.index),
        }
    }

    /// What a person reads: the words where there are any, else the name.
    fn words(&self, p: &Prediction) -> String {
        self.description(p).unwrap_or_else(|| p.label.clone())
    }

    /// A bar in eighths of a cell, and the score before it, both of constant width.
    fn bar(&self, p: &Prediction) -> (String, String) {
        let eighths = (f64::from(p.probability) * (BAR * 8) as f64).round() as usize;
        let mut bar = "█".repeat(eighths / 8);
        if !eighths.is_multiple_of(8) {
            bar.extend(char::from_u32(0x2590 - (eighths % 8) as u32));
        }
        let score = match self.output_type {
            OutputType::Prob => format!("{:5.1}%", 100.0 * p.probability),
            OutputType::Logit => format!("{:+8.3}", p.logit),
        };
        (format!("{bar:<BAR$}"), score)
    }
}
