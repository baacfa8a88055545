//! `resnest info`: everything about a model or a checkpoint, without running it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Error};
use clap::Args;
use resnest::dataset::path_text;
use resnest::loader::{
    Checkpoint, CheckpointFormat, Error as LoadError, Loader, Resolved, StrictReport, check,
};
use resnest::model::{InputScale, Step, gmacs, parameter_count, trace_shapes};
use resnest::{ModelSource, demo};
use serde_json::{Value, json};

use super::args::{HubArgs, PrecisionChoice, TableFormat, input_size};
use super::plan::{Plan, PlanArgs};
use super::words::shown_lines;
use super::{Failure, Status, load, network, print};

#[derive(Debug, Args)]
pub struct InfoArgs {
    /// A model's name as for --model, a checkpoint file, or a folder with config.json
    #[arg(value_name = "MODEL|PATH")]
    pub target: String,
    /// The architecture a checkpoint file is held against, if its folder has no config.json
    #[arg(long, value_name = "ARCH")]
    pub arch: Option<String>,
    /// Walk through the network: the shape of every tensor, inside each split attention too
    #[arg(long)]
    pub shapes: bool,
    /// List every tensor with its shape and type
    #[arg(long)]
    pub keys: bool,
    /// How each layer would be computed on this CPU, and its packed size; needs no weights
    #[arg(long)]
    pub plan: bool,
    #[command(flatten)]
    pub planning: PlanArgs,
    /// Input size for --shapes, --plan and the operation count: N or HxW [default: the checkpoint's]
    #[arg(long, value_name = "N|HxW", value_parser = input_size)]
    pub input_size: Option<(u32, u32)>,
    /// For people, or one JSON object
    #[arg(long, value_enum, default_value_t)]
    pub format: TableFormat,
    #[command(flatten)]
    pub hub: HubArgs,
}

/// What is known of one target.
struct Facts {
    resolved: Resolved,
    parameters: usize,
    size: (usize, usize),
    gmacs: f64,
    shapes: Option<Vec<Step>>,
    plan: Option<Plan>,
    weights: Weights,
}

/// The weights, where they are on this machine.
enum Weights {
    /// Not here; what would bring them.
    Absent { hint: String },
    /// Here.
    Here(Box<Checked>),
}

/// A checkpoint that was opened and held against the network.
struct Checked {
    place: String,
    format: CheckpointFormat,
    wrapper: Option<String>,
    keys: Vec<Value>,
    strict: StrictReport,
    /// The inputs of the layers in int8, of a quantised checkpoint.
    quantization: Option<Arc<BTreeMap<String, InputScale>>>,
    /// Images that it was calibrated on, as it says.
    calibration_images: Option<String>,
}

/// Shows what is known; status 1 if the checkpoint does not fit.
pub fn run(args: &InfoArgs) -> Result<Status, Failure> {
    let loader = load::loader(&args.hub)?;
    let mut facts =
        gather(&loader, args).map_err(|e| Failure::Model(e.context(args.target.clone())))?;
    if args.plan {
        let inputs = match &facts.weights {
            Weights::Here(checked) => checked.quantization.as_ref(),
            Weights::Absent { .. } => None,
        };
        if args.planning.precision == PrecisionChoice::Int8 && inputs.is_none() {
            let origin = facts.resolved.name.clone();
            return Err(Failure::Usage(LoadError::NotQuantized { origin }.into()));
        }
        let plan = Plan::new(&facts.resolved.config, facts.size, inputs, &args.planning);
        facts.plan = Some(plan.map_err(|error| Failure::Usage(error.into()))?);
    }
    load::warn(&facts.resolved.warnings, args.hub.quiet);
    match args.format {
        TableFormat::Text => print(&shown_lines(text(&facts, args).trim_end()))?,
        TableFormat::Json => {
            print(&serde_json::to_string_pretty(&object(&facts, args)).unwrap_or_default())?
        }
    };
    Ok(match &facts.weights {
        Weights::Here(checked) if !checked.strict.is_ok() => Status::SomeFailed,
        _ => Status::Done,
    })
}

fn gather(loader: &Loader, args: &InfoArgs) -> Result<Facts, Error> {
    let resolved = resolve(loader, args)?;
    let [_, height, width] = resolved.pretrained.input_size;
    let size = args
        .input_size
        .map_or((height, width), |(h, w)| (h as usize, w as usize));
    let config = &resolved.config;
    Ok(Facts {
        parameters: parameter_count(config)?,
        gmacs: gmacs(config, size)?,
        shapes: if args.shapes {
            Some(trace_shapes(config, size)?)
        } else {
            None
        },
        plan: None,
        weights: weights(loader, &resolved, args)?,
        size,
        resolved,
    })
}

/// The target is a name, unless something of that path is there.
fn resolve(loader: &Loader, args: &InfoArgs) -> Result<Resolved, Error> {
    let (target, path) = (&args.target, Path::new(&args.target));
    let overrides = load::overrides(&args.hub, None);
    if target == demo::NAME {
        return Ok(demo::resolve(&overrides)?);
    }
    let source = if path.is_dir() {
        ModelSource::LocalDir(path.to_owned())
    } else if path.is_file() {
        let beside = path
            .parent()
            .map(|folder| folder.join("config.json"))
            .filter(|config| config.is_file());
        let folder = beside
            .as_deref()
            .and_then(Path::parent)
            .map(|folder| format!("local-dir:{}", folder.display()));
        // "local-dir:" alone would be refused; a bare file name lies in the current folder.
        let folder = folder.map(|text| {
            if text == "local-dir:" {
                "local-dir:.".to_owned()
            } else {
                text
            }
        });
        ModelSource::File {
            path: path.to_owned(),
            architecture: args.arch.clone().or(folder),
        }
    } else {
        target.parse()?
    };
    let resolved = loader.resolve(&source, &overrides);
    match (&source, args.arch.is_some()) {
        (ModelSource::File { .. }, false) => {
            resolved.context("say which network it is of with --arch ARCH")
        }
        _ => Ok(resolved?),
    }
}

/// Why the weights are not here, and what would bring them.
fn absent(source: &resnest::loader::Weights, target: &str) -> String {
    use resnest::loader::Weights as W;
    match source {
        W::File(path) => format!("{} is not there", path_text(path)),
        W::Url(url) => format!("on no hub: get {url} by hand and give it with --checkpoint"),
        _ => format!("not in the cache; `resnest download {target}` brings them"),
    }
}

fn weights(loader: &Loader, resolved: &Resolved, args: &InfoArgs) -> Result<Weights, Error> {
    let checkpoint = match (&resolved.weights, loader.locate(resolved)) {
        (resnest::loader::Weights::Memory { bytes, origin }, _) => {
            Checkpoint::from_bytes(bytes.clone(), origin)?
        }
        (_, Some(path)) => Checkpoint::open(path)?,
        (source, None) => {
            let hint = absent(source, &args.target);
            return Ok(Weights::Absent { hint });
        }
    };
    let key = |t: &resnest::loader::TensorEntry| json!({"name": t.name(), "shape": t.shape(), "dtype": t.dtype().to_string()});
    Ok(Weights::Here(Box::new(Checked {
        place: checkpoint.origin().to_owned(),
        format: checkpoint.format(),
        wrapper: checkpoint.wrapper().map(str::to_owned),
        keys: checkpoint.tensors().map(key).collect(),
        strict: check(&checkpoint, &resolved.config)?,
        quantization: checkpoint.quantization().cloned(),
        calibration_images: checkpoint.metadata().get("calibration_images").cloned(),
    })))
}

fn text(facts: &Facts, args: &InfoArgs) -> String {
    let Facts { resolved, size, .. } = facts;
    let (config, cfg) = (&resolved.config, &resolved.pretrained);
    let labels = if resolved.labels.is_some() {
        ", with labels"
    } else {
        ""
    };
    let mut lines = vec![resolved.name.clone()];
    lines.extend([
        line("architecture", &resolved.architecture),
        line("network", &network::words(config)),
        line("parameters", &thousands(facts.parameters)),
        line(
            "operations",
            &format!("{:.2} GMAC at {}x{}", facts.gmacs, size.0, size.1),
        ),
        line(
            "input",
            &format!(
                "{}, crop {} {}, {}",
                tuple(&cfg.input_size),
                cfg.crop_mode,
                cfg.crop_pct,
                cfg.interpolation
            ),
        ),
        line("mean", &numbers(&cfg.mean)),
        line("std", &numbers(&cfg.std)),
        line("classes", &format!("{}{labels}", config.num_classes)),
        line("license", cfg.license.as_deref().unwrap_or("not stated")),
    ]);
    match &facts.weights {
        Weights::Absent { hint } => lines.push(line("weights", hint)),
        Weights::Here(checked) => lines.extend(weights_lines(checked, args.keys)),
    }
    if let Some(steps) = &facts.shapes {
        lines.push(String::new());
        lines.extend(shape_lines(steps));
    }
    if let Some(plan) = &facts.plan {
        lines.push(String::new());
        lines.push(plan.text());
    }
    lines.join("\n")
}

fn line(name: &str, value: &str) -> String {
    format!("  {name:<14} {value}")
}

fn weights_lines(checked: &Checked, with_keys: bool) -> Vec<String> {
    let Checked {
        place,
        format,
        wrapper,
        keys,
        strict,
        quantization,
        calibration_images,
    } = checked;
    let wrapper = wrapper
        .as_ref()
        .map_or(String::new(), |w| format!(", inside {w}"));
    let verdict = match strict.is_ok() {
        true => format!("fits: {} of {} tensors", strict.matched, strict.expected),
        false => format!("fails\n{strict}"),
    };
    let unused = match strict.ignored {
        0 => String::new(),
        counters => format!(", {counters} of them counters of training steps, which are not used"),
    };
    let about = format!("{format}, {} tensors{unused}{wrapper}", keys.len());
    let mut lines = vec![
        line("weights", &format!("{place} ({about})")),
        line("strict load", &verdict),
    ];
    if let Some(inputs) = quantization {
        let images = calibration_images
            .as_deref()
            .unwrap_or("an unknown number of");
        let layers = inputs.len();
        lines.push(line(
            "int8",
            &format!("{layers} convolutions, calibrated on {images} images"),
        ));
    }
    if with_keys {
        lines.push(String::new());
        lines.extend(keys.iter().map(key_line));
    }
    lines
}

fn key_line(key: &Value) -> String {
    let text = |field: &str| key[field].as_str().unwrap_or_default().to_owned();
    format!(
        "  {:<44} {:<6} {}",
        text("name"),
        text("dtype"),
        key["shape"]
    )
}

/// One line a step, in aligned columns.
fn shape_lines(steps: &[Step]) -> Vec<String> {
    let widest = |of: fn(&Step) -> usize| steps.iter().map(of).max().unwrap_or_default();
    let (path, operation) = (
        widest(|s| s.path.chars().count()),
        widest(|s| s.operation.chars().count()),
    );
    steps
        .iter()
        .map(|step| {
            let macs = match step.macs {
                0 => String::new(),
                macs => format!("{:9.1} MMAC", macs as f64 / 1e6),
            };
            let line = format!(
                "  {:<path$}  {:<operation$}  {:<22} {macs}",
                step.path,
                step.operation,
                tuple(&step.shape)
            );
            line.trim_end().to_owned()
        })
        .collect()
}

/// A shape the way PyTorch prints it: (1, 80, 56, 56).
fn tuple(shape: &[usize]) -> String {
    let sides: Vec<String> = shape.iter().map(usize::to_string).collect();
    format!("({})", sides.join(", "))
}

fn numbers(values: &[f64]) -> String {
    let values: Vec<String> = values.iter().map(f64::to_string).collect();
    values.join(", ")
}

fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .filter_map(|g| std::str::from_utf8(g).ok())
        .collect();
    groups.join(",")
}

fn checked_object(checked: &Checked, with_keys: bool) -> Value {
    let Checked {
        place,
        format,
        wrapper,
        keys,
        strict,
        quantization,
        ..
    } = checked;
    let input = |(path, input): (&String, &InputScale)| {
        let described = json!({"scale": input.scale, "zero_point": input.zero_point});
        (path.clone(), described)
    };
    let inputs = quantization.as_ref().map(|inputs| inputs.iter().map(input));
    json!({
        "int8": inputs.map(|inputs| inputs.collect::<serde_json::Map<_, _>>()),
        "file": place,
        "format": format.to_string(),
        "wrapper": wrapper,
        "tensors": if with_keys { json!(keys) } else { json!(keys.len()) },
        "strict": {
            "ok": strict.is_ok(),
            "expected": strict.expected,
            "matched": strict.matched,
            "missing": strict.missing.iter().map(|m| &m.name).collect::<Vec<_>>(),
            "unexpected": strict.unexpected.iter().map(|u| &u.name).collect::<Vec<_>>(),
            "misshaped": strict.misshaped.iter().map(|m| &m.name).collect::<Vec<_>>(),
            "wrong_type": strict.wrong_type.iter().map(|w| &w.name).collect::<Vec<_>>(),
        },
    })
}

fn object(facts: &Facts, args: &InfoArgs) -> Value {
    let Facts { resolved, .. } = facts;
    let weights = match &facts.weights {
        Weights::Absent { .. } => Value::Null,
        Weights::Here(checked) => checked_object(checked, args.keys),
    };
    let step = |s: &Step| json!({"path": s.path, "operation": s.operation, "shape": s.shape, "macs": s.macs});
    let mut object = json!({
        "name": resolved.name,
        "architecture": resolved.architecture,
        "parameters": facts.parameters,
        "gmacs": facts.gmacs,
        "input_size": [resolved.config.in_chans, facts.size.0, facts.size.1],
        "num_classes": resolved.config.num_classes,
        "pretrained_cfg": resolved.pretrained,
        "weights": weights,
    });
    if let Some(steps) = &facts.shapes {
        object["shapes"] = steps.iter().map(step).collect();
    }
    if let Some(plan) = &facts.plan {
        object["plan"] = plan.object();
    }
    object
}

#[cfg(test)]
mod tests {
    use super::{thousands, tuple};

    #[test]
    fn numbers_and_shapes_read_well() {
        let written: Vec<String> = [0, 999, 1000, 27_483_240].map(thousands).into();
        assert_eq!(written, ["0", "999", "1,000", "27,483,240"]);
        assert_eq!(tuple(&[1, 80, 56, 56]), "(1, 80, 56, 56)");
    }
}
