//! `resnest explain`: where in an image its class was seen, as an overlay and as numbers, and how each block weighed its
//! splits.

mod args;
mod report;

use std::path::{Path, PathBuf};

use anyhow::Result;
use resnest::Classifier;
use resnest::explain::{ActivationMap, Classes, Explanation, OverlayStyle, npy, split_chart};
use serde_json::{Value, json};

pub use args::ExplainArgs;
use report::Seen;

use super::args::TableFormat;
use super::cam_files::{Folder, beside, in_file_names, write, write_png};
use super::inputs::{Input, expand, nothing_to_read};
use super::words::{full_message, shown, shown_lines};
use super::{Failure, Status, contained, load, print};

/// Explains everything the user named, one image after the other.
pub fn run(args: &ExplainArgs) -> Result<Status, Failure> {
    let inputs = expand(&args.inputs).map_err(Failure::Usage)?;
    if let Some(problems) = nothing_to_read(&inputs) {
        let failed = inputs.iter().zip(&problems);
        let objects = failed
            .map(|(input, reason)| failure(input, reason))
            .collect();
        return finish(args, objects, problems.len());
    }
    let options = load::options(&args.model, &args.compute, &args.transform, 1)?;
    let classifier = load::open(&args.model, &load::reading(options, &args.reading))?;
    let can = classifier.check_maps();
    can.map_err(|error| Failure::Usage(error.into()))?;
    let classes = classes(args, &classifier)?;
    let mut folder = Folder::create(&args.out).map_err(Failure::Other)?;
    let (mut objects, mut failed) = (Vec::new(), 0);
    for input in &inputs {
        let seen = contained(|| explain(&classifier, input, &classes, args, &mut folder));
        let json = match seen {
            Ok(seen) if args.format == TableFormat::Json => seen.json(),
            Ok(seen) => {
                print(&shown_lines(&seen.text()))?;
                continue;
            }
            Err(error) => {
                failed += 1;
                failure(input, &full_message(&error))
            }
        };
        objects.push(json);
    }
    finish(args, objects, failed)
}

/// An image that has no answer: said at once, and in its place in the array.
fn failure(input: &Input, reason: &str) -> Value {
    let name = input.name();
    eprintln!("error: {}: {}", shown(&name), shown(reason));
    json!({"file": name, "error": reason})
}

fn finish(args: &ExplainArgs, objects: Vec<Value>, failed: usize) -> Result<Status, Failure> {
    if args.format == TableFormat::Json {
        print(&format!("{:#}", Value::Array(objects)))?;
    }
    Ok(match failed {
        0 => Status::Done,
        _ => Status::SomeFailed,
    })
}

fn classes(args: &ExplainArgs, classifier: &Classifier) -> Result<Classes, Failure> {
    if args.classes.is_empty() {
        return Ok(Classes::Top(args.topk));
    }
    let found = args
        .classes
        .iter()
        .map(|text| classifier.labels().find(text));
    let found: Result<Vec<usize>, _> = found.collect();
    Ok(Classes::These(
        found.map_err(|error| Failure::Usage(error.into()))?,
    ))
}

fn explain(
    classifier: &Classifier,
    input: &Input,
    classes: &Classes,
    args: &ExplainArgs,
    folder: &mut Folder,
) -> Result<Seen> {
    let bytes = input.read(classifier.limits().max_bytes)?;
    let (photo, pixels) = classifier.preprocess_photo(&bytes)?;
    let splits = match args.no_splits {
        true => None,
        false => Some(classifier.split_weights_of(&pixels)?),
    };
    let explanation = classifier.cam_photo(photo, &pixels, classes)?;
    let stem = folder.stem(input);
    let mut files = Vec::new();
    let classes: Vec<_> = explanation.maps.iter().map(|map| &map.prediction).collect();
    for (map, class) in explanation.maps.iter().zip(in_file_names(&classes)) {
        let paths = ["png", "npy"].map(|ending| beside(&stem, &format!("cam-{class}.{ending}")));
        write_map(&explanation, map, &paths, &args.style.style())?;
        files.push(paths);
    }
    let chart = match &splits {
        Some(blocks) if !blocks.is_empty() => {
            let path = beside(&stem, "splits.svg");
            let name = input.name();
            let name = Path::new(&name).file_name().unwrap_or_default();
            let title = format!("{}: {}", classifier.name(), name.display());
            write(&path, split_chart(&title, blocks).as_bytes())?;
            Some(path)
        }
        _ => None,
    };
    Ok(Seen {
        file: input.name(),
        explanation,
        files,
        splits,
        chart,
    })
}

fn write_map(
    explanation: &Explanation,
    map: &ActivationMap,
    [overlay, raw]: &[PathBuf; 2],
    style: &OverlayStyle,
) -> Result<()> {
    write_png(overlay, &explanation.overlay(map, style)?)?;
    write(raw, &npy(map)?)
}
