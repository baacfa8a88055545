//! The bar a download draws on standard error.

use std::fmt::Write;
use std::sync::{Arc, Mutex};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use resnest::hub::{HubOptions, Progress};

use super::args::HubArgs;
use super::words::shown;

/// One bar, reused for file after file. indicatif draws nothing when standard error is no terminal.
#[derive(Default)]
struct Bar(Mutex<Option<ProgressBar>>);

impl Bar {
    fn with(&self, act: impl FnOnce(&mut Option<ProgressBar>)) {
        if let Ok(mut bar) = self.0.lock() {
            act(&mut bar);
        }
    }
}

impl Progress for Bar {
    fn asking(&self, url: &str) {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("asking {msg}") {
            bar.set_style(style);
        }
        bar.set_message(url.to_owned());
        bar.tick();
        self.with(|slot| *slot = Some(bar));
    }

    fn answered(&self) {
        self.finish();
    }

    fn start(&self, file: &str, total: Option<u64>, already: u64) {
        let style = "{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(10))
            .with_style(
                ProgressStyle::with_template(style)
                    .unwrap_or_else(|_| ProgressStyle::default_bar()),
            )
            .with_message(shown(file).into_owned())
            .with_position(already);
        bar.reset_eta();
        self.with(|slot| *slot = Some(bar));
    }

    fn advance(&self, bytes: u64) {
        self.with(|slot| {
            if let Some(bar) = slot {
                bar.inc(bytes);
            }
        });
    }

    fn finish(&self) {
        self.with(|slot| {
            if let Some(bar) = slot.take() {
                bar.finish_and_clear();
            }
        });
    }
}

/// The environment's hub options with what the user set on the command line.
pub fn hub_options(args: &HubArgs) -> anyhow::Result<HubOptions> {
    let mut options = HubOptions::from_env()?;
    options.offline |= args.offline;
    if let Some(folder) = &args.cache_dir {
        options.cache_dir = folder.clone();
    }
    if !args.quiet {
        options.progress = Some(Arc::new(Bar::default()));
        options.warnings = Some(Arc::new(|sentence: &str| {
            eprintln!("warning: {}", shown(sentence))
        }));
    }
    Ok(options)
}

/// A bar that counts images, from those already done on; drawn only where standard error is a terminal.
pub fn images(name: &str, total: usize, done: usize, quiet: bool) -> ProgressBar {
    let target = match quiet {
        true => ProgressDrawTarget::hidden(),
        false => ProgressDrawTarget::stderr_with_hz(10),
    };
    let style = "{msg} {bar:30} {pos}/{len} images, {rate}/s, {eta} to go";
    let rate = |state: &ProgressState, out: &mut dyn Write| {
        // A bar that cannot be drawn is no reason to stop.
        let _ = write!(out, "{:.1}", state.per_sec());
    };
    let style = ProgressStyle::with_template(style).map(|style| style.with_key("rate", rate));
    let bar = ProgressBar::with_draw_target(Some(total as u64), target)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_message(shown(name).into_owned())
        .with_position(done as u64);
    bar.reset_eta();
    bar
}
