//! A load generator that costs next to nothing beside a network: `rustc -O load.rs`, standard library only.
//!
//! `load URL PHOTOS CLIENTS SECONDS RATE [HEADER…]`
//!
//! Each client is a thread with one connection, and takes the photos of the folder in turn. With RATE 0 a client sends
//! its next request when its last one is answered. Otherwise RATE requests a second arrive as a Poisson process that is
//! the same for every server, and a request's time runs from its arrival, so that a server that falls behind cannot
//! hide it.
//!
//! On standard output one JSON object: of every request `[start, end, status]` in seconds since the start (status 0:
//! the connection broke), and the CPU time that this program itself took.
#![forbid(unsafe_code)]

mod http;

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use http::{Connection, Target};

/// Kernel ticks of /proc/self/stat in a second; 100 on every Linux there is.
const TICKS: f64 = 100.0;

struct Plan {
    target: Target,
    requests: Vec<Vec<u8>>,
    clients: usize,
    seconds: f64,
    /// When each request is due; empty for clients that wait for answers.
    arrivals: Vec<f64>,
    next: AtomicUsize,
    begin: Instant,
}

struct Record {
    start: f64,
    end: f64,
    status: u16,
}

fn main() -> Result<(), String> {
    let plan = Arc::new(plan()?);
    let workers: Vec<_> = (0..plan.clients)
        .map(|_| {
            let plan = plan.clone();
            thread::spawn(move || client(&plan))
        })
        .collect();
    let mut records = Vec::new();
    for worker in workers {
        records.extend(worker.join().map_err(|_| "a client panicked")?);
    }
    println!("{}", report(&records)?);
    Ok(())
}

fn plan() -> Result<Plan, String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, photos, clients, seconds, rate, headers @ ..] = arguments.as_slice() else {
        return Err("load URL PHOTOS CLIENTS SECONDS RATE [HEADER…]".into());
    };
    let number = |text: &str| {
        text.parse::<f64>()
            .map_err(|_| format!("{text}: no number"))
    };
    let target = Target::parse(url)?;
    let extra: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let bodies = read_all(photos)?;
    let requests = bodies
        .iter()
        .map(|body| target.request(body, &extra))
        .collect();
    let (seconds, rate) = (number(seconds)?, number(rate)?);
    Ok(Plan {
        target,
        requests,
        clients: number(clients)? as usize,
        seconds,
        arrivals: arrivals(rate, seconds),
        next: AtomicUsize::new(0),
        begin: Instant::now(),
    })
}

/// The files of a folder, in the order of their names.
fn read_all(folder: &str) -> Result<Vec<Vec<u8>>, String> {
    let failed = |error: std::io::Error| format!("{folder}: {error}");
    let entries = std::fs::read_dir(folder).map_err(failed)?;
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let bodies: Vec<_> = paths
        .iter()
        .map(std::fs::read)
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    if bodies.is_empty() {
        Err(format!("{folder}: empty"))
    } else {
        Ok(bodies)
    }
}

/// Times of a Poisson process with `rate` events a second, always the same ones.
fn arrivals(rate: f64, seconds: f64) -> Vec<f64> {
    let mut times = Vec::new();
    let (mut now, mut state) = (0.0, 0x9e37_79b9_7f4a_7c15_u64);
    while rate > 0.0 {
        // xorshift64; the upper 53 bits are a number in 0..1.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let uniform = (state >> 11) as f64 / (1u64 << 53) as f64;
        now -= (1.0 - uniform).ln() / rate;
        if now >= seconds {
            break;
        }
        times.push(now);
    }
    times
}

fn client(plan: &Plan) -> Vec<Record> {
    let mut connection = Connection::new(plan.target.clone());
    let mut records = Vec::new();
    while let Some((start, index)) = due(plan) {
        let request = &plan.requests[index % plan.requests.len()];
        let status = connection.send(request).unwrap_or(0);
        let end = plan.begin.elapsed().as_secs_f64();
        records.push(Record { start, end, status });
        if status == 0 {
            // A server that is gone must not be asked a million times.
            thread::sleep(Duration::from_millis(100));
        }
    }
    records
}

/// Waits for the next request's time; `None` when the run is over.
fn due(plan: &Plan) -> Option<(f64, usize)> {
    let index = plan.next.fetch_add(1, Ordering::Relaxed);
    let now = plan.begin.elapsed().as_secs_f64();
    if plan.arrivals.is_empty() {
        return (now < plan.seconds).then_some((now, index));
    }
    let time = *plan.arrivals.get(index)?;
    thread::sleep(Duration::from_secs_f64((time - now).max(0.0)));
    Some((time, index))
}

fn report(records: &[Record]) -> Result<String, String> {
    let stat = std::fs::read_to_string("/proc/self/stat").map_err(|error| error.to_string())?;
    // After the name in brackets: user and system time are the 12th and 13th fields.
    let fields = stat.rsplit(')').next().unwrap_or("").split_whitespace();
    let ticks: f64 = fields.skip(11).take(2).flat_map(str::parse::<f64>).sum();
    let mut text = format!("{{\"client_cpu_s\":{},\"records\":[", ticks / TICKS);
    for (index, record) in records.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let Record { start, end, status } = record;
        write!(text, "{comma}[{start:.6},{end:.6},{status}]").map_err(|error| error.to_string())?;
    }
    Ok(text + "]}")
}
