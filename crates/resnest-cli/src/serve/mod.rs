//! `resnest serve`: models behind an address, until a signal ends it.

mod args;
mod log;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Error, anyhow};
use resnest::model::{keep_freed_memory, share_freed_memory};
use resnest::{ClassifierOptions, demo};
use resnest_serve::engine::{Answer, Input, Wants};
use resnest_serve::models::Stand;
use resnest_serve::{Options, Server, State};

pub use args::ServeArgs;

use crate::load::{model_options, overrides};
use crate::{Failure, Status, print};

/// Ends the process at once, as a second signal asks for.
const ENDED: i32 = 130;

pub fn run(args: &ServeArgs) -> Result<Status, Failure> {
    let options = options(args)?;
    more_files(options.limits.max_connections);
    share_freed_memory();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // They wait, read and write; what computes has threads of its own.
        .worker_threads(threads.clamp(1, 4))
        .thread_name("resnest-serve")
        .enable_all()
        .build()
        .map_err(|e| Failure::Other(Error::from(e).context("cannot start threads")))?;
    let ended = runtime.block_on(async {
        let log = log::start(args)?;
        let ended = serve(args, options).await;
        log.finish();
        ended
    });
    // A model that is still being loaded is not waited for.
    runtime.shutdown_timeout(Duration::from_millis(100));
    ended
}

async fn serve(args: &ServeArgs, options: Options) -> Result<Status, Failure> {
    let state = State::new(options).map_err(|e| Failure::Other(e.into()))?;
    if args.check {
        load(&state).await?;
        return check(&state).await;
    }
    let server = Server::bind(&state)
        .await
        .map_err(|e| Failure::Usage(e.into()))?;
    let line = ready_line(&server, &state).map_err(Failure::Other)?;
    on_signals(&state).map_err(Failure::Other)?;
    let mut running = tokio::spawn(server.run());
    tokio::select! {
        loaded = load(&state) => {
            loaded?;
            print(&line)?;
        }
        // A signal before anything is loaded.
        ended = &mut running => return end(ended),
    }
    end(running.await)
}

fn end(
    ended: Result<resnest_serve::Outcome<()>, tokio::task::JoinError>,
) -> Result<Status, Failure> {
    match ended {
        Ok(Ok(())) => {
            tracing::info!("ended");
            Ok(Status::Done)
        }
        Ok(Err(failure)) => Err(Failure::Other(failure.into())),
        Err(error) => Err(Failure::Other(
            Error::from(error).context("the server failed"),
        )),
    }
}

/// Loads all models at once; one that answers is enough.
async fn load(state: &Arc<State>) -> Result<(), Failure> {
    let mut loads = tokio::task::JoinSet::new();
    for (name, _) in state.models.all() {
        let state = state.clone();
        loads.spawn(async move { state.load_model(&name).await });
    }
    while let Some(loaded) = loads.join_next().await {
        // Why one could not be loaded is in the log, and said of it to clients.
        loaded
            .map_err(|e| Failure::Other(Error::from(e).context("loading failed")))?
            .ok();
    }
    // The process is the command's own, and only now has loading given its memory back.
    keep_freed_memory();
    if !state.models.ready().is_empty() {
        return Ok(());
    }
    let reasons = state
        .models
        .all()
        .into_iter()
        .filter_map(|(name, stand)| match stand {
            Stand::Failed(reason) => Some(format!("model {name}: {reason}")),
            _ => None,
        });
    Err(Failure::Model(anyhow!(
        "{}",
        reasons.collect::<Vec<_>>().join("\n")
    )))
}

/// One image of our own through each model.
async fn check(state: &Arc<State>) -> Result<Status, Failure> {
    let mut ended = Status::Done;
    for (name, stand) in state.models.all() {
        let Stand::Ready(model) = stand else {
            ended = Status::SomeFailed;
            continue;
        };
        let wants = Wants::Outputs {
            logits: model.classes() > 0,
            embeddings: model.classes() == 0,
        };
        let image = Input::Encoded(demo::PHOTOS[0].1.into());
        let done = state.answer(&model, vec![image], wants).await;
        let done =
            done.map_err(|e| Failure::Model(Error::from(e).context(format!("model {name}"))))?;
        for image in done {
            let answer = image
                .answer
                .map_err(|e| Failure::Model(Error::from(e).context(format!("model {name}"))))?;
            let numbers = match answer {
                Answer::Output(output) => output.logits.len().max(output.embedding.len()),
                Answer::Explanation(_) => 0,
            };
            print(&format!(
                "{name}: loaded in {:.3} s, answered an image in {:.1} ms with {numbers} numbers",
                model.loaded_in.as_secs_f64(),
                (image.times.decode + image.times.inference).as_secs_f64() * 1e3,
            ))?;
        }
    }
    Ok(ended)
}

fn ready_line(server: &Server, state: &State) -> anyhow::Result<String> {
    let http = server.http_address().context("the HTTP address")?;
    let grpc = server.grpc_address().context("the gRPC address")?;
    let grpc = grpc.map_or_else(String::new, |address| format!(" grpc://{address}"));
    let names: Vec<String> = state
        .models
        .all()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    Ok(format!(
        "resnest: ready: http://{http}{grpc} ({})",
        names.join(", ")
    ))
}

/// The first signal to end drains the server, a second one ends it.
fn on_signals(state: &Arc<State>) -> anyhow::Result<()> {
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let state = state.clone();
    tokio::spawn(async move {
        signals.next().await;
        tracing::info!("shutting down: what is in flight is still answered");
        state.life.drain();
        signals.next().await;
        std::process::exit(ENDED);
    });
    Ok(())
}

/// What asks a process to end.
#[cfg(unix)]
struct Signals(tokio::signal::unix::Signal, tokio::signal::unix::Signal);

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self(
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        ))
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}

/// What asks a process to end.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn options(args: &ServeArgs) -> Result<Options, Failure> {
    let threads = args::thread_count(args.threads);
    let mut classifier = ClassifierOptions::default();
    classifier.model = model_options(&args.hub)?;
    classifier.model.device = args.device;
    classifier.model.precision = args.precision.asked();
    classifier.model.weights_cache = args.weights_cache.clone().unwrap_or_default();
    classifier.model.overrides = overrides(&args.hub, None);
    classifier.threads = Some(threads);
    classifier.limits.max_bytes = args.max_body;
    classifier.limits.max_pixels = args.max_pixels;
    classifier.limits.max_memory = args.max_memory;
    let mut options = Options::default();
    options.models = args.model.clone();
    let mut names: Vec<&str> = options
        .models
        .iter()
        .map(|spec| spec.name.as_str())
        .collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        let text = format!(
            "--model: two models are called {}: give one another name with NAME=SOURCE",
            twice[0]
        );
        return Err(Failure::Usage(anyhow!(text)));
    }
    options.classifier = classifier;
    options.http = args.http.clone();
    options.grpc = (args.grpc != "off").then(|| args.grpc.clone());
    options.decode_threads = threads;
    options.max_batch = args.max_batch;
    options.queue = args.queue;
    options.limits.max_body = usize::try_from(args.max_body).unwrap_or(usize::MAX);
    options.limits.all_bodies = options
        .limits
        .all_bodies
        .max(options.limits.max_body.saturating_mul(4));
    options.limits.max_connections = args.max_connections.min(1 << 20);
    options.limits.request_timeout = args.request_timeout;
    options.limits.body_timeout = args.body_timeout;
    options.api_keys = keys(args)?;
    options.cors_origins = args.cors_origin.clone();
    options.model_control = args.model_control.into();
    options.drain_timeout = args.drain_timeout;
    Ok(options)
}

/// The lines of the file that are not empty; a file without any is a slip that would open the server to all.
fn keys(args: &ServeArgs) -> Result<Vec<String>, Failure> {
    let Some(file) = &args.api_key_file else {
        return Ok(Vec::new());
    };
    let text = std::fs::read_to_string(file);
    let text = text
        .with_context(|| format!("--api-key-file {}", file.display()))
        .map_err(Failure::Usage)?;
    let keys: Vec<String> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect();
    match keys.is_empty() {
        true => Err(Failure::Usage(anyhow!(
            "--api-key-file {}: there is no key in it",
            file.display()
        ))),
        false => Ok(keys),
    }
}

/// A connection is a file: as many are allowed as are wanted, where the system lets us.
#[cfg(unix)]
fn more_files(connections: usize) {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let wanted = connections as u64 + 256;
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < wanted
    {
        // What is not allowed is waited for: connections beyond it are accepted as others close.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, wanted.min(hard), hard);
    }
}

#[cfg(not(unix))]
fn more_files(_: usize) {}
