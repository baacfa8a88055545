//! Settings of the hub client and the environment variables they come from.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Progress;
use super::environment::Env;
use super::error::HubError;
use super::proxy::Proxies;

/// Receives warnings (what went wrong without stopping the work), one sentence per call.
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
    /// Further attempts after a failure that may pass. A transfer that makes progress gets all of them again. After one that
    /// hardly passes (a name that does not resolve, a refused connection) there is one further attempt.
    pub retries: u32,
    /// Wait before the first further attempt; doubled each time, with up to a quarter of jitter.
    pub backoff: Duration,
    /// Longest wait before a further attempt, also when the server asks for more. One that asks for more than
    /// all further attempts together would wait is not waited for at all ([`HubError::Overloaded`]).
    pub max_backoff: Duration,
    /// How long another process may hold a file's lock without progress.
    pub lock_timeout: Duration,
    /// Files larger than this are refused.
    pub max_bytes: u64,
    /// Whether snapshots may link to blobs (off with `HF_HUB_DISABLE_SYMLINKS`).
    pub symlinks: bool,
    /// Proxies by scheme (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`, also lower case).
    pub proxies: Proxies,
    /// PEM file of certificate authorities to trust instead of Mozilla's (`SSL_CERT_FILE`).
    pub ca_bundle: Option<PathBuf>,
    /// Called as transfers go on.
    pub progress: Option<Arc<dyn Progress>>,
    /// Receives warnings: a cached file used in the hub's place, a wait for another process and the like.
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
        Self::from_lookup(&|name| std::env::var_os(name))
    }

    /// The settings of an environment given as a function, for tests and embedders.
    ///
    /// `HOME` (or `USERPROFILE`) is asked for too. A variable set to nothing counts as unset. Folders and
    /// files may have any name that the system allows; all else must be text.
    ///
    /// # Errors
    /// As [`HubOptions::from_env`].
    pub fn from_lookup(lookup: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, HubError> {
        let env = Env(lookup);
        let home = env.home().map(PathBuf::from);
        let hf_home = match (env.path("HF_HOME")?, env.path("XDG_CACHE_HOME")?) {
            (Some(dir), _) => Some(dir),
            (None, Some(dir)) => Some(dir.join("huggingface")),
            (None, None) => home.as_deref().map(default_hf_home),
        };
        let mut options = Self::with_home(home);
        let cache = match env.path("HF_HUB_CACHE")? {
            Some(dir) => Some(dir),
            None => env.path("HUGGINGFACE_HUB_CACHE")?,
        };
        if let Some(dir) = cache.or_else(|| hf_home.as_ref().map(|dir| dir.join("hub"))) {
            options.cache_dir = dir;
        }
        if let Some(endpoint) = env.text("HF_ENDPOINT")? {
            options.endpoint = endpoint.trim().trim_end_matches('/').to_owned();
        }
        options.token = env.token(hf_home.as_deref())?;
        options.offline = env.is_true(&["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])?;
        options.symlinks = !env.is_true(&["HF_HUB_DISABLE_SYMLINKS"])?;
        if let Some(limit) = env.seconds("HF_HUB_ETAG_TIMEOUT")? {
            options.metadata_timeout = limit;
        }
        if let Some(limit) = env.seconds("HF_HUB_DOWNLOAD_TIMEOUT")? {
            options.read_timeout = limit;
        }
        options.proxies = Proxies::from_lookup(lookup)?;
        options.ca_bundle = env.path("SSL_CERT_FILE")?;
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

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    fn options<V: AsRef<OsStr>>(vars: &[(&str, V)]) -> Result<HubOptions, HubError> {
        HubOptions::from_lookup(&move |name| {
            let found = vars.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| value.as_ref().to_owned())
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

    /// As `_clean_token` in huggingface_hub's `utils/_auth.py`: line ends go, wherever they are, then blanks
    /// around. What is left goes into a header.
    #[test]
    fn a_token_that_no_header_can_carry_is_refused_by_name_and_not_shown() {
        let token = |value: &str| options(&[("HOME", "/h"), ("HF_TOKEN", value)]);
        for (value, cleaned) in [
            (" hf_a\n", "hf_a"),
            ("hf_a\r\nb", "hf_ab"),
            ("\thf_a", "hf_a"),
        ] {
            assert_eq!(token(value).unwrap().token.as_deref(), Some(cleaned));
        }
        for value in [
            "hf_secr\u{e9}t",
            "hf_secr t",
            "hf_secr\tt",
            "hf_secr\u{1b}[0mt",
            "hf_secr\u{7f}",
        ] {
            let error = token(value).unwrap_err().to_string();
            assert!(error.starts_with("HF_TOKEN="), "{error}");
            assert!(!error.contains("secr"), "{error}");
        }
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("mine");
        for bytes in [&b"hf_secr\xfft"[..], b"hf_secr t"] {
            std::fs::write(&file, bytes).unwrap();
            let path = file.to_str().unwrap();
            let error = options(&[("HF_TOKEN_PATH", path)]).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("HF_TOKEN_PATH={path:?}")),
                "{error}"
            );
            assert!(!error.contains("secr"), "{error}");
        }
        // a token file that is not there is no token, as in Python; one that is a folder is a mistake
        let absent = dir.path().join("absent");
        let absent = options(&[("HF_TOKEN_PATH", absent.to_str().unwrap())]);
        assert_eq!(absent.unwrap().token, None);
        let folder = options(&[("HF_TOKEN_PATH", dir.path().to_str().unwrap())]);
        assert!(folder.unwrap_err().to_string().contains("HF_TOKEN_PATH"));
    }

    #[test]
    #[cfg(unix)]
    fn names_that_are_not_utf8_are_folders_and_nothing_else() {
        use std::os::unix::ffi::OsStrExt;
        let os = OsStr::from_bytes;
        let dir = |vars: &[(&str, &OsStr)]| options(vars).unwrap().cache_dir;
        let home = ("HOME", os(b"/h\xe9"));
        assert_eq!(
            dir(&[home]),
            Path::new(os(b"/h\xe9/.cache/huggingface/hub"))
        );
        let cache = |value| dir(&[home, ("HF_HUB_CACHE", os(value))]);
        assert_eq!(cache(b"/c\xff"), Path::new(os(b"/c\xff")));
        assert_eq!(cache(b"~/c\xff"), Path::new(os(b"/h\xe9/c\xff")));
        let expanded = cache(b"/\xfe${HOME}x$HOME/$NO\xff");
        assert_eq!(expanded, Path::new(os(b"/\xfe/h\xe9x/h\xe9/$NO\xff")));
        for (name, below) in [
            ("HF_HOME", &b"/x\xff/hub"[..]),
            ("XDG_CACHE_HOME", b"/x\xff/huggingface/hub"),
            ("HUGGINGFACE_HUB_CACHE", b"/x\xff"),
        ] {
            assert_eq!(dir(&[home, (name, os(b"/x\xff"))]), Path::new(os(below)));
        }
        let bundle = options(&[("SSL_CERT_FILE", os(b"/x\xff"))]).unwrap();
        assert_eq!(bundle.ca_bundle.as_deref(), Some(Path::new(os(b"/x\xff"))));

        for name in [
            "HF_ENDPOINT",
            "HF_TOKEN",
            "HUGGING_FACE_HUB_TOKEN",
            "HF_HUB_OFFLINE",
            "TRANSFORMERS_OFFLINE",
            "HF_HUB_DISABLE_SYMLINKS",
            "HF_HUB_DISABLE_IMPLICIT_TOKEN",
            "HF_HUB_ETAG_TIMEOUT",
            "HF_HUB_DOWNLOAD_TIMEOUT",
            "HTTPS_PROXY",
            "http_proxy",
            "all_proxy",
            "NO_PROXY",
        ] {
            let error = options(&[home, (name, os(b"secr\xff"))]).unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with(&format!("{name}=")), "{name}: {text}");
            assert!(text.contains("UTF-8"), "{name}: {text}");
            let hidden = name.contains("TOKEN") || name.to_ascii_lowercase().contains("proxy");
            assert_eq!(!text.contains("secr"), hidden, "{name}: {text}");
        }
    }

    #[test]
    fn waits_of_centuries_do_not_overflow() {
        let limit = options(&[("HF_HUB_ETAG_TIMEOUT", "1e19")])
            .unwrap()
            .metadata_timeout;
        assert!(limit >= Duration::from_secs(86_400) && limit < Duration::from_secs(1 << 32));
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
