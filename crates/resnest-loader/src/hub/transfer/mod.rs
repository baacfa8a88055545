//! Files brought from the hub: what a build without the feature `hub` leaves out.

mod address;
mod bypass;
mod download;
mod http;
mod lock;
mod metadata;
mod page;
mod resolve;
mod retry;
mod store;
mod verify;

use std::path::PathBuf;

use download::Download;
use metadata::{Metadata, Refusal, ask};
use retry::Retries;

use super::error::HubError;
use super::layout::Layout;
use super::names::is_path_token;
use super::options::HubOptions;
use super::{Located, Progress};

pub(super) use http::Client;

impl Client {
    /// The file as the hub has it now; the `cached` copy stands in where the hub cannot be asked.
    pub(super) fn locate(
        &self,
        options: &HubOptions,
        layout: &Layout<'_>,
        cached: Option<(PathBuf, String)>,
    ) -> Result<Located, HubError> {
        let request = Request {
            client: self,
            options,
            layout,
        };
        match request.metadata(cached.is_some()) {
            Ok(metadata) => request.fetch(metadata),
            Err(error) => request.stand_in(cached, error),
        }
    }
}

/// The way of one file.
struct Request<'a> {
    client: &'a Client,
    options: &'a HubOptions,
    layout: &'a Layout<'a>,
}

impl Request<'_> {
    /// Asks the hub: at once and once when the cache could stand in, else patiently.
    fn metadata(&self, cached: bool) -> Result<Metadata, HubError> {
        let allowed = if cached { 0 } else { self.options.retries };
        let file = self.layout.file;
        let url = address::of_file(file, &self.options.endpoint);
        Retries::new(self.options, allowed).run(&url, || {
            self.report(|progress| progress.asking(&url));
            let answer = ask(self.client, file, self.options);
            self.report(|progress| progress.answered());
            answer.map_err(|refusal| {
                self.remember_missing(&refusal);
                refusal.failure
            })
        })
    }

    fn report(&self, what: impl FnOnce(&dyn Progress)) {
        if let Some(progress) = &self.options.progress {
            what(progress.as_ref());
        }
    }

    fn remember_missing(&self, refusal: &Refusal) {
        let absent = matches!(
            refusal.failure,
            http::Failure::Fatal(HubError::EntryNotFound { .. })
        );
        if let Some(commit) = refusal.commit.as_deref()
            && absent
            && is_path_token(commit)
        {
            self.layout.mark_missing(commit);
        }
    }

    fn fetch(&self, metadata: Metadata) -> Result<Located, HubError> {
        let Self {
            client,
            options,
            layout,
        } = *self;
        let (commit, etag) = (metadata.commit.clone(), metadata.etag.clone());
        let pointer = layout.pointer(&commit);
        let whole = std::fs::metadata(&pointer)
            .is_ok_and(|found| metadata.size.is_none_or(|size| size == found.len()));
        let mut downloaded = false;
        let path = if whole {
            pointer
        } else {
            let download = Download {
                client,
                options,
                file: layout.file,
                metadata,
                announced_page: false,
            };
            downloaded = download.ensure(layout)?;
            layout.place(&etag, &commit, options.symlinks)?
        };
        let mut located = Located::cached((path, commit));
        located.downloaded = downloaded;
        if let Err(error) = layout.write_ref(&located.commit) {
            // A cache mounted read-only still serves what it has.
            if downloaded {
                return Err(error);
            }
            options.warn(&error.to_string());
        }
        Ok(located)
    }

    /// The cached copy in the hub's place, where the failure allows it.
    fn stand_in(
        &self,
        cached: Option<(PathBuf, String)>,
        error: HubError,
    ) -> Result<Located, HubError> {
        match cached {
            Some(found) if cache_may_stand_in(&error) => {
                let file = self.layout.file;
                let warning =
                    format!("{file}: using the cached copy, which may be out of date: {error}");
                self.options.warn(&warning);
                let mut located = Located::cached(found);
                located.warning = Some(warning);
                Ok(located)
            }
            _ => Err(error),
        }
    }
}

/// Whether a copy in the cache may stand in, as in Python's huggingface_hub: the hub was not
/// reached, is down or refuses, as opposed to saying that the revision or file is not there.
fn cache_may_stand_in(error: &HubError) -> bool {
    matches!(
        error,
        HubError::Unreachable { .. }
            | HubError::Status { .. }
            | HubError::Overloaded { .. }
            | HubError::Protocol { .. }
            | HubError::Gated { .. }
            | HubError::Denied { .. }
            | HubError::RepositoryNotFound { .. }
    )
}
