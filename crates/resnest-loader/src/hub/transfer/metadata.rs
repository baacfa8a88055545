//! Commit, ETag, size and address of a file, asked for before its bytes.

use ureq::http::{HeaderMap, StatusCode, Uri};

use super::address;
use super::http::{Client, Failure, busy, resolve, same_origin, server_message, shown, text};
use crate::hub::error::HubError;
use crate::hub::names::{FileRef, is_path_token};
use crate::hub::options::HubOptions;

const MAX_REDIRECTS: usize = 10;

/// One file as the hub has it now.
#[derive(Debug)]
pub(super) struct Metadata {
    /// The commit that the revision stands for.
    pub commit: String,
    /// The blob's name: sha256 for LFS and Xet files, git blob hash for others.
    pub etag: String,
    /// Bytes; absent where a mirror does not send it.
    pub size: Option<u64>,
    /// Where the bytes are: the endpoint itself or a CDN's signed address.
    pub location: Uri,
}

/// A refusal, and the commit at which the hub looked, if it sent one.
pub(super) struct Refusal {
    pub failure: Failure,
    pub commit: Option<String>,
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            commit: None,
        }
    }
}

/// Headers gathered along the redirects of one request.
#[derive(Default)]
struct Gathered {
    commit: Option<String>,
    linked_etag: Option<String>,
    linked_size: Option<String>,
}

impl Gathered {
    fn add(&mut self, headers: &HeaderMap) {
        let take = |slot: &mut Option<String>, name: &str| {
            if let Some(value) = text(headers, name) {
                *slot = Some(value.to_owned());
            }
        };
        take(&mut self.commit, "x-repo-commit");
        take(&mut self.linked_etag, "x-linked-etag");
        take(&mut self.linked_size, "x-linked-size");
    }
}

/// Asks once. Redirects are followed within a host; one to another host ends the way, as the
/// answer that carries it describes the file, except where a mirror describes nothing.
pub(super) fn ask(
    client: &Client,
    file: &FileRef,
    options: &HubOptions,
) -> Result<Metadata, Refusal> {
    let mut url = parse(&address::of_file(file, &options.endpoint))?;
    let mut gathered = Gathered::default();
    for _ in 0..MAX_REDIRECTS {
        let response = client.head(&url, options)?;
        let (status, headers) = (response.status(), response.headers());
        gathered.add(headers);
        if status.is_success() {
            let length = text(headers, "content-length").map(str::to_owned);
            gathered.linked_size = gathered.linked_size.or(length);
            let found = Metadata::new(gathered, headers, &url, url.clone());
            return Ok(checked(found?, file, options)?);
        }
        if !status.is_redirection() {
            return Err(refusal(client, file, options, &url, status, headers));
        }
        let target = redirect_target(&url, headers)?;
        if !same_origin(&url, &target) && gathered.commit.is_some() {
            let found = Metadata::new(gathered, headers, &url, target);
            return Ok(checked(found?, file, options)?);
        }
        url = target;
    }
    Err(protocol(&url, format!("more than {MAX_REDIRECTS} redirects")).into())
}

impl Metadata {
    /// `last` holds the headers of the answer at which the way ended.
    fn new(
        gathered: Gathered,
        last: &HeaderMap,
        url: &Uri,
        location: Uri,
    ) -> Result<Self, Failure> {
        let commit = gathered
            .commit
            .ok_or_else(|| protocol(url, nameless(last)))?;
        let etag = gathered
            .linked_etag
            .or_else(|| text(last, "etag").map(str::to_owned))
            .ok_or_else(|| protocol(url, "no X-Linked-ETag or ETag header"))?;
        let etag = etag.trim_start_matches("W/").trim_matches('"').to_owned();
        for (name, value) in [("X-Repo-Commit", &commit), ("ETag", &etag)] {
            if !is_path_token(value) {
                return Err(protocol(url, format!("{name} {value:?} is not a hash")));
            }
        }
        let size = match gathered.linked_size {
            Some(value) => Some(
                value
                    .parse()
                    .map_err(|_| protocol(url, format!("size {value:?} is not a number")))?,
            ),
            None => None,
        };
        Ok(Self {
            commit,
            etag,
            size,
            location,
        })
    }
}

/// An answer without the hub's first header: mostly a log-in page's.
fn nameless(headers: &HeaderMap) -> &'static str {
    match super::page::is_announced(headers) {
        true => "an HTML page without X-Repo-Commit header (the log-in page of this network?)",
        false => "no X-Repo-Commit header",
    }
}

fn checked(found: Metadata, file: &FileRef, options: &HubOptions) -> Result<Metadata, Failure> {
    if let Some(pinned) = file.pinned_commit().filter(|&pin| pin != found.commit) {
        let problem = format!("asked for commit {pinned}, answered {}", found.commit);
        return Err(protocol(&found.location, problem));
    }
    match found.size {
        Some(size) if size > options.max_bytes => Err(Failure::Fatal(HubError::TooLarge {
            file: Box::new(file.clone()),
            size,
            limit: options.max_bytes,
        })),
        _ => Ok(found),
    }
}

/// Where a redirect leads.
pub(super) fn redirect_target(url: &Uri, headers: &HeaderMap) -> Result<Uri, Failure> {
    let location = text(headers, "location")
        .ok_or_else(|| protocol(url, "a redirect without a Location header"))?;
    resolve(url, location).ok_or_else(|| protocol(url, "a redirect to no http(s) address"))
}

/// An answer other than the file's, as the error it stands for.
pub(super) fn refusal(
    client: &Client,
    file: &FileRef,
    options: &HubOptions,
    url: &Uri,
    status: StatusCode,
    headers: &HeaderMap,
) -> Refusal {
    let commit = text(headers, "x-repo-commit").map(str::to_owned);
    let failure = busy(status.as_u16(), headers).unwrap_or_else(|| {
        named_refusal(file, options, status, headers)
            .unwrap_or_else(|| unnamed_refusal(client, file, options, url, status, headers))
    });
    Refusal { failure, commit }
}

/// The hub's own names for refusals, in `X-Error-Code`.
fn named_refusal(
    file: &FileRef,
    options: &HubOptions,
    status: StatusCode,
    headers: &HeaderMap,
) -> Option<Failure> {
    let error = match text(headers, "x-error-code")? {
        "EntryNotFound" => entry_not_found(file),
        "RevisionNotFound" => revision_not_found(file),
        "RepoNotFound" => repository_not_found(file, options, status),
        "GatedRepo" => HubError::Gated {
            file: Box::new(file.clone()),
            endpoint: options.endpoint.clone(),
            message: server_message(headers),
        },
        _ => return None,
    };
    Some(Failure::Fatal(error))
}

fn unnamed_refusal(
    client: &Client,
    file: &FileRef,
    options: &HubOptions,
    url: &Uri,
    status: StatusCode,
    headers: &HeaderMap,
) -> Failure {
    let message = server_message(headers);
    match status.as_u16() {
        404 => what_is_missing(client, file, options).unwrap_or_else(|failure| failure),
        401 | 403 => Failure::Fatal(HubError::Denied {
            file: Box::new(file.clone()),
            status: status.as_u16(),
            message,
        }),
        status => Failure::Fatal(HubError::Status {
            url: shown(url),
            status,
            attempts: 1,
            message,
        }),
    }
}

/// A 404 without a name (plain file servers, some mirrors): asks the API which part is missing.
fn what_is_missing(
    client: &Client,
    file: &FileRef,
    options: &HubOptions,
) -> Result<Failure, Failure> {
    let exists = |address: String| -> Result<Option<Failure>, Failure> {
        let response = client.head(&parse(&address)?, options)?;
        let status = response.status();
        if status.is_success() || status.is_redirection() {
            return Ok(None);
        }
        if let Some(failure) = busy(status.as_u16(), response.headers()) {
            return Err(failure);
        }
        let named = named_refusal(file, options, status, response.headers());
        Ok(Some(named.unwrap_or_else(|| {
            Failure::Fatal(repository_not_found(file, options, status))
        })))
    };
    let Some(refused) = exists(address::of_revision(file, &options.endpoint))? else {
        return Ok(Failure::Fatal(entry_not_found(file)));
    };
    let whole_repository = matches!(refused, Failure::Fatal(HubError::RepositoryNotFound { .. }));
    if whole_repository && exists(address::of_repo(file, &options.endpoint))?.is_none() {
        return Ok(Failure::Fatal(revision_not_found(file)));
    }
    Ok(refused)
}

fn entry_not_found(file: &FileRef) -> HubError {
    HubError::EntryNotFound {
        file: Box::new(file.clone()),
    }
}

fn revision_not_found(file: &FileRef) -> HubError {
    HubError::RevisionNotFound {
        repo: file.repo().to_owned(),
        revision: file.revision().to_owned(),
    }
}

fn repository_not_found(file: &FileRef, options: &HubOptions, status: StatusCode) -> HubError {
    HubError::RepositoryNotFound {
        repo: file.repo().to_owned(),
        endpoint: options.endpoint.clone(),
        status: status.as_u16(),
    }
}

/// A failure of the answer itself: it is not what a hub sends.
pub(super) fn protocol(url: &Uri, problem: impl Into<String>) -> Failure {
    Failure::Fatal(HubError::Protocol {
        url: shown(url),
        problem: problem.into(),
    })
}

fn parse(address: &str) -> Result<Uri, Failure> {
    address.parse().map_err(|_| {
        Failure::Fatal(HubError::Protocol {
            url: address.to_owned(),
            problem: "not an address".to_owned(),
        })
    })
}
