//! From what became of images to a response's tensors.

use bytes::Bytes;
use resnest::{Labels, Prediction, top_k};

use super::tensor::{Data, InferResponse, OutputTensor, RequestedOutput};
use crate::engine::{Answer, Done, Times, Wants};
use crate::models::{Model, VERSION};
use crate::{Failure, Outcome};

/// The classifier's output: FP32 `[N, classes]`.
pub const LOGITS: &str = "logits";
/// Their softmax: FP32 `[N, classes]`.
pub const PROBABILITIES: &str = "probabilities";
/// What the classifier sees: FP32 `[N, features]`.
pub const EMBEDDINGS: &str = "embeddings";
/// Why an image has no answer, empty where it has one: BYTES `[N]`. It comes by itself where some images have none; their
/// numbers are NaN.
pub const ERRORS: &str = "errors";

/// The outputs to give for those asked for, and what the network must give for them.
///
/// # Errors
/// A name that is none; a classification of embeddings; classes of a model that has none.
pub fn plan(
    model: &Model,
    mut asked: Vec<RequestedOutput>,
) -> Outcome<(Vec<RequestedOutput>, Wants)> {
    if asked.is_empty() {
        let all = names(model).into_iter().filter(|name| *name != ERRORS);
        asked = all.map(named).collect();
    }
    let known = names(model);
    for (at, output) in asked.iter().enumerate() {
        let name = output.name.as_str();
        let twice = asked[..at].iter().any(|other| other.name == name);
        let problem = match name {
            _ if !known.contains(&name) => format!("it has {}", known.join(", ")),
            _ if twice => "it was asked for twice".into(),
            EMBEDDINGS | ERRORS if output.classification.is_some() => {
                format!("`classification` is for {LOGITS} and {PROBABILITIES}")
            }
            _ => continue,
        };
        let text = format!("output {name:?} of model {}: {problem}", model.name);
        return Err(Failure::bad_request(text));
    }
    let any = |names: &[&str]| {
        asked
            .iter()
            .any(|output| names.contains(&output.name.as_str()))
    };
    let embeddings = any(&[EMBEDDINGS]);
    let logits = any(&[LOGITS, PROBABILITIES]) || (!embeddings && model.classes() > 0);
    Ok((asked, Wants::Outputs { logits, embeddings }))
}

/// The names of a model's outputs.
pub fn names(model: &Model) -> Vec<&'static str> {
    match model.classes() {
        0 => vec![EMBEDDINGS, ERRORS],
        _ => vec![LOGITS, PROBABILITIES, EMBEDDINGS, ERRORS],
    }
}

fn named(name: &str) -> RequestedOutput {
    RequestedOutput {
        name: name.to_owned(),
        classification: None,
    }
}

/// The response, if any image has an answer.
///
/// # Errors
/// What is wrong with the first image, where none has an answer.
pub fn response(
    model: &Model,
    id: Option<String>,
    mut outputs: Vec<RequestedOutput>,
    done: &[Done],
) -> Outcome<InferResponse> {
    let failed = done.iter().filter(|image| image.answer.is_err()).count();
    if failed == done.len() {
        return match done.iter().find_map(|image| image.answer.as_ref().err()) {
            Some(failure) => Err(failure.clone()),
            None => Err(Failure::bad_request("the request has no images")),
        };
    }
    if failed > 0 && !outputs.iter().any(|output| output.name == ERRORS) {
        outputs.push(named(ERRORS));
    }
    let tensor = |output| tensor(model, output, done);
    Ok(InferResponse {
        model: model.name.clone(),
        version: VERSION.into(),
        id,
        outputs: outputs.into_iter().map(tensor).collect::<Outcome<_>>()?,
        times: done
            .iter()
            .fold(Times::default(), |times, image| times.max(image.times)),
    })
}

fn tensor(model: &Model, output: RequestedOutput, done: &[Done]) -> Outcome<OutputTensor> {
    let RequestedOutput {
        name,
        classification,
    } = output;
    let labels = model.classifier.labels();
    let rows = || done.iter().map(|image| numbers(labels, &name, image));
    let (width, data) = match (name.as_str(), classification) {
        (ERRORS, _) => {
            let data = Data::Bytes(done.iter().map(error).collect());
            return Ok(OutputTensor {
                name,
                shape: vec![done.len()],
                data,
            });
        }
        (_, Some(k)) => {
            let k = k.min(labels.len());
            let best = done.iter().map(|image| best(labels, &name, image, k));
            let texts: Vec<Vec<Bytes>> = best.collect::<Outcome<_>>()?;
            (k, Data::Bytes(texts.concat()))
        }
        (EMBEDDINGS, None) => (model.features, joined(rows(), model.features)?),
        _ => (labels.len(), joined(rows(), labels.len())?),
    };
    Ok(OutputTensor {
        name,
        shape: vec![done.len(), width],
        data,
    })
}

fn error(image: &Done) -> Bytes {
    match &image.answer {
        Ok(_) => Bytes::new(),
        Err(failure) => failure.message.clone().into(),
    }
}

/// One image's numbers; none where it has no answer.
fn numbers(labels: &Labels, name: &str, image: &Done) -> Outcome<Option<Vec<f32>>> {
    let Ok(Answer::Output(output)) = &image.answer else {
        return Ok(None);
    };
    Ok(Some(match name {
        EMBEDDINGS => output.embedding.clone(),
        PROBABILITIES => probabilities(&output.logits, labels)?,
        _ => output.logits.clone(),
    }))
}

/// All rows in a row, each of so many numbers.
fn joined(rows: impl Iterator<Item = Outcome<Option<Vec<f32>>>>, width: usize) -> Outcome<Data> {
    let mut all = Vec::new();
    for row in rows {
        match row? {
            Some(row) => all.extend(row),
            None => all.extend(std::iter::repeat_n(f32::NAN, width)),
        }
    }
    Ok(Data::Fp32(all))
}

/// The softmax in the order of the classes.
fn probabilities(logits: &[f32], labels: &Labels) -> Outcome<Vec<f32>> {
    let mut row = vec![0.0; logits.len()];
    for prediction in top_k(logits, logits.len(), labels)? {
        row[prediction.index] = prediction.probability;
    }
    Ok(row)
}

/// The best classes as the protocol's classification extension writes them: `value:index:label`.
fn best(labels: &Labels, name: &str, image: &Done, k: usize) -> Outcome<Vec<Bytes>> {
    let Ok(Answer::Output(output)) = &image.answer else {
        return Ok(vec![Bytes::new(); k]);
    };
    let text = |prediction: &Prediction| {
        let value = match name {
            PROBABILITIES => prediction.probability,
            _ => prediction.logit,
        };
        format!("{value:.6}:{}:{}", prediction.index, prediction.label).into()
    };
    Ok(top_k(&output.logits, k, labels)?.iter().map(text).collect())
}
