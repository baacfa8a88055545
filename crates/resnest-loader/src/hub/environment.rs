//! How the variables of the environment are read: huggingface_hub's rules, and no value passed over in silence.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{HubError, io_error};

/// As long as anybody waits; more would overflow when added to a time.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// Reading rules shared by the variables.
pub(super) struct Env<'a>(pub(super) &'a dyn Fn(&str) -> Option<OsString>);

impl Env<'_> {
    /// The value; one of blanks alone counts as unset.
    fn get(&self, name: &str) -> Option<OsString> {
        (self.0)(name).filter(|value| !value.to_string_lossy().trim().is_empty())
    }

    /// The user's folder.
    pub(super) fn home(&self) -> Option<OsString> {
        self.get("HOME").or_else(|| self.get("USERPROFILE"))
    }

    /// A value that must be text.
    pub(super) fn text(&self, name: &'static str) -> Result<Option<String>, HubError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let text = value.into_string().map_err(|value| {
            // what may be a secret, or hold one, is not repeated
            let shown = match is_secret(name) {
                true => "...".to_owned(),
                false => value.to_string_lossy().into_owned(),
            };
            bad(name, shown, "it is not UTF-8; expected text")
        })?;
        Ok(Some(text))
    }

    fn first_text(
        &self,
        names: &[&'static str],
    ) -> Result<Option<(&'static str, String)>, HubError> {
        for name in names {
            if let Some(value) = self.text(name)? {
                return Ok(Some((name, value)));
            }
        }
        Ok(None)
    }

    /// A path, with a leading `~` and any `$NAME` or `${NAME}` replaced as Python's
    /// `expandvars(expanduser(...))` does; unknown names stay as they are.
    pub(super) fn path(&self, name: &'static str) -> Result<Option<PathBuf>, HubError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let unusable = |value: &OsStr| {
            let shown = value.to_string_lossy().into_owned();
            bad(
                name,
                shown,
                "it is not Unicode; choose another folder or file",
            )
        };
        let bytes = to_bytes(&value).ok_or_else(|| unusable(&value))?;
        let expanded = self.expand(&self.at_home(bytes));
        let path = from_bytes(expanded).ok_or_else(|| unusable(&value))?;
        Ok(Some(PathBuf::from(path)))
    }

    /// With the home folder for a leading `~`.
    fn at_home(&self, path: Vec<u8>) -> Vec<u8> {
        let home = self.home().and_then(|home| to_bytes(&home));
        match (path.split_first(), home) {
            (Some((b'~', rest)), Some(home)) if rest.is_empty() || rest.starts_with(b"/") => {
                [&home, rest].concat()
            }
            _ => path,
        }
    }

    fn expand(&self, text: &[u8]) -> Vec<u8> {
        let mut pieces = text.split(|byte| *byte == b'$');
        let mut out = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let (name, rest) = variable(piece);
            let name = std::str::from_utf8(name).ok();
            let value = name.and_then(|name| (self.0)(name));
            match value.and_then(|value| to_bytes(&value)) {
                Some(value) => out.extend([&value, rest].concat()),
                None => out.extend([b"$", piece].concat()),
            }
        }
        out
    }

    /// Python's `_is_true` on the first of `names` that is set.
    pub(super) fn is_true(&self, names: &[&'static str]) -> Result<bool, HubError> {
        let value = self.first_text(names)?;
        Ok(value.is_some_and(|(_, value)| {
            matches!(
                value.trim().to_ascii_uppercase().as_str(),
                "1" | "ON" | "YES" | "TRUE"
            )
        }))
    }

    /// Seconds, fractions allowed; 0 stands for the default as in Python.
    pub(super) fn seconds(&self, name: &'static str) -> Result<Option<Duration>, HubError> {
        let Some(value) = self.text(name)? else {
            return Ok(None);
        };
        let parsed = value.trim().parse::<f64>().ok();
        match parsed.map(Duration::try_from_secs_f64) {
            Some(Ok(limit)) => Ok(Some(limit.min(LONGEST)).filter(|limit| !limit.is_zero())),
            _ => Err(bad(name, value, "expected a number of seconds")),
        }
    }

    /// From a variable, the file that `HF_TOKEN_PATH` names, or the one in the hub's folder.
    pub(super) fn token(&self, hf_home: Option<&Path>) -> Result<Option<String>, HubError> {
        if self.is_true(&["HF_HUB_DISABLE_IMPLICIT_TOKEN"])? {
            return Ok(None);
        }
        if let Some((name, value)) = self.first_text(&["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"])? {
            return clean_token(&value).map_err(|reason| bad(name, "...".to_owned(), reason));
        }
        let named = self.path("HF_TOKEN_PATH")?;
        let Some(file) = named.clone().or_else(|| Some(hf_home?.join("token"))) else {
            return Ok(None);
        };
        let bytes = match std::fs::read(&file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            // another user's home, which is searched only because no other place is set
            Err(error) if named.is_none() && is_closed(&error) => return Ok(None),
            Err(error) if named.is_none() => {
                return Err(io_error(&file, "reading the token", error));
            }
            Err(error) => {
                return Err(bad("HF_TOKEN_PATH", shown(&file), error.to_string()));
            }
        };
        let text = String::from_utf8(bytes).map_err(|_| "the file is not text".to_owned());
        let option = if named.is_some() {
            "HF_TOKEN_PATH"
        } else {
            "HF_HOME/token"
        };
        text.and_then(|text| clean_token(&text))
            .map_err(|reason| bad(option, shown(&file), reason))
    }
}

/// `_clean_token` of huggingface_hub's `utils/_auth.py`, and whether a header can carry what is left.
fn clean_token(text: &str) -> Result<Option<String>, String> {
    let cleaned = text.replace(['\r', '\n'], "").trim().to_owned();
    check_token(&cleaned)?;
    Ok(Some(cleaned).filter(|token| !token.is_empty()))
}

/// Names the character of a token that cannot be sent, without repeating the token.
pub(super) fn check_token(token: &str) -> Result<(), String> {
    let wrong = token.chars().position(|c| !c.is_ascii_graphic());
    wrong.map_or(Ok(()), |at| {
        Err(format!(
            "character {} of the token is a blank, a control character or no ASCII, which no token has; \
             copy it again from the hub's settings",
            at + 1
        ))
    })
}

/// `NAME rest` of what follows a `$`, with or without braces.
fn variable(piece: &[u8]) -> (&[u8], &[u8]) {
    if let Some(inner) = piece.strip_prefix(b"{")
        && let Some(end) = inner.iter().position(|byte| *byte == b'}')
        && let (name, [_, rest @ ..]) = inner.split_at(end)
    {
        return (name, rest);
    }
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let end = piece.iter().position(|byte| !is_name(byte));
    piece.split_at(end.unwrap_or(piece.len()))
}

pub(super) fn bad(option: &'static str, value: String, reason: impl Into<String>) -> HubError {
    HubError::BadOption {
        option,
        value,
        reason: reason.into(),
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    // a proxy's address may hold a password
    name.ends_with("TOKEN") || name.ends_with("PROXY")
}

fn is_closed(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(unix)]
fn to_bytes(value: &OsStr) -> Option<Vec<u8>> {
    use std::os::unix::ffi::OsStrExt;
    Some(value.as_bytes().to_owned())
}

#[cfg(unix)]
fn from_bytes(bytes: Vec<u8>) -> Option<OsString> {
    use std::os::unix::ffi::OsStringExt;
    Some(OsString::from_vec(bytes))
}

#[cfg(not(unix))]
fn to_bytes(value: &OsStr) -> Option<Vec<u8>> {
    Some(value.to_str()?.as_bytes().to_owned())
}

#[cfg(not(unix))]
fn from_bytes(bytes: Vec<u8>) -> Option<OsString> {
    String::from_utf8(bytes).ok().map(OsString::from)
}
