//! `resnest download`: bring models into the cache and say where they are.

use clap::Args;
use resnest::loader::{Loader, Resolved};
use resnest::{ModelSource, demo};

use super::args::HubArgs;
use super::words::{shown, shown_lines, shown_path};
use super::{Failure, Status, load, print};

#[derive(Debug, Args)]
pub struct DownloadArgs {
    /// ARCH[.TAG] or hf-hub:USER/REPO[@REV]
    #[arg(required = true, value_name = "NAME")]
    pub models: Vec<String>,
    #[command(flatten)]
    pub hub: HubArgs,
}

/// Downloads each model; one that fails does not keep the others from coming.
pub fn run(args: &DownloadArgs) -> Result<Status, Failure> {
    let loader = load::loader(&args.hub)?;
    let mut failed = None;
    for name in &args.models {
        if name == demo::NAME {
            print(&format!(
                "{name}\t(part of this program: nothing to download)"
            ))?;
            continue;
        }
        match download(&loader, name, args) {
            Ok((resolved, path)) => {
                load::warn(&resolved.warnings, args.hub.quiet);
                print(&format!("{}\t{path}", shown(&resolved.name)))?;
            }
            Err(error) => {
                let error = error.context(format!("model {name}"));
                match args.models.len() {
                    1 => return Err(Failure::Model(error)),
                    _ => eprintln!("error: {}", shown_lines(&format!("{error:#}"))),
                }
                failed = Some(name);
            }
        }
    }
    Ok(if failed.is_some() {
        Status::SomeFailed
    } else {
        Status::Done
    })
}

fn download(
    loader: &Loader,
    name: &str,
    args: &DownloadArgs,
) -> anyhow::Result<(Resolved, String)> {
    let source: ModelSource = name.parse()?;
    let resolved = loader.resolve(&source, &load::overrides(&args.hub, None))?;
    let path = loader.download(&resolved)?;
    Ok((resolved, shown_path(&path)))
}
