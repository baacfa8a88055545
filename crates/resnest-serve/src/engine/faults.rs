//! Threads that hang or panic, as a test asks them to; and what the server makes of that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use resnest::demo;

use super::{Engine, Input, Wants};
use crate::failure::Kind;
use crate::models::Model;
use crate::{Options, Outcome, State};

const WELL: u8 = 0;
const HANGS: u8 = 1;
const PANICS: u8 = 2;

/// What is wrong with whom.
#[derive(Debug, Default)]
pub(super) struct Faults {
    decode: AtomicU8,
    compute: AtomicU8,
}

impl Faults {
    pub(super) fn decoding(&self) {
        pass(&self.decode);
    }

    pub(super) fn computing(&self) {
        pass(&self.compute);
    }
}

fn pass(fault: &AtomicU8) {
    while fault.load(Ordering::SeqCst) == HANGS {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_ne!(fault.load(Ordering::SeqCst), PANICS, "as the test asks");
}

fn faults(engine: &Engine) -> &Faults {
    &engine.shared.faults
}

fn photo() -> Vec<Input> {
    vec![Input::Encoded(demo::PHOTOS[0].1.into())]
}

const LOGITS: Wants = Wants::Outputs {
    logits: true,
    embeddings: false,
};

async fn server() -> (Arc<State>, Arc<Model>) {
    let mut options = Options {
        models: vec!["demo".parse().unwrap()],
        decode_threads: 1,
        ..Options::default()
    };
    options.classifier.threads = Some(1);
    let state = State::new(options).unwrap();
    state.load_model("demo").await.unwrap();
    let model = state.models.get(None, None).unwrap();
    (state, model)
}

fn run<F: Future<Output = ()>>(test: F) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(test);
}

async fn answers(state: &State, model: &Arc<Model>) -> Outcome<()> {
    let mut done = state.answer(model, photo(), LOGITS).await?;
    done.remove(0).answer.map(drop)
}

/// One that neither decodes nor computes any more is found out, and found well again afterwards.
#[test]
fn a_stage_that_hangs_is_noticed_and_forgiven() {
    run(async {
        let (state, model) = server().await;
        for decode in [true, false] {
            let faults = faults(&state.engine);
            let fault = if decode {
                &faults.decode
            } else {
                &faults.compute
            };
            assert!(state.alive().await.is_ok());
            fault.store(HANGS, Ordering::SeqCst);
            assert!(state.alive().await.is_ok(), "nothing has been asked of it");
            let waiting = tokio::spawn({
                let (state, model) = (state.clone(), model.clone());
                async move { answers(&state, &model).await }
            });
            tokio::time::sleep(Duration::from_millis(300)).await;
            let failure = state.alive().await.unwrap_err();
            assert_eq!(failure.kind, Kind::Unavailable, "{failure}");
            assert!(state.ready().is_ok(), "of models it has no reason to doubt");
            fault.store(WELL, Ordering::SeqCst);
            waiting.await.unwrap().unwrap();
            assert!(state.alive().await.is_ok());
        }
    });
}

/// A batch that fails fails for its own clients, and the server says that it is ill until an image of its own goes well.
#[test]
fn a_network_that_panics_is_ill_until_it_answers_again() {
    run(async {
        let (state, model) = server().await;
        let faults = faults(&state.engine);
        faults.compute.store(PANICS, Ordering::SeqCst);
        for _ in 0..3 {
            assert_eq!(
                answers(&state, &model).await.unwrap_err().kind,
                Kind::Internal
            );
            // Its clients may hear of it before the server has written it down.
            while state.engine.trouble(Duration::MAX).is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            assert!(state.alive().await.is_err());
        }
        assert_eq!(
            model.places.available_permits(),
            model.queue,
            "no place is lost"
        );
        faults.compute.store(WELL, Ordering::SeqCst);
        assert!(state.alive().await.is_ok(), "its own image went well");
        answers(&state, &model).await.unwrap();
    });
}

/// Clients that leave while the network hangs give their places back, but for those whose images it has in hand.
#[test]
fn those_who_leave_make_room_at_once() {
    run(async {
        let (state, model) = server().await;
        let faults = faults(&state.engine);
        faults.compute.store(HANGS, Ordering::SeqCst);
        let mut waiting = Vec::new();
        for _ in 0..20 {
            let (state, model) = (state.clone(), model.clone());
            waiting.push(tokio::spawn(async move { answers(&state, &model).await }));
        }
        let taken = || model.queue - model.places.available_permits();
        while taken() < 20 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
        for one in waiting {
            assert!(one.await.is_err());
        }
        assert!(
            taken() <= model.max_batch + 1,
            "{} of 20 are still taken",
            taken()
        );
        faults.compute.store(WELL, Ordering::SeqCst);
        answers(&state, &model).await.unwrap();
        while taken() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}
