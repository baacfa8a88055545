//! Where a model comes from: the grammar of `--model`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::error::Error;

/// A model's source. timm's grammar (`parse_model_name`, `hf_split`), plus a checkpoint file.
///
/// ```
/// use resnest_loader::ModelSource;
/// let source: ModelSource = "hf-hub:timm/resnest50d.in1k@main".parse()?;
/// assert!(matches!(source, ModelSource::Hub { .. }));
/// assert_eq!(source.to_string(), "hf-hub:timm/resnest50d.in1k@main");
/// # Ok::<(), resnest_loader::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// `arch` or `arch.tag`, looked up in the manifest.
    Named(String),
    /// `hf-hub:user/repo[@revision]`; the older `hf_hub:` too.
    Hub {
        /// `user/repo`.
        repo: String,
        /// A branch, tag or commit; the hub's `main` when absent.
        revision: Option<String>,
    },
    /// `local-dir:path`: a folder with `config.json` and weights.
    LocalDir(PathBuf),
    /// A checkpoint file of a known architecture. Has no text form to parse; shown as `path (arch)`.
    File {
        /// The checkpoint, of any format.
        path: PathBuf,
        /// `arch` or `arch.tag`. `None` only for files of the original repository, recognised by their name.
        architecture: Option<String>,
    },
}

impl FromStr for ModelSource {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let wrong = |problem: String| Error::Source {
            name: name.to_string(),
            problem,
        };
        match name.split_once(':') {
            // one letter before the colon is a drive of Windows, not a source
            Some((prefix, id)) if is_prefix(prefix) => {
                let prefix = prefix.to_ascii_lowercase();
                if id.is_empty() {
                    return Err(wrong(format!("nothing after '{prefix}:'")));
                }
                match prefix.as_str() {
                    "hf-hub" | "hf_hub" => hub(id).map_err(wrong),
                    "local-dir" | "local_dir" => Ok(Self::LocalDir(PathBuf::from(id))),
                    _ => Err(wrong(format!(
                        "unknown source '{prefix}'; hf-hub: and local-dir: are known"
                    ))),
                }
            }
            _ if name.is_empty() => Err(wrong("the name is empty".into())),
            _ if name.contains(['/', '\\', ':']) => Err(wrong(format!(
                "looks like a repository or a path; write hf-hub:{name} for the hub, local-dir:{name} for a folder, \
                 or give a checkpoint file together with its architecture"
            ))),
            _ => Ok(Self::Named(name.to_string())),
        }
    }
}

fn is_prefix(prefix: &str) -> bool {
    let mut chars = prefix.chars();
    prefix.len() > 1
        && chars.next().is_some_and(|c| c.is_ascii_alphabetic())
        && chars.all(|c| c.is_ascii_alphanumeric() || "+.-_".contains(c))
}

/// `user/repo[@revision]`, with nothing that would leave the cache's folder.
fn hub(id: &str) -> Result<ModelSource, String> {
    let (repo, revision) = match id.split_once('@') {
        Some((repo, revision)) => (repo, Some(revision)),
        None => (id, None),
    };
    let part = |p: &str| {
        !p.is_empty()
            && !p.starts_with('.')
            && p.chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    if !matches!(repo.split('/').collect::<Vec<_>>().as_slice(), [user, name] if part(user) && part(name))
    {
        return Err(format!("'{repo}' is no repository; user/name was expected"));
    }
    let odd = |r: &str| {
        r.is_empty()
            || r.contains("..")
            || r.chars().any(|c| c == '@' || c == '\\' || c.is_control())
    };
    if revision.is_some_and(odd) {
        return Err("one revision was expected after '@': a branch, tag or commit".into());
    }
    Ok(ModelSource::Hub {
        repo: repo.to_string(),
        revision: revision.map(str::to_string),
    })
}

impl fmt::Display for ModelSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            Self::Hub {
                repo,
                revision: None,
            } => write!(f, "hf-hub:{repo}"),
            Self::Hub {
                repo,
                revision: Some(revision),
            } => write!(f, "hf-hub:{repo}@{revision}"),
            Self::LocalDir(path) => write!(f, "local-dir:{}", path.display()),
            Self::File {
                path,
                architecture: None,
            } => write!(f, "{}", path.display()),
            Self::File {
                path,
                architecture: Some(name),
            } => write!(f, "{} ({name})", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_survives_a_round_trip() {
        for text in [
            "resnest50d",
            "resnest50d.in1k",
            "hf-hub:a/b",
            "hf-hub:a/b.c-d@refs/pr/1",
            "local-dir:/a b/c@d",
        ] {
            assert_eq!(text.parse::<ModelSource>().unwrap().to_string(), text);
        }
        assert_eq!(
            "hf_hub:a/b".parse::<ModelSource>().unwrap(),
            "HF-HUB:a/b".parse().unwrap()
        );
    }

    #[test]
    fn what_timm_refuses_is_refused_with_a_way_out() {
        for (text, hint) in [
            ("", "empty"),
            ("timm/resnest50d", "hf-hub:timm/resnest50d"),
            ("./model.pth", "local-dir:"),
            ("C:\\models\\x", "local-dir:"),
            ("s3:bucket", "unknown source"),
            ("hf-hub:", "nothing after"),
            ("hf-hub:a", "user/name"),
            ("hf-hub:../b", "user/name"),
            ("hf-hub:a/b/c", "user/name"),
            ("hf-hub:a/b@", "one revision"),
            ("hf-hub:a/b@x@y", "one revision"),
            ("hf-hub:a/b@../../x", "one revision"),
        ] {
            let message = text.parse::<ModelSource>().unwrap_err().to_string();
            assert!(message.contains(hint), "{text}: {message}");
        }
    }
}
