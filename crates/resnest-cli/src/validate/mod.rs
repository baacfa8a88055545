//! `resnest validate`: timm's `validate.py` for this engine.

mod agreement;
pub mod args;
mod results;
mod stop;
mod text;

use std::ops::ControlFlow;

use anyhow::{Error, anyhow};
use indicatif::ProgressBar;
use resnest::dataset::{Dataset, path_text};
use resnest::validate::report::{self, Pictures};
use resnest::validate::{
    Answer, ClassMap, Evaluation, Header, Options, Outcome, OutcomesFile, RealLabels, Targets,
    Validation, read_valid_labels,
};
use resnest::{Classifier, precision_name};
use serde_json::json;

use super::args::{ModelArgs, PrecisionChoice, TableFormat};
use super::words::{self, shown, shown_lines, shown_path};
use super::{Failure, Status, load, print, progress};
use agreement::Firsts;
pub use args::ValidateArgs;
use results::Files;
pub use stop::INTERRUPTED;
use stop::Stop;

/// Everything that is the same for all models.
struct Job<'a> {
    args: &'a ValidateArgs,
    dataset: Dataset,
    class_map: Option<ClassMap>,
    valid: Option<Vec<usize>>,
    real: Option<RealLabels>,
    stop: Stop,
}

/// A model's result, and the pictures of its mistakes where there is a report to show them.
type Done = (Validation, Vec<Pictures>);

/// Validates each model; one that fails does not keep the others from it.
pub fn run(args: &ValidateArgs) -> Result<Status, Failure> {
    let models = expand(args)?;
    check_precisions(args)?;
    let job = Job::new(args).map_err(Failure::Usage)?;
    let files = Files::open(&args.files).map_err(Failure::Other)?;
    let mut outcomes = job.outcomes_file()?;
    let (mut all, mut failed) = (Vec::new(), None);
    let mut firsts = Firsts::default();
    let runs = models.len() * args.precision.len();
    for (name, precision) in pairs(&models, &args.precision) {
        match job.validate(name, precision, &mut outcomes, &mut firsts) {
            Ok(done) => all.push(done),
            Err(failure) if runs == 1 => return Err(failure),
            Err(failure) => {
                eprintln!(
                    "error: {}: {}",
                    shown(name),
                    shown_lines(&failure.message())
                );
                failed = Some(failure);
            }
        }
        if job.stop.asked() {
            break;
        }
    }
    // An --outcomes that was given up for want of room is not there any more.
    let given_up = args.files.outcomes.is_some() && outcomes.is_none();
    let problems = write(args, files, &all)? || given_up;
    let unread = all.iter().any(|(v, _)| v.failed > 0);
    match (job.stop.asked(), failed) {
        (true, _) => Ok(job.interrupted(&all)),
        (false, Some(failure)) if all.is_empty() => Err(failure),
        (false, None) if !unread && !problems => Ok(Status::Done),
        (false, _) => Ok(Status::SomeFailed),
    }
}

/// Each model in each precision.
fn pairs<'a>(
    models: &'a [String],
    precisions: &'a [PrecisionChoice],
) -> impl Iterator<Item = (&'a String, PrecisionChoice)> {
    let each = |model| precisions.iter().map(move |&precision| (model, precision));
    models.iter().flat_map(each)
}

/// Several precisions are compared on standard output; a file holds the results of one.
fn check_precisions(args: &ValidateArgs) -> Result<(), Failure> {
    let files = &args.files;
    let named = [
        ("--outcomes", &files.outcomes),
        ("--results-file", &files.results_file),
        ("--report", &files.report),
    ];
    let named = named.iter().find(|(_, path)| path.is_some());
    match (args.precision.len(), named) {
        (2.., Some((option, _))) => {
            let problem = format!("{option} goes with one --precision, whose results it holds");
            Err(Failure::Usage(anyhow!(problem)))
        }
        _ => Ok(()),
    }
}

/// The models' names, wildcards replaced by what the manifest has.
fn expand(args: &ValidateArgs) -> Result<Vec<String>, Failure> {
    let mut names: Vec<String> = Vec::new();
    for name in &args.models {
        if !name.contains(['*', '?']) {
            names.push(name.clone());
            continue;
        }
        let loader = load::loader(&args.hub)?;
        let before = names.len();
        let matching = loader.manifest().matching(name);
        names.extend(matching.map(|entry| entry.name.clone()));
        if names.len() == before {
            let problem = anyhow!("no model matches {name:?}; `resnest models` lists them");
            return Err(Failure::Usage(problem));
        }
    }
    if args.checkpoint.is_some() && names.len() > 1 {
        let problem = "--checkpoint goes with one --model, whose weights it holds";
        return Err(Failure::Usage(anyhow!(problem)));
    }
    Ok(names)
}

/// Files first, so that a reader of standard output who goes away (`| head`) costs none of them; then what is known,
/// whatever became of the files. Whether there was a problem.
fn write(args: &ValidateArgs, files: Files, all: &[Done]) -> Result<bool, Failure> {
    let results: Vec<&Validation> = all.iter().map(|(validation, _)| validation).collect();
    let mut problems = files.write(&args.files, all, &command());
    let said = match args.format {
        TableFormat::Json => print(&serde_json::to_string_pretty(&results).unwrap_or_default()),
        TableFormat::Text if all.is_empty() => Ok(Status::Done),
        TableFormat::Text => print(&shown_lines(&text::summary(&results))),
    };
    let uncounted = results.iter().filter(|v| !v.counted() && !v.interrupted);
    problems.extend(uncounted.map(|v| {
        let (model, data, failed) = (&v.row.model, &v.data, v.failed);
        anyhow!("no image of {data} counts for {model} ({failed} failed): there is no result")
    }));
    for problem in &problems {
        eprintln!("error: {}", shown(&format!("{problem:#}")));
    }
    said.map(|_| !problems.is_empty())
}

impl<'a> Job<'a> {
    fn new(args: &'a ValidateArgs) -> Result<Self, Error> {
        let labels = &args.labels;
        let valid = labels.valid_labels.as_deref().map(read_valid_labels);
        let mut dataset = Dataset::open(&args.data)?;
        if let Some(images) = args.num_samples {
            dataset.truncate(images);
        }
        Ok(Self {
            class_map: labels
                .class_map
                .as_deref()
                .map(ClassMap::read)
                .transpose()?,
            valid: valid.transpose()?,
            real: labels
                .real_labels
                .as_deref()
                .map(RealLabels::read)
                .transpose()?,
            dataset,
            args,
            stop: Stop::new()?,
        })
    }

    fn outcomes_file(&self) -> Result<Option<OutcomesFile>, Failure> {
        let path = self.args.files.outcomes.as_deref();
        path.map(match self.args.files.resume {
            true => OutcomesFile::resume,
            false => OutcomesFile::create,
        })
        .transpose()
        .map_err(usage)
    }

    /// One model on all images. Outcomes that cannot be written any more are said and given up: the result is worth more
    /// than the way to go on to it.
    fn validate(
        &self,
        name: &str,
        precision: PrecisionChoice,
        outcomes: &mut Option<OutcomesFile>,
        firsts: &mut Firsts,
    ) -> Result<Done, Failure> {
        let classifier = self.classifier(name, precision)?;
        let valid = self.valid.clone();
        let labels = classifier.labels();
        let targets =
            Targets::new(&self.dataset, labels, self.class_map.as_ref(), valid).map_err(usage)?;
        let mut evaluation =
            Evaluation::new(&classifier, &self.dataset, targets, self.options()).map_err(usage)?;
        if let Some(file) = outcomes {
            file.begin(&self.header(&classifier), &mut evaluation)
                .map_err(usage)?;
        }
        let total = self.dataset.samples().len();
        let bar = progress::images(name, total, evaluation.done(), self.args.hub.quiet);
        let mut best = Vec::new();
        let validation = evaluation.run(|outcome| {
            best.push(match &outcome.answer {
                Answer::Scored(scored) => scored.top.first().copied(),
                Answer::Failed { .. } => None,
            });
            if let Some(Err(error)) = outcomes.as_mut().map(|file| file.add(outcome)) {
                let error = anyhow!(error).context("cannot write outcomes, goes on without");
                bar.suspend(|| eprintln!("error: {}", shown(&format!("{error:#}"))));
                *outcomes = None;
            }
            show(&bar, outcome);
            match self.stop.asked() {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        });
        bar.finish_and_clear();
        let mut validation = validation.map_err(other)?;
        if self.args.precision.len() > 1 {
            validation.agreement = firsts.compare(name, validation.precision, best);
        }
        let pictures = match self.args.files.report {
            Some(_) => report::pictures(&classifier, &self.dataset, &validation),
            None => Vec::new(),
        };
        Ok((validation, pictures))
    }

    fn options(&self) -> Options {
        let mut options = Options::default();
        options.batch_size = self.args.batch_size;
        options.workers = self.args.workers.unwrap_or(0);
        options.strict = self.args.strict;
        options.real_labels = self.real.clone();
        options.message = words::message;
        options
    }

    fn classifier(&self, name: &str, precision: PrecisionChoice) -> Result<Classifier, Failure> {
        let args = self.args;
        let model = ModelArgs {
            model: name.to_owned(),
            checkpoint: args.checkpoint.clone(),
            num_classes: None,
            hub: args.hub.clone(),
        };
        let batch = args.batch_size.min(self.dataset.samples().len());
        let mut options = load::options(&model, &args.compute(precision), &args.transform, batch)?;
        options.test_time_pool = args.test_pool;
        load::open(&model, &load::reading(options, &args.reading))
    }

    /// What outcomes depend on, beside the model and its preprocessing.
    fn header(&self, classifier: &Classifier) -> Header {
        let args = self.args;
        let settings = json!({
            "data": path_text(&args.data),
            "checkpoint": args.checkpoint.as_ref().map(path_text),
            "class_map": args.labels.class_map.as_ref().map(path_text),
            "valid_labels": args.labels.valid_labels.as_ref().map(path_text),
            "test_pool": args.test_pool,
            "precision": precision_name(classifier.precision()),
        });
        Header::new(classifier, settings)
    }

    /// Says how far it came and how to go on.
    fn interrupted(&self, all: &[Done]) -> Status {
        if let Some((v, _)) = all.last().filter(|(v, _)| v.interrupted) {
            let done = v.images + v.failed as u64;
            eprintln!(
                "interrupted after {done} of {} images of {}",
                v.total,
                shown(&v.row.model)
            );
        }
        match &self.args.files.outcomes {
            Some(path) => eprintln!(
                "to go on: the same command with --outcomes {} --resume",
                shown_path(path)
            ),
            None => eprintln!("with --outcomes FILE an interrupted run can be gone on with"),
        }
        Status::Interrupted
    }
}

/// As it was typed, as far as that can be known.
fn command() -> String {
    let words = std::env::args_os()
        .skip(1)
        .map(path_text)
        .map(|word| match word.contains(' ') {
            true => format!("'{word}'"),
            false => word,
        });
    format!("resnest {}", words.collect::<Vec<_>>().join(" "))
}

fn show(bar: &ProgressBar, outcome: &Outcome) {
    if let Answer::Failed { error } = &outcome.answer {
        bar.suspend(|| eprintln!("error: {}: {}", shown(&outcome.file), shown(error)));
    }
    bar.inc(1);
}

/// What is wrong with files and folders the user named is wrong usage.
fn usage(error: resnest::validate::Error) -> Failure {
    Failure::Usage(error.into())
}

fn other(error: resnest::validate::Error) -> Failure {
    Failure::Other(error.into())
}
