//! Settings of the hub client and the environment variables they come from.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hf_hub::Cache;

use super::Progress;
use super::error::HubError;
use super::proxy::Proxies;

/// Receives what went other than planned but did not stop the work, one sentence a call.
pub type WarningSink = Arc<dyn Fn(&str) + Send + Sync>;

/// How to reach the hub and where to keep its files.
///
/// Variables and defaults are those of Python's huggingface_hub 1.x/2.x, so that both share a
/// cache without further settings.
#[derive(Clone)]
#[non_exhaustive]
pub struct HubOptions {
    /// Base address without a trailing slash (`HF_ENDPOINT`; `https://huggingface.co`).
    pub endpoint: String,
    /// The cache (`HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE`, `$HF_HOME/hub`,
    /// `$XDG_CACHE_HOME/huggingface/hub`, `~/.cache/huggingface/hub`). Empty when there is no home.
    pub cache_dir: PathBuf,
    /// Sent to the endpoint's host alone (`HF_TOKEN`, `HUGGING_FACE_HUB_TOKEN`, the file
    /// `HF_TOKEN_PATH`, `$HF_HOME/token`; none of them with `HF_HUB_DISABLE_IMPLICIT_TOKEN`).
    pub token: Option<String>,
    /// Use the cache only (`HF_HUB_OFFLINE`, `TRANSFORMERS_OFFLINE`: 1, on, yes, true).
    pub offline: bool,
    /// Limit for name resolution and for the connection with its TLS, each.
    pub connect_timeout: Duration,
    /// Limit for the whole answer about a file's size and hash (`HF_HUB_ETAG_TIMEOUT`, seconds).
    pub metadata_timeout: Duration,
    /// Longest silence within a download (`HF_HUB_DOWNLOAD_TIMEOUT`, seconds).
    pub read_timeout: Duration,
    /// Further attempts after a failure that may pass. A transfer that gets on starts afresh.
    pub retries: u32,
    /// Wait before the first further attempt; doubled each time, with up to a quarter of jitter.
    pub backoff: Duration,
    /// Longest wait before a further attempt, also when the server asks for more.
    pub max_backoff: Duration,
    /// How long another process may hold a file's lock without getting on.
    pub lock_timeout: Duration,
    /// Files larger than this are refused.
    pub max_bytes: u64,
    /// Whether snapshots may link to blobs (off with `HF_HUB_DISABLE_SYMLINKS`).
    pub symlinks: bool,
    /// Proxies by scheme (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`, also lower case).
    pub proxies: Proxies,
    /// PEM file of certificate authorities to trust instead of Mozilla's (`SSL_CERT_FILE`).
    pub ca_bundle: Option<PathBuf>,
    /// Told about transfers as they go.
    pub progress: Option<Arc<dyn Progress>>,
    /// Told about cached files standing in, waits for other processes and the like.
    pub warnings: Option<WarningSink>,
}

impl Default for HubOptions {
    /// The defaults with no variable read but the home directory's.
    fn default() -> Self {
        Self::with_home(std::env::home_dir())
    }
}

impl HubOptions {
    /// The settings of this process's environment.
    ///
    /// # Errors
    /// [`HubError::BadOption`] naming the variable whose value cannot be used.
    pub fn from_env() -> Result<Self, HubError> {
        Self::from_lookup(&|name| std::env::var(name).ok())
    }

    /// The settings of an environment given as a function, for tests and embedders.
    ///
    /// `HOME` (or `USERPROFILE`) is asked for too. A variable set to nothing counts as unset.
    ///
    /// # Errors
    /// As [`HubOptions::from_env`].
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<String>) -> Result<Self, HubError> {
        let env = Env(lookup);
        let home = env.first(&["HOME", "USERPROFILE"]).map(PathBuf::from);
        let hf_home = match (env.path("HF_HOME"), env.path("XDG_CACHE_HOME")) {
            (Some(dir), _) => Some(dir),
            (None, Some(dir)) => Some(dir.join("huggingface")),
            (None, None) => home.as_deref().map(default_hf_home),
        };
        let mut options = Self::with_home(home);
        if let Some(dir) = ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"]
            .iter()
            .find_map(|name| env.path(name))
            .or_else(|| hf_home.as_ref().map(|dir| dir.join("hub")))
        {
            options.cache_dir = dir;
        }
        if let Some(endpoint) = env.get("HF_ENDPOINT") {
            options.endpoint = endpoint.trim_end_matches('/').to_owned();
        }
        options.token = env.token(hf_home.as_deref());
        options.offline = env.is_true(&["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"]);
        options.symlinks = !env.is_true(&["HF_HUB_DISABLE_SYMLINKS"]);
        if let Some(limit) = env.seconds("HF_HUB_ETAG_TIMEOUT")? {
            options.metadata_timeout = limit;
        }
        if let Some(limit) = env.seconds("HF_HUB_DOWNLOAD_TIMEOUT")? {
            options.read_timeout = limit;
        }
        options.proxies = Proxies::from_lookup(lookup);
        options.ca_bundle = env.path("SSL_CERT_FILE");
        Ok(options)
    }

    fn with_home(home: Option<PathBuf>) -> Self {
        let seconds = Duration::from_secs;
        Self {
            endpoint: "https://huggingface.co".to_owned(),
            cache_dir: home
                .map(|home| default_hf_home(&home).join("hub"))
                .unwrap_or_default(),
            token: None,
            offline: false,
            connect_timeout: seconds(10),
            metadata_timeout: seconds(10),
            read_timeout: seconds(10),
            retries: 5,
            backoff: seconds(1),
            max_backoff: seconds(60),
            lock_timeout: seconds(120),
            max_bytes: 64 << 30,
            symlinks: true,
            proxies: Proxies::default(),
            ca_bundle: None,
            progress: None,
            warnings: None,
        }
    }

    pub(crate) fn warn(&self, message: &str) {
        if let Some(sink) = &self.warnings {
            sink(message);
        }
    }
}

impl fmt::Debug for HubOptions {
    /// Everything but the token and proxy credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubOptions")
            .field("endpoint", &self.endpoint)
            .field("cache_dir", &self.cache_dir)
            .field("token", &self.token.as_ref().map(|_| "(hidden)"))
            .field("offline", &self.offline)
            .field("connect_timeout", &self.connect_timeout)
            .field("metadata_timeout", &self.metadata_timeout)
            .field("read_timeout", &self.read_timeout)
            .field("retries", &self.retries)
            .finish_non_exhaustive()
    }
}

fn default_hf_home(home: &Path) -> PathBuf {
    home.join(".cache").join("huggingface")
}

/// Reading rules shared by the variables.
struct Env<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Env<'_> {
    fn get(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.trim().is_empty())
    }

    fn first(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.get(name))
    }

    /// A path, with a leading `~` and any `$NAME` or `${NAME}` replaced as Python's
    /// `expandvars(expanduser(...))` does; unknown names stay as they are.
    fn path(&self, name: &str) -> Option<PathBuf> {
        let value = self.get(name)?;
        let home = self.first(&["HOME", "USERPROFILE"]);
        let value = match (value.strip_prefix('~'), home) {
            (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
                format!("{home}{rest}")
            }
            _ => value,
        };
        Some(PathBuf::from(self.expand(&value)))
    }

    fn expand(&self, text: &str) -> String {
        let mut pieces = text.split('$');
        let mut out = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let braced = piece
                .strip_prefix('{')
                .and_then(|rest| rest.split_once('}'));
            let (name, rest) = braced.unwrap_or_else(|| {
                let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let end = piece.find(|c| !is_name(c)).unwrap_or(piece.len());
                piece.split_at(end)
            });
            match (self.0)(name) {
                Some(value) => out.extend([value.as_str(), rest]),
                None => out.extend(["$", piece]),
            }
        }
        out
    }

    /// Python's `_is_true` on the first of `names` that is set.
    fn is_true(&self, names: &[&str]) -> bool {
        self.first(names).is_some_and(|value| {
            matches!(
                value.trim().to_ascii_uppercase().as_str(),
                "1" | "ON" | "YES" | "TRUE"
            )
        })
    }

    /// Seconds, fractions allowed; 0 stands for the default as in Python.
    fn seconds(&self, name: &'static str) -> Result<Option<Duration>, HubError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let parsed = value.trim().parse::<f64>().ok();
        match parsed.map(Duration::try_from_secs_f64) {
            Some(Ok(limit)) => Ok(Some(limit).filter(|limit| !limit.is_zero())),
            _ => Err(HubError::BadOption {
                option: name,
                value,
                reason: "expected a number of seconds".to_owned(),
            }),
        }
    }

    fn token(&self, hf_home: Option<&Path>) -> Option<String> {
        if self.is_true(&["HF_HUB_DISABLE_IMPLICIT_TOKEN"]) {
            return None;
        }
        let from_env = self.first(&["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"]);
        from_env
            .or_else(|| match self.path("HF_TOKEN_PATH") {
                Some(file) => std::fs::read_to_string(file).ok(),
                // hf-hub looks for the file `token` beside the folder `hub`.
                None => Cache::new(hf_home?.join("hub")).token(),
            })
            .map(|token| token.replace(['\r', '\n'], "").trim().to_owned())
            .filter(|token| !token.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(vars: &[(&str, &str)]) -> Result<HubOptions, HubError> {
        let vars: Vec<(String, String)> = vars
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        HubOptions::from_lookup(&move |name| {
            let found = vars.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.clone())
        })
    }

    #[test]
    fn cache_directory_follows_pythons_order() {
        let dir = |vars: &[(&str, &str)]| options(vars).unwrap().cache_dir;
        let home = ("HOME", "/h");
        assert_eq!(dir(&[home]), Path::new("/h/.cache/huggingface/hub"));
        assert_eq!(
            dir(&[home, ("XDG_CACHE_HOME", "/x")]),
            Path::new("/x/huggingface/hub")
        );
        let hf = ("HF_HOME", "/f");
        assert_eq!(
            dir(&[home, ("XDG_CACHE_HOME", "/x"), hf]),
            Path::new("/f/hub")
        );
        let legacy = ("HUGGINGFACE_HUB_CACHE", "/l");
        assert_eq!(dir(&[home, hf, legacy]), Path::new("/l"));
        assert_eq!(
            dir(&[home, hf, legacy, ("HF_HUB_CACHE", "~/c")]),
            Path::new("/h/c")
        );
        let scratch = ("SCRATCH_1", "/s");
        for (value, expected) in [
            ("$SCRATCH_1/c", "/s/c"),
            ("/a${SCRATCH_1}b$", "/a/sb$"),
            ("$OTHER/${NONE}/$", "$OTHER/${NONE}/$"),
        ] {
            assert_eq!(
                dir(&[scratch, ("HF_HUB_CACHE", value)]),
                Path::new(expected)
            );
        }
    }

    #[test]
    fn offline_takes_pythons_truths() {
        for (value, expected) in [("1", true), ("on", true), ("Yes", true), ("TRUE", true)] {
            assert_eq!(
                options(&[("HF_HUB_OFFLINE", value)]).unwrap().offline,
                expected
            );
        }
        assert!(!options(&[("HF_HUB_OFFLINE", "0")]).unwrap().offline);
        assert!(options(&[("TRANSFORMERS_OFFLINE", "1")]).unwrap().offline);
    }

    #[test]
    fn token_comes_from_variable_then_files() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().to_str().unwrap();
        std::fs::write(dir.path().join("token"), "hf_file\n").unwrap();
        let other = dir.path().join("other");
        std::fs::write(&other, " hf_other\r\n").unwrap();
        let base = ("HF_HOME", home);
        let token = |vars: &[(&str, &str)]| options(vars).unwrap().token;
        assert_eq!(token(&[base]).as_deref(), Some("hf_file"));
        let path = ("HF_TOKEN_PATH", other.to_str().unwrap());
        assert_eq!(token(&[base, path]).as_deref(), Some("hf_other"));
        let legacy = ("HUGGING_FACE_HUB_TOKEN", "hf_legacy");
        assert_eq!(token(&[base, legacy]).as_deref(), Some("hf_legacy"));
        assert_eq!(
            token(&[base, legacy, ("HF_TOKEN", "hf_env")]).as_deref(),
            Some("hf_env")
        );
        let none = ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1");
        assert_eq!(token(&[base, legacy, none]), None);
    }

    #[test]
    fn bad_timeouts_name_their_variable_and_debug_hides_the_token() {
        let error = options(&[("HF_HUB_ETAG_TIMEOUT", "soon")]).unwrap_err();
        assert!(error.to_string().contains("HF_HUB_ETAG_TIMEOUT"), "{error}");
        let options = options(&[
            ("HF_TOKEN", "hf_secret"),
            ("HF_HUB_DOWNLOAD_TIMEOUT", "2.5"),
            ("HF_ENDPOINT", "http://mirror/"),
        ])
        .unwrap();
        assert_eq!(options.read_timeout, Duration::from_millis(2500));
        assert_eq!(options.endpoint, "http://mirror");
        assert!(!format!("{options:?}").contains("hf_secret"));
    }
}
