//! The command, started and watched.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::client::{Answer, Client, get, post};
use crate::common;

/// However slow the machine: what takes longer never comes.
pub const LONG: Duration = Duration::from_secs(120);

pub struct Server {
    child: Child,
    pub address: String,
    log: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Server {
    /// The demo model behind a free port, with these options besides.
    pub fn start(options: &[&str]) -> Self {
        Self::of(&["demo"], options)
    }

    /// The same of other models.
    pub fn of(models: &[&str], options: &[&str]) -> Self {
        let mut arguments = vec!["serve", "--http", "127.0.0.1:0", "--grpc", "off"];
        models
            .iter()
            .for_each(|model| arguments.extend(["--model", model]));
        arguments.extend(options);
        let mut child = common::command(&arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (into, mut from) = (log.clone(), child.stderr.take().unwrap());
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 1 << 16];
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                into.lock().unwrap().extend_from_slice(&bytes[..count]);
            }
        });
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line
            .split("http://")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next())
            .unwrap_or_else(|| {
                panic!(
                    "{line:?}: {}",
                    String::from_utf8_lossy(&log.lock().unwrap())
                )
            })
            .to_owned();
        Self {
            child,
            address,
            log,
            reader: Some(reader),
        }
    }

    pub fn connect(&self) -> Client {
        Client::connect(&self.address)
    }

    /// One request on a connection of its own.
    pub fn ask(&self, request: &[u8]) -> Answer {
        self.connect().ask(request)
    }

    /// That it answers, and rightly.
    pub fn is_well(&self) {
        let health = self.ask(&get("/v2/health/ready"));
        assert_eq!(health.status, 200, "{}", health.text());
        let answer = self.ask(&post("/classify", &[], crate::images::HORSE));
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()[0]["label"], "horse");
    }

    /// A number of `/metrics`: the first line that begins so.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.ask(&get("/metrics")).text();
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
        value.unwrap_or_else(|| panic!("no {name} in {text}"))
    }

    /// Waits until a metric is as it should be.
    pub fn until(&self, name: &str, fits: impl Fn(f64) -> bool) {
        let start = Instant::now();
        loop {
            let value = self.metric(name);
            if fits(value) {
                return;
            }
            assert!(start.elapsed() < LONG, "{name} is {value}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Bytes of memory: `VmRSS` now, `VmHWM` at most so far.
    pub fn memory(&self, what: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(what));
        let text = line.unwrap().trim_start_matches(':').trim();
        text.trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([name, &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                if let Some(reader) = self.reader.take() {
                    reader.join().unwrap();
                }
                return status;
            }
            assert!(start.elapsed() < LONG, "it does not end: {}", self.log());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn log(&self) -> String {
        String::from_utf8_lossy(&self.log.lock().unwrap()).into_owned()
    }

    /// That nothing in it panicked and nothing is the server's own fault.
    pub fn has_a_clean_log(&self) {
        let log = self.log();
        for word in ["panicked", "please report", " ERROR "] {
            let line = log.lines().find(|line| line.contains(word));
            assert_eq!(line, None);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
