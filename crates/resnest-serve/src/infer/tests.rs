//! Requests to answers over the demo model, held to what the library says of the same bytes.

use std::sync::Arc;
use std::time::Duration;

use resnest::features::Layer;
use resnest::{Classifier, demo, top_k};

use super::inputs::{IMAGE, PIXELS, TENSOR};
use super::outputs::{EMBEDDINGS, ERRORS, LOGITS, PROBABILITIES};
use super::tensor::{Data, InferRequest, InferResponse, InputTensor, RequestedOutput};
use crate::engine::{Input, Wants};
use crate::{Kind, Options, Outcome, State};

fn with_state<T>(options: Options, work: impl AsyncFnOnce(Arc<State>) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let state = State::new(options).unwrap();
        state.load_model("demo").await.unwrap();
        work(state).await
    })
}

fn options() -> Options {
    Options {
        models: vec!["demo".parse().unwrap()],
        ..Options::default()
    }
}

fn library() -> Classifier {
    Classifier::builder("demo").load().unwrap()
}

fn photo(at: usize) -> &'static [u8] {
    demo::PHOTOS[at % 2].1
}

fn files(files: Vec<&'static [u8]>) -> InputTensor {
    let data = Data::Bytes(files.into_iter().map(bytes::Bytes::from_static).collect());
    input(IMAGE, vec![data.len()], data)
}

fn input(name: &str, shape: Vec<usize>, data: Data) -> InputTensor {
    let shape = shape.into_iter().map(|size| size as i64).collect();
    InputTensor {
        name: name.into(),
        shape,
        data,
    }
}

fn request(input: InputTensor, outputs: &[(&str, Option<usize>)]) -> InferRequest {
    let output = |&(name, classification): &(&str, Option<usize>)| RequestedOutput {
        name: name.into(),
        classification,
    };
    InferRequest {
        model: "demo".into(),
        inputs: vec![input],
        outputs: outputs.iter().map(output).collect(),
        ..InferRequest::default()
    }
}

fn numbers(response: &InferResponse, name: &str) -> Vec<f32> {
    let found = response.outputs.iter().find(|output| output.name == name);
    match &found.unwrap_or_else(|| panic!("no {name}")).data {
        Data::Fp32(values) => values.clone(),
        other => panic!("{name} is {other:?}"),
    }
}

fn texts(response: &InferResponse, name: &str) -> Vec<String> {
    let found = response.outputs.iter().find(|output| output.name == name);
    match &found.unwrap_or_else(|| panic!("no {name}")).data {
        Data::Bytes(texts) => texts
            .iter()
            .map(|t| String::from_utf8(t.to_vec()).unwrap())
            .collect(),
        other => panic!("{name} is {other:?}"),
    }
}

fn near(got: &[f32], expected: &[f32]) {
    assert_eq!(got.len(), expected.len());
    let most = expected.iter().fold(1.0f32, |most, v| most.max(v.abs()));
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() <= 1e-4 * most, "{got} {expected}");
    }
}

#[test]
fn all_outputs_are_the_library_s() {
    let library = library();
    let response = with_state(options(), async |state| {
        state
            .infer(request(files(vec![photo(0), photo(1)]), &[]))
            .await
            .unwrap()
    });
    let names: Vec<&str> = response
        .outputs
        .iter()
        .map(|output| output.name.as_str())
        .collect();
    assert_eq!(names, [LOGITS, PROBABILITIES, EMBEDDINGS]);
    let photos = [photo(0), photo(1)];
    let rows: Vec<Vec<f32>> = library
        .logits_batch(&photos)
        .into_iter()
        .map(Result::unwrap)
        .collect();
    near(&numbers(&response, LOGITS), &rows.concat());
    let embeddings = library
        .features(&photos, Layer::PreLogits)
        .into_iter()
        .map(Result::unwrap);
    near(
        &numbers(&response, EMBEDDINGS),
        &embeddings.collect::<Vec<_>>().concat(),
    );
    for (row, got) in rows
        .iter()
        .zip(numbers(&response, PROBABILITIES).chunks(10))
    {
        let total: f32 = row.iter().map(|v| v.exp()).sum();
        near(
            got,
            &row.iter().map(|v| v.exp() / total).collect::<Vec<_>>(),
        );
    }
}

#[test]
fn pixels_and_tensors_give_what_the_file_gives() {
    let library = library();
    let image = library.decode(photo(0)).unwrap();
    let shape = vec![1, image.height as usize, image.width as usize, 3];
    let pixels = input(PIXELS, shape, Data::Uint8(image.data.clone().into()));
    let prepared = library.preprocess(photo(0)).unwrap();
    let (c, h, w) = library.transform().shape();
    let tensor = input(
        TENSOR,
        vec![1, c, h, w],
        Data::Fp32(prepared.as_slice().to_vec()),
    );
    let expected = library.logits_batch(&[photo(0)]).remove(0).unwrap();
    with_state(options(), async |state| {
        for given in [pixels, tensor, files(vec![photo(0)])] {
            let response = state
                .infer(request(given, &[(LOGITS, None)]))
                .await
                .unwrap();
            near(&numbers(&response, LOGITS), &expected);
        }
    });
}

#[test]
fn a_broken_image_costs_its_own_row() {
    let mut eight: Vec<&'static [u8]> = (0..8).map(photo).collect();
    eight[3] = b"no picture";
    let wanted = [(LOGITS, None), (PROBABILITIES, Some(2)), (EMBEDDINGS, None)];
    with_state(options(), async |state| {
        let response = state.infer(request(files(eight), &wanted)).await.unwrap();
        let logits = numbers(&response, LOGITS);
        let classes = texts(&response, PROBABILITIES);
        let errors = texts(&response, ERRORS);
        let alone = state
            .infer(request(files(vec![photo(0)]), &wanted))
            .await
            .unwrap();
        for at in 0..8 {
            let row = &logits[at * 10..][..10];
            assert_eq!(row.iter().all(|v| v.is_nan()), at == 3, "{at}: {row:?}");
            assert_eq!(errors[at].is_empty(), at != 3);
            assert_eq!(classes[2 * at].is_empty(), at == 3);
            if at % 2 == 0 {
                near(row, &numbers(&alone, LOGITS));
            }
        }
        assert!(errors[3].contains("unknown image format"), "{errors:?}");
        assert!(alone.outputs.iter().all(|output| output.name != ERRORS));
        let all_broken = state
            .infer(request(files(vec![b"no", b"neither"]), &wanted))
            .await;
        assert_eq!(all_broken.unwrap_err().kind, Kind::BadImage);
    });
}

#[test]
fn classifications_are_written_as_triton_writes_them() {
    let library = library();
    let logits = library.logits_batch(&[photo(0)]).remove(0).unwrap();
    let best = top_k(&logits, 3, library.labels()).unwrap();
    let wanted = [(LOGITS, Some(3)), (PROBABILITIES, Some(100))];
    with_state(options(), async |state| {
        let response = state
            .infer(request(files(vec![photo(0)]), &wanted))
            .await
            .unwrap();
        assert_eq!(response.outputs[0].shape, [1, 3]);
        assert_eq!(response.outputs[1].shape, [1, 10], "no more than there are");
        for (text, expected) in texts(&response, LOGITS).iter().zip(&best) {
            let parts: Vec<&str> = text.splitn(3, ':').collect();
            near(&[parts[0].parse().unwrap()], &[expected.logit]);
            assert_eq!(
                (parts[1], parts[2]),
                (&*expected.index.to_string(), &*expected.label)
            );
        }
    });
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let image = || files(vec![photo(0)]);
    let floats = |shape: Vec<usize>, count| input(TENSOR, shape, Data::Fp32(vec![0.0; count]));
    let bytes = |shape: Vec<usize>, count| input(PIXELS, shape, Data::Uint8(vec![0; count].into()));
    let negative = InputTensor {
        shape: vec![-1],
        ..image()
    };
    let huge = InputTensor {
        shape: vec![i64::MAX, 4, 1, 1],
        ..floats(vec![], 4)
    };
    let requests = [
        (request(floats(vec![1, 3, 48, 48], 5), &[]), "5 values"),
        (
            request(floats(vec![1, 3, 32, 32], 3072), &[]),
            "[N, 3, 48, 48]",
        ),
        (request(floats(vec![0, 3, 48, 48], 0), &[]), "empty"),
        (request(bytes(vec![1, 2, 2, 4], 16), &[]), "3 channels"),
        (request(bytes(vec![1, 0, 2, 3], 0), &[]), "empty"),
        (request(negative, &[]), "[-1]"),
        (request(huge, &[]), "4 values"),
        (
            request(input("x", vec![1], Data::Fp32(vec![1.0])), &[]),
            "\"x\"",
        ),
        (
            request(input(IMAGE, vec![1], Data::Fp32(vec![1.0])), &[]),
            "must be BYTES",
        ),
        (request(image(), &[("nothing", None)]), "\"nothing\""),
        (request(image(), &[(LOGITS, None), (LOGITS, None)]), "twice"),
        (request(image(), &[(EMBEDDINGS, Some(3))]), "classification"),
        (
            InferRequest {
                inputs: vec![],
                ..request(image(), &[])
            },
            "0 inputs",
        ),
        (
            InferRequest {
                inputs: vec![image(), image()],
                ..request(image(), &[])
            },
            "2 inputs",
        ),
        (
            request(floats(vec![1, 3, 48, 48], 3 * 48 * 48), &[(LOGITS, None)]),
            "",
        ),
        (
            request(files((0..1025).map(photo).collect()), &[]),
            "1025 images",
        ),
    ];
    with_state(options(), async |state| {
        for (request, says) in requests {
            let answer = state.infer(request).await;
            if says.is_empty() {
                answer.unwrap();
                continue;
            }
            let failure = answer.unwrap_err();
            assert!(failure.message.contains(says), "{says}: {failure}");
            assert!(
                matches!(failure.kind, Kind::BadRequest | Kind::TooLarge),
                "{failure:?}"
            );
        }
        let mut values = vec![0.0; 3 * 48 * 48];
        values[5] = f32::NAN;
        let nan = input(TENSOR, vec![1, 3, 48, 48], Data::Fp32(values));
        assert_eq!(
            state.infer(request(nan, &[])).await.unwrap_err().kind,
            Kind::BadRequest
        );
        let mut unknown = request(image(), &[]);
        unknown.model = "x".into();
        assert_eq!(state.infer(unknown).await.unwrap_err().kind, Kind::NotFound);
        let mut version = request(image(), &[]);
        version.version = Some("2".into());
        assert_eq!(state.infer(version).await.unwrap_err().kind, Kind::NotFound);
    });
}

const LOGITS_ONLY: Wants = Wants::Outputs {
    logits: true,
    embeddings: false,
};

#[test]
fn a_large_request_goes_through_few_places_and_many_small_ones_share_batches() {
    let few = Options {
        queue: 16,
        max_batch: 4,
        ..options()
    };
    with_state(few, async |state| {
        let model = state.models.get(None, None).unwrap();
        let images = |n: usize| {
            (0..n)
                .map(|at| Input::Encoded(photo(at).into()))
                .collect::<Vec<_>>()
        };
        let done = state.answer(&model, images(50), LOGITS_ONLY).await.unwrap();
        assert_eq!(done.len(), 50);
        assert!(done.iter().all(|image| image.answer.is_ok()));
        // How large they get depends on the machine; engine/queue.rs has the rule.
        assert!(
            done.iter()
                .all(|image| (1..=4).contains(&image.times.batch))
        );
        assert_eq!(model.places.available_permits(), 16);
        // All places taken: the seventeenth is refused, with a time.
        let held: Vec<_> = (0..16)
            .map(|_| model.places.clone().try_acquire_owned().unwrap())
            .collect();
        let refused = state
            .answer(&model, images(1), LOGITS_ONLY)
            .await
            .unwrap_err();
        assert_eq!(refused.kind, Kind::Overloaded);
        assert!(refused.retry_after.is_some());
        drop(held);
        state.answer(&model, images(1), LOGITS_ONLY).await.unwrap();
    });
}

#[test]
fn who_leaves_gives_their_places_back_at_once() {
    let one = Options {
        queue: 8,
        max_batch: 1,
        ..options()
    };
    with_state(one, async |state| {
        let model = state.models.get(None, None).unwrap();
        for _ in 0..20 {
            let images = (0..4).map(|at| Input::Encoded(photo(at).into())).collect();
            let answer = state.answer(&model, images, LOGITS_ONLY);
            let left: Result<Outcome<_>, _> =
                tokio::time::timeout(Duration::from_micros(300), answer).await;
            drop(left);
        }
        // At most what was being decoded or computed just then is still held.
        for _ in 0..1000 {
            if model.places.available_permits() == 8 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(model.places.available_permits(), 8);
    });
}

#[test]
fn a_model_is_reloaded_without_a_lost_request() {
    with_state(options(), async |state| {
        let asked: Vec<_> = (0..40)
            .map(|at| {
                let state = state.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(at)).await;
                    state
                        .infer(request(files(vec![photo(0)]), &[(LOGITS, None)]))
                        .await
                })
            })
            .collect();
        let before = state.models.get(None, None).unwrap().id;
        for _ in 0..3 {
            state.load_model("demo").await.unwrap();
        }
        assert_ne!(state.models.get(None, None).unwrap().id, before);
        for answer in asked {
            answer.await.unwrap().unwrap();
        }
        state.unload_model("demo").await.unwrap();
        assert!(state.ready().is_err());
        let gone = state.infer(request(files(vec![photo(0)]), &[])).await;
        assert_eq!(gone.unwrap_err().kind, Kind::Unavailable);
    });
}

#[test]
fn a_server_that_ends_is_not_ready_and_answers_whom_it_let_in() {
    with_state(options(), async |state| {
        state.alive().await.unwrap();
        state.ready().unwrap();
        state.life.drain();
        assert!(state.ready().is_err() && state.not_draining().is_err());
        // The doors let nobody in any more; who was let in before is answered.
        let late = state.infer(request(files(vec![photo(0)]), &[])).await;
        late.unwrap();
    });
}
