//! A hub on the loopback: the part of huggingface.co's protocol that a download uses, with faults
//! on demand. `check_server.py` holds it to Python's huggingface_hub.
//!
//! Two listeners share one state: the hub (`/{repo}/resolve/{rev}/{file}`, `/api/models/...`) and
//! a CDN on another port, which plays the foreign host that LFS files are redirected to.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use sha1::Sha1;
use sha2::{Digest, Sha256};

pub const COMMIT: &str = "1111111111111111111111111111111111111111";

/// One request as it came in.
#[derive(Debug, Clone)]
pub struct Seen {
    pub cdn: bool,
    pub method: String,
    pub path: String,
    pub range: Option<u64>,
    pub authorization: Option<String>,
    /// Bytes of the body that were written.
    pub sent: u64,
}

/// What goes wrong with an answer.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The connection closes after so many bytes of the body.
    Cut(usize),
    /// Silence after so many bytes of the body.
    Stall(usize, Duration),
    /// So many bytes of the body, then one at a time with this pause between them.
    Drip(usize, Duration),
    /// Another status, with further headers, and a page in place of the body.
    Status(u16, &'static str),
    /// The range is ignored and the whole is sent.
    IgnoreRange,
    /// A 206 that starts elsewhere.
    WrongRange,
    /// Every byte is another.
    WrongBytes,
    /// The body has another length than announced by the hub; the header agrees with the body.
    Resized(usize),
    /// A body without end, its length unsaid.
    Endless,
    /// These headers are left out.
    Without(&'static [&'static str]),
    /// This header has that value.
    With(&'static str, &'static str),
    /// These bytes are the whole answer.
    Raw(&'static [u8]),
    /// No fault: lets an answer pass before the next fault in line.
    Pass,
}

#[derive(Clone)]
struct Entry {
    bytes: Arc<Vec<u8>>,
    lfs: bool,
}

/// The hub answers for files kept in git from an address of its own, behind a relative redirect.
const RESOLVE_CACHE: &str = "api/resolve-cache/models/";

#[derive(Default)]
struct Repo {
    refs: BTreeMap<String, String>,
    commits: BTreeMap<String, BTreeMap<String, Entry>>,
}

#[derive(Default)]
struct State {
    repos: BTreeMap<String, Repo>,
    renamed: BTreeMap<String, String>,
    cdn: BTreeMap<String, Entry>,
    cdn_port: u16,
    seen: Vec<Seen>,
    /// By `METHOD` and the end of the path.
    faults: Vec<(String, String, VecDeque<Fault>)>,
    /// Whether a repository's answers need this token.
    token: Option<String>,
    /// Whether `X-Error-Code` is left out, as by plain mirrors.
    nameless: bool,
    /// Whether files are on the hub's own host.
    no_cdn: bool,
}

#[derive(Clone)]
pub struct Server {
    state: Arc<Mutex<State>>,
    port: u16,
}

impl Server {
    pub fn start() -> Self {
        let hub = TcpListener::bind("127.0.0.1:0").unwrap();
        let cdn = TcpListener::bind("127.0.0.1:0").unwrap();
        let state = Arc::new(Mutex::new(State {
            cdn_port: cdn.local_addr().unwrap().port(),
            ..State::default()
        }));
        let port = hub.local_addr().unwrap().port();
        for (listener, is_cdn) in [(hub, false), (cdn, true)] {
            let state = state.clone();
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let state = state.clone();
                    // Errors here are the client's hanging up, which some tests provoke.
                    thread::spawn(move || serve(stream, &state, is_cdn).ok());
                }
            });
        }
        Self { state, port }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Puts a file into `repo` at `commit` and points `main` there.
    pub fn put(&self, repo: &str, commit: &str, name: &str, bytes: &[u8], lfs: bool) {
        let entry = Entry {
            bytes: Arc::new(bytes.to_vec()),
            lfs,
        };
        let mut state = self.state();
        if lfs {
            state.cdn.insert(sha256(bytes), entry.clone());
        }
        let repo = state.repos.entry(repo.to_owned()).or_default();
        repo.refs.insert("main".to_owned(), commit.to_owned());
        let files = repo.commits.entry(commit.to_owned()).or_default();
        files.insert(name.to_owned(), entry);
    }

    /// Takes a repository down, and its files off the CDN.
    pub fn remove(&self, repo: &str) {
        let mut state = self.state();
        let gone = state.repos.remove(repo).unwrap_or_default();
        let files = gone.commits.values().flat_map(BTreeMap::values);
        for entry in files.filter(|entry| entry.lfs) {
            state.cdn.remove(&sha256(&entry.bytes));
        }
    }

    pub fn set_ref(&self, repo: &str, name: &str, commit: &str) {
        let mut state = self.state();
        let repo = state.repos.entry(repo.to_owned()).or_default();
        repo.refs.insert(name.to_owned(), commit.to_owned());
    }

    /// Redirects `old` to `new`, as the hub does for a repository that was renamed.
    pub fn rename(&self, old: &str, new: &str) {
        self.state().renamed.insert(old.to_owned(), new.to_owned());
    }

    /// The next answers to `method` on paths that end so have these faults, one each.
    pub fn fault(&self, method: &str, path_end: &str, faults: impl IntoIterator<Item = Fault>) {
        let faults = faults.into_iter().collect();
        let mut state = self.state();
        state
            .faults
            .push((method.to_owned(), path_end.to_owned(), faults));
    }

    pub fn require_token(&self, token: &str) {
        self.state().token = Some(token.to_owned());
    }

    pub fn leave_out_error_codes(&self) {
        self.state().nameless = true;
    }

    pub fn without_cdn(&self) {
        self.state().no_cdn = true;
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    /// Requests for bytes.
    pub fn gets(&self) -> Vec<Seen> {
        let seen = self.seen();
        seen.into_iter()
            .filter(|seen| seen.method == "GET")
            .collect()
    }
}

pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// What `git hash-object` says.
pub fn git_hash(bytes: &[u8]) -> String {
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {}\0", bytes.len()));
    hasher.update(bytes);
    hex(&hasher.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Request {
    method: String,
    path: String,
    range: Option<u64>,
    authorization: Option<String>,
}

fn read_request(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let mut words = first.split(' ');
    let mut request = Request {
        method: words.next()?.to_owned(),
        path: words.next()?.to_owned(),
        range: None,
        authorization: None,
    };
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(": ") else {
            return Some(request);
        };
        match name.to_ascii_lowercase().as_str() {
            "range" => {
                let start = value.strip_prefix("bytes=")?.strip_suffix('-')?;
                request.range = Some(start.parse().ok()?);
            }
            "authorization" => request.authorization = Some(value.to_owned()),
            _ => {}
        }
    }
    None
}

/// An answer before anything goes wrong with it.
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Arc<Vec<u8>>,
    start: usize,
}

impl Answer {
    fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Arc::new(Vec::new()),
            start: 0,
        }
    }

    fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.set(name, value);
        self
    }

    fn set(&mut self, name: &str, value: impl ToString) {
        self.headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_string()));
    }

    fn error(status: u16, code: &str, message: &str) -> Self {
        let page = format!("<html>{message}</html>");
        let mut answer = Self::new(status)
            .header("X-Error-Code", code)
            .header("X-Error-Message", message)
            .header("Content-Type", "text/html");
        answer.body = Arc::new(page.into_bytes());
        answer
    }

    fn bytes(bytes: &Arc<Vec<u8>>, range: Option<u64>) -> Self {
        let (total, start) = (bytes.len(), range.unwrap_or(0) as usize);
        if range.is_some() && start >= total {
            return Self::new(416).header("Content-Range", format!("bytes */{total}"));
        }
        let mut answer = Self::new(if range.is_some() { 206 } else { 200 });
        if range.is_some() {
            let span = format!("bytes {start}-{}/{total}", total - 1);
            answer.set("Content-Range", span);
        }
        answer.body = bytes.clone();
        answer.start = start;
        answer
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>, cdn: bool) -> std::io::Result<()> {
    let Some(mut request) = read_request(&stream) else {
        return Ok(());
    };
    let (number, fault, answer) = {
        let mut state = state.lock().unwrap();
        state.seen.push(Seen {
            cdn,
            method: request.method.clone(),
            path: request.path.clone(),
            range: request.range,
            authorization: request.authorization.clone(),
            sent: 0,
        });
        let fault = state.next_fault(&request);
        if matches!(fault, Fault::IgnoreRange) {
            request.range = None;
        }
        let answer = if cdn {
            state.cdn_answer(&request)
        } else {
            state.hub_answer(&request)
        };
        (state.seen.len() - 1, fault, answer)
    };
    let count = |sent: usize| state.lock().unwrap().seen[number].sent += sent as u64;
    write_answer(stream, request.method == "HEAD", fault, answer, count)
}

/// Sends `answer` with its fault; `count` is told of every piece of body written.
fn write_answer(
    mut stream: TcpStream,
    head: bool,
    fault: Fault,
    mut answer: Answer,
    count: impl Fn(usize),
) -> std::io::Result<()> {
    match &fault {
        Fault::Raw(bytes) => return stream.write_all(bytes),
        Fault::Status(status, header) => {
            answer = Answer::error(*status, "Fault", "as the test wants it");
            if let Some((name, value)) = header.split_once(": ") {
                answer.set(name, value);
            }
        }
        Fault::WrongBytes => {
            let wrong = answer.body.iter().map(|byte| byte ^ 0x55).collect();
            answer.body = Arc::new(wrong);
        }
        Fault::Resized(length) => {
            let mut body = answer.body.to_vec();
            body.resize(*length, b'x');
            answer.body = Arc::new(body);
        }
        Fault::WrongRange => {
            answer.start /= 2;
            let total = answer.body.len();
            let span = format!("bytes {}-{}/{total}", answer.start, total - 1);
            answer.set("Content-Range", span);
        }
        _ => {}
    }
    let body = &answer.body[answer.start.min(answer.body.len())..];
    if !matches!(fault, Fault::Endless)
        && !answer.headers.iter().any(|(n, _)| n == "Content-Length")
    {
        answer
            .headers
            .push(("Content-Length".to_owned(), body.len().to_string()));
    }
    if let Fault::With(name, value) = fault {
        answer
            .headers
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        answer.headers.push((name.to_owned(), value.to_owned()));
    }
    let mut text = format!("HTTP/1.1 {} X\r\nConnection: close\r\n", answer.status);
    for (name, value) in &answer.headers {
        let left_out = matches!(&fault, Fault::Without(names) if names.contains(&name.as_str()));
        if !left_out {
            text += &format!("{name}: {value}\r\n");
        }
    }
    stream.write_all((text + "\r\n").as_bytes())?;
    if head {
        return Ok(());
    }
    match fault {
        Fault::Cut(bytes) => send(&mut stream, &body[..bytes.min(body.len())], count),
        Fault::Stall(bytes, time) => {
            send(&mut stream, &body[..bytes.min(body.len())], count)?;
            thread::sleep(time);
            Ok(())
        }
        Fault::Drip(bytes, pause) => {
            send(&mut stream, &body[..bytes], &count)?;
            body[bytes..].chunks(1).try_for_each(|byte| {
                thread::sleep(pause);
                send(&mut stream, byte, &count)
            })
        }
        Fault::Endless => loop {
            send(&mut stream, &[b'x'; 8192], &count)?;
        },
        _ => send(&mut stream, body, count),
    }
}

fn send(stream: &mut TcpStream, body: &[u8], count: impl Fn(usize)) -> std::io::Result<()> {
    for piece in body.chunks(16 << 10) {
        stream.write_all(piece)?;
        count(piece.len());
    }
    stream.flush()
}

impl State {
    fn next_fault(&mut self, request: &Request) -> Fault {
        let path = request.path.split('?').next().unwrap_or_default();
        self.faults
            .iter_mut()
            .filter(|(method, end, _)| *method == request.method && path.ends_with(end.as_str()))
            .find_map(|(_, _, faults)| faults.pop_front())
            .unwrap_or(Fault::Pass)
    }

    /// `/cdn/{sha256}?signature=...`
    fn cdn_answer(&self, request: &Request) -> Answer {
        let path = request.path.split('?').next().unwrap_or_default();
        let name = path.trim_start_matches("/cdn/");
        match self.cdn.get(name) {
            // S3 and the Xet bridge answer with ETags of their own, unlike the hub's.
            Some(entry) => Answer::bytes(&entry.bytes, request.range).header("ETag", "\"cdn\""),
            None => Answer::error(404, "NoSuchKey", "no such key"),
        }
    }

    fn hub_answer(&self, request: &Request) -> Answer {
        let path = request.path.split('?').next().unwrap_or_default();
        let path = path.trim_start_matches('/').replace("%2F", "/");
        let answer = if let Some(rest) = path.strip_prefix("api/models/") {
            self.api(rest)
        } else if let Some(rest) = path.strip_prefix(RESOLVE_CACHE) {
            self.git_answer(rest, request)
        } else if let Some((repo, rest)) = path.split_once("/resolve/") {
            self.resolve(repo, rest, request)
        } else {
            Answer::error(404, "", "no such page")
        };
        match self.nameless {
            true => Answer {
                headers: answer
                    .headers
                    .into_iter()
                    .filter(|(name, _)| !name.starts_with("X-Error"))
                    .collect(),
                ..answer
            },
            false => answer,
        }
    }

    /// `{repo}` or `{repo}/revision/{revision}`.
    fn api(&self, rest: &str) -> Answer {
        let (name, revision) = rest.split_once("/revision/").unwrap_or((rest, "main"));
        let Some(repo) = self.repos.get(name) else {
            return Answer::error(404, "RepoNotFound", "Repository not found");
        };
        let Some((commit, files)) = repo.at(revision) else {
            return Answer::error(404, "RevisionNotFound", "Invalid rev id");
        };
        let names: Vec<String> = files
            .keys()
            .map(|file| format!("{{\"rfilename\":\"{file}\"}}"))
            .collect();
        let body = format!(
            "{{\"id\":\"{name}\",\"sha\":\"{commit}\",\"siblings\":[{}]}}",
            names.join(",")
        );
        let mut answer = Answer::new(200).header("Content-Type", "application/json");
        answer.body = Arc::new(body.into_bytes());
        answer
    }

    fn resolve(&self, name: &str, rest: &str, request: &Request) -> Answer {
        if let Some(new_name) = self.renamed.get(name) {
            let place = format!("/{new_name}/resolve/{}", rest.replace(' ', "%20"));
            return Answer::new(307).header("Location", place);
        }
        let Some(repo) = self.repos.get(name) else {
            return Answer::error(404, "RepoNotFound", "Repository not found");
        };
        if let Some(token) = &self.token
            && request.authorization.as_deref() != Some(format!("Bearer {token}").as_str())
        {
            return Answer::error(401, "GatedRepo", "Access to this model is restricted");
        }
        // Branches may hold slashes (`refs/pr/1`): the longest known prefix is the revision.
        let known = rest.match_indices('/').rev().find_map(|(slash, _)| {
            let (revision, file) = (&rest[..slash], &rest[slash + 1..]);
            repo.at(revision)
                .map(|(commit, files)| (commit, files, file))
        });
        let Some((commit, files, file)) = known else {
            return Answer::error(404, "RevisionNotFound", "Invalid rev id");
        };
        match files.get(&file.replace("%20", " ")) {
            Some(entry) if entry.lfs => self.lfs_answer(entry, request),
            Some(_) => {
                let place = format!("/{RESOLVE_CACHE}{name}/{commit}/{file}?x=%2F");
                Answer::new(307).header("Location", place)
            }
            None => Answer::error(404, "EntryNotFound", "Entry not found"),
        }
        .header("X-Repo-Commit", commit)
    }

    /// `{user}/{repo}/{commit}/{file}`
    fn git_answer(&self, rest: &str, request: &Request) -> Answer {
        let found = self.repos.iter().find_map(|(name, repo)| {
            let (commit, file) = rest.strip_prefix(name)?[1..].split_once('/')?;
            let entry = repo.commits.get(commit)?.get(&file.replace("%20", " "))?;
            Some((commit, entry))
        });
        let Some((commit, entry)) = found else {
            return Answer::error(404, "EntryNotFound", "Entry not found");
        };
        let hash = git_hash(&entry.bytes);
        Answer::bytes(&entry.bytes, request.range)
            .header("ETag", format!("\"{hash}\""))
            .header("X-Repo-Commit", commit)
    }

    fn lfs_answer(&self, entry: &Entry, request: &Request) -> Answer {
        let hash = sha256(&entry.bytes);
        let answer = if self.no_cdn {
            Answer::bytes(&entry.bytes, request.range)
        } else {
            let host = format!("http://127.0.0.1:{}", self.cdn_port);
            Answer::new(302).header("Location", format!("{host}/cdn/{hash}?signature=secret"))
        };
        answer
            .header("X-Linked-ETag", format!("\"{hash}\""))
            .header("X-Linked-Size", entry.bytes.len())
    }
}

impl Repo {
    fn at(&self, revision: &str) -> Option<(&str, &BTreeMap<String, Entry>)> {
        let commit = self.refs.get(revision).map_or(revision, String::as_str);
        let (commit, files) = self.commits.get_key_value(commit)?;
        Some((commit, files))
    }
}
