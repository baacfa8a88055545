//! `resnest download`: bring models into the cache and say where they are.

use resnest::ModelSource;
use resnest::loader::{Loader, Resolved};

use super::args::DownloadArgs;
use super::words::{shown, shown_lines, shown_path};
use super::{Failure, Status, load, print};

/// Downloads each model; one that fails does not keep the others from coming.
pub fn run(args: &DownloadArgs) -> Result<Status, Failure> {
    let loader = load::loader(&args.hub)?;
    let mut failed = None;
    for name in &args.models {
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
