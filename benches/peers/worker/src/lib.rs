//! What every Rust worker says and hears; the Python workers speak the same (`../workers/protocol.py`).
//!
//! One command a line on stdin, one JSON object a line on stdout: `load`, `run N`, `logits`, `rss`, `quit`. Between
//! commands the worker is blocked in a read. An error is `{"error": "…"}` and ends the worker.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// What the driver asks of a worker when it starts it.
pub struct Args {
    /// The network in this engine's format.
    pub artifact: PathBuf,
    /// Raw little-endian f32 images, (8, 3, size, size).
    pub input: PathBuf,
    /// Images a forward.
    pub batch: usize,
    /// Side of the square images.
    pub size: usize,
    /// Threads the engine may compute on.
    pub threads: usize,
    /// Options of one engine (`--set key=value`).
    pub options: HashMap<String, String>,
}

impl Args {
    /// Reads the command line; every flag takes a value.
    pub fn parse() -> Result<Self> {
        let mut flags = HashMap::new();
        let mut options = HashMap::new();
        let mut words = std::env::args().skip(1);
        while let Some(flag) = words.next() {
            let value = words
                .next()
                .with_context(|| format!("{flag} needs a value"))?;
            if flag == "--set" {
                let (key, value) = value.split_once('=').context("--set takes KEY=VALUE")?;
                options.insert(key.to_owned(), value.to_owned());
            } else {
                flags.insert(flag, value);
            }
        }
        let text = |flag: &str| {
            flags
                .get(flag)
                .cloned()
                .with_context(|| format!("{flag} is missing"))
        };
        let number = |flag: &str| -> Result<usize> {
            text(flag)?
                .parse()
                .with_context(|| format!("{flag} is no number"))
        };
        Ok(Self {
            artifact: text("--artifact")?.into(),
            input: text("--input")?.into(),
            batch: number("--batch")?,
            size: number("--size")?,
            threads: number("--threads")?,
            options,
        })
    }

    /// The shape of one forward's input, NCHW.
    pub fn shape(&self) -> [usize; 4] {
        [self.batch, 3, self.size, self.size]
    }

    /// The first `batch` images, in the order of [`Args::shape`].
    pub fn read_input(&self) -> Result<Vec<f32>> {
        let bytes = std::fs::read(&self.input)
            .with_context(|| format!("reading {}", self.input.display()))?;
        let wanted = self.shape().iter().product::<usize>();
        let (words, _) = bytes.as_chunks::<4>();
        let values = words
            .iter()
            .take(wanted)
            .copied()
            .map(f32::from_le_bytes)
            .collect::<Vec<_>>();
        if values.len() < wanted {
            bail!(
                "{} holds {} values, {wanted} are needed",
                self.input.display(),
                values.len()
            );
        }
        Ok(values)
    }
}

/// One forward, giving the logits (batch · classes).
pub type Forward = Box<dyn FnMut() -> Result<Vec<f32>>>;

/// Answers commands until `quit` or the end of stdin.
pub fn serve(build: impl Fn(&Args) -> Result<Forward>) -> Result<()> {
    let args = Args::parse()?;
    let mut worker = Worker {
        args,
        forward: None,
        last: Vec::new(),
        before_load: 0,
    };
    let mut out = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words = line.split_whitespace().collect::<Vec<_>>();
        if words == ["quit"] {
            break;
        }
        let reply = worker
            .answer(&words, &build)
            .unwrap_or_else(|e| json!({ "error": format!("{e:#}") }));
        writeln!(out, "{reply}")?;
        out.flush()?;
        if reply.get("error").is_some() {
            break;
        }
    }
    Ok(())
}

struct Worker {
    args: Args,
    forward: Option<Forward>,
    last: Vec<f32>,
    before_load: u64,
}

impl Worker {
    fn answer(
        &mut self,
        words: &[&str],
        build: &impl Fn(&Args) -> Result<Forward>,
    ) -> Result<Value> {
        match words {
            ["load"] => self.load(build),
            ["run", count] => self.run(count.parse().context("run takes a number")?),
            ["logits"] => Ok(json!({ "logits": self.last })),
            ["rss"] => {
                Ok(json!({ "peak_bytes": peak_bytes()?, "before_load_bytes": self.before_load }))
            }
            other => bail!("unknown command {other:?}"),
        }
    }

    fn load(&mut self, build: &impl Fn(&Args) -> Result<Forward>) -> Result<Value> {
        self.before_load = peak_bytes()?;
        let start = Instant::now();
        self.forward = Some(build(&self.args)?);
        Ok(json!({ "import_ms": 0.0, "load_ms": milliseconds(start.elapsed()) }))
    }

    fn run(&mut self, count: usize) -> Result<Value> {
        let forward = self.forward.as_mut().context("`load` comes before `run`")?;
        let mut times = Vec::with_capacity(count);
        for _ in 0..count {
            let start = Instant::now();
            self.last = forward()?;
            times.push(milliseconds(start.elapsed()));
        }
        Ok(json!({ "times_ms": times }))
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// VmHWM: the most memory this process has had resident, files mapped by it included.
fn peak_bytes() -> Result<u64> {
    let status =
        std::fs::read_to_string("/proc/self/status").context("reading /proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .context("no VmHWM in /proc/self/status")?;
    let kib: u64 = line
        .trim()
        .trim_end_matches("kB")
        .trim()
        .parse()
        .context("VmHWM is no number")?;
    Ok(kib * 1024)
}
