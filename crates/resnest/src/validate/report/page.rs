//! What the template is filled with: figures in the words and widths in which they are shown.

use serde::Serialize;

use super::Pictures;
use super::parts::{Bin, Class, Matrix, Mistake, Pair, Time};
use crate::validate::{Failure, Validation};

/// Classes shown before the others are folded away.
const CLASSES: usize = 40;
/// A larger matrix is no picture any more.
const MATRIX: usize = 30;
const PAIRS: usize = 10;
const FAILURES: usize = 100;

#[derive(Serialize)]
pub struct Page {
    title: String,
    data: String,
    models: Vec<Model>,
    command: Option<String>,
    version: &'static str,
}

#[derive(Serialize)]
struct Model {
    id: String,
    name: String,
    interrupted: Option<String>,
    figures: Vec<Figure>,
    time: Time,
    classes: Vec<Class>,
    more_classes: Vec<Class>,
    matrix: Option<Matrix>,
    pairs: Vec<Pair>,
    ece: String,
    bins: Vec<Bin>,
    mistakes: Vec<Mistake>,
    /// Whether there are activation maps.
    maps: bool,
    no_maps: &'static str,
    failures: Vec<Failure>,
    more_failures: usize,
    settings: Vec<Setting>,
}

#[derive(Serialize)]
struct Figure {
    name: &'static str,
    value: String,
    note: String,
}

#[derive(Serialize)]
struct Setting {
    name: &'static str,
    value: String,
}

impl Page {
    pub fn new(results: &[(Validation, Vec<Pictures>)], command: Option<&str>) -> Self {
        let models: Vec<Model> = results
            .iter()
            .enumerate()
            .map(|(at, (v, pictures))| Model::new(at, v, pictures))
            .collect();
        let title = match &models[..] {
            [model] => model.name.clone(),
            models => format!("{} models", models.len()),
        };
        let data = results
            .first()
            .map(|(v, _)| format!("validated on {}", v.data));
        Self {
            title: format!("{title}: accuracy"),
            data: data.unwrap_or_default(),
            models,
            command: command.map(str::to_owned),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

impl Model {
    fn new(at: usize, v: &Validation, pictures: &[Pictures]) -> Self {
        let mut classes = Class::all(v);
        let more_classes = match classes.len() > CLASSES + CLASSES / 4 {
            true => classes.split_off(CLASSES),
            false => Vec::new(),
        };
        let shown = v.classes.iter().filter(|c| c.images > 0 || c.predicted > 0);
        let mut failures = v.failures.clone();
        failures.truncate(FAILURES);
        Self {
            id: format!("model-{at}"),
            name: v.row.model.clone(),
            interrupted: v.interrupted.then(|| {
                let done = v.images + v.failed as u64;
                format!(
                    "Interrupted after {done} of {} images: the figures are of those.",
                    v.total
                )
            }),
            figures: figures(v),
            time: Time::new(&v.timing),
            classes,
            more_classes,
            matrix: (shown.count() <= MATRIX).then(|| Matrix::new(v)),
            pairs: Pair::all(v, PAIRS),
            ece: v
                .ece
                .map_or("?".into(), |ece| format!("{:.2}%", 100.0 * ece)),
            bins: Bin::all(v),
            mistakes: Mistake::all(v, pictures),
            maps: pictures.iter().any(|p| p.predicted.is_some()),
            no_maps: "There are no class activation maps of this model: its head is not an average pool and one layer.",
            more_failures: v.failures.len() - failures.len(),
            failures,
            settings: settings(v),
        }
    }
}

fn figures(v: &Validation) -> Vec<Figure> {
    let figure = |name, value, note| Figure { name, value, note };
    let classes = v.classes.iter().filter(|c| c.images > 0).count();
    let percent = |p: Option<f64>| p.map_or("?".to_owned(), |p| format!("{p:.2}%"));
    let by = |own: Option<f64>| match v.own_labels {
        Some(_) => format!("by ReaL labels; own {}", percent(own)),
        None => String::new(),
    };
    let (own1, own5) = v
        .own_labels
        .map_or((None, None), |own| (own.top1, own.top5));
    let unread = match v.failed {
        0 => format!("of {classes} classes"),
        n => format!("of {classes} classes; {n} could not be read"),
    };
    let chance = |text: String, other: &str| match text.is_empty() {
        true => other.to_owned(),
        false => text,
    };
    let calibration = v
        .ece
        .map_or("?".into(), |ece| format!("{:.2}%", 100.0 * ece));
    let loss = v
        .loss
        .map_or(String::new(), |loss| format!("cross entropy {loss:.4}"));
    vec![
        figure(
            "top-1",
            percent(v.row.top1),
            chance(by(own1), "the first guess is right"),
        ),
        figure(
            "top-5",
            percent(v.row.top5),
            chance(by(own5), "among the first five"),
        ),
        figure("images", v.images.to_string(), unread),
        figure("calibration error", calibration, loss),
        figure(
            "images a second",
            format!("{:.0}", v.timing.images_per_second),
            format!("in {:.1} s", v.timing.seconds),
        ),
    ]
}

fn settings(v: &Validation) -> Vec<Setting> {
    let (height, width) = v.input_size;
    let setting = |name, value| Setting { name, value };
    vec![
        setting("model", v.row.model.clone()),
        setting("parameters", format!("{:.2} million", v.row.param_count)),
        setting("input size", format!("{height}x{width}")),
        setting("crop", format!("{}, {}", v.crop_mode, v.row.crop_pct)),
        setting("filter", v.row.interpolation.clone()),
        setting(
            "labels",
            match v.labels {
                "real" => {
                    "ImageNet ReaL; classes, confusion and calibration by the data set's own".into()
                }
                _ => "the data set's own".into(),
            },
        ),
    ]
}
