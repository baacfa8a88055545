//! One copy of the packed weights a machine: files that every process maps which computes the same network.
//!
//! Loading a network reads its checkpoint, folds norms, chooses algorithms and packs. What comes of it depends on the
//! checkpoint's bytes, the network, the instruction set, the precision and the choice of algorithms alone: a file under
//! a name made of those holds it, made once, and mapped by whoever comes later. `docs/weights-cache.md` has what is
//! trusted and what is not.
//!
//! | file | holds |
//! |---|---|
//! | `folder.rs` | where files lie, who may have written them, whose turn it is to make one, which go |
//! | `format.rs` | what is in a file, and how each byte of it is checked |
//! | `draft.rs`, `entry.rs` | a file that is being made, one that is there |
//! | `identity.rs` | which checkpoint it is |

mod draft;
mod entry;
mod folder;
mod format;
mod identity;

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

use resnest_model::{FuseChoices, ResNet};
use sha2::{Digest, Sha256};

use crate::error::Result;
use crate::loader::Checked;
use draft::Draft;
pub(crate) use entry::Entry;
use folder::{Folder, Turn};

/// The version of what layers look like once they are packed. To be raised with every change of the kernels' packing, of
/// folding or of reading: files of another version are not looked at. `tests/weights_cache.rs` notices such changes.
const PACKING: u32 = 1;

/// Where packed weights are kept, to be mapped by every process that computes with them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum WeightsCache {
    /// In the folder that the environment variable `RESNEST_WEIGHTS_CACHE` names, or nowhere if it says `off`; by default
    /// in `$XDG_CACHE_HOME/resnest/weights`, else `~/.cache/resnest/weights`.
    #[default]
    FromEnv,
    /// Nowhere: every process packs its own.
    Off,
    /// In this folder, which is made if need be.
    At(PathBuf),
}

/// What became of packed weights in a load.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum CacheUse {
    /// Neither looked for nor kept: no cache was wanted, or the network is not fused.
    #[default]
    Unused,
    /// Packed by this process, which keeps its own copy; why nothing could be kept or found.
    Failed(String),
    /// Packed by this process and kept in this file, which it has mapped.
    Made(PathBuf),
    /// Mapped from this file as another process, or an earlier load, had packed them.
    Found(PathBuf),
}

impl FromStr for WeightsCache {
    type Err = Infallible;

    /// `off` or `0` for none, nothing for what the environment says, else a folder.
    fn from_str(text: &str) -> std::result::Result<Self, Infallible> {
        Ok(match text {
            "" => WeightsCache::FromEnv,
            "off" | "0" => WeightsCache::Off,
            folder => WeightsCache::At(folder.into()),
        })
    }
}

impl WeightsCache {
    /// The folder, and whether somebody has named it; `None` where there is to be no cache, on systems other than Unix, and
    /// without a home folder.
    fn folder(&self) -> Option<(PathBuf, bool)> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        match self {
            _ if !cfg!(unix) => None,
            WeightsCache::Off => None,
            WeightsCache::At(folder) => Some((folder.clone(), true)),
            WeightsCache::FromEnv => match set("RESNEST_WEIGHTS_CACHE") {
                Some(value) if value == "off" || value == "0" => None,
                Some(folder) => Some((folder.into(), true)),
                None => {
                    let home = || Some(PathBuf::from(set("HOME")?).join(".cache"));
                    let cache = set("XDG_CACHE_HOME").map(PathBuf::from).or_else(home)?;
                    Some((cache.join("resnest/weights"), false))
                }
            },
        }
    }

    /// The fused network of `checked`: from the cache where it can be, and packed here where it cannot. A cache that does
    /// not work is no error; if somebody has named its folder, it is a warning, which is given too.
    pub(crate) fn load(
        &self,
        checked: &Checked,
        choices: &FuseChoices,
    ) -> Result<(ResNet, CacheUse, Option<String>)> {
        let Some((path, named)) = self.folder() else {
            return Ok((checked.fused(choices)?, CacheUse::Unused, None));
        };
        let (model, used) = match Folder::open(&path) {
            Ok(folder) => through(&folder, checked, choices)?,
            Err(problem) => (checked.fused(choices)?, CacheUse::Failed(problem)),
        };
        let warning = match &used {
            CacheUse::Failed(problem) if named => Some(format!(
                "the cache of packed weights is not used: {problem} (RESNEST_WEIGHTS_CACHE=off does without)"
            )),
            _ => None,
        };
        Ok((model, used, warning))
    }
}

/// Takes the network from its file; makes that if it is not there or not right.
fn through(
    folder: &Folder,
    checked: &Checked,
    choices: &FuseChoices,
) -> Result<(ResNet, CacheUse)> {
    let key = Key::new(folder, checked, choices)?;
    let path = folder.entry(&key.name);
    let take = || checked.fused_from(choices, Entry::open(folder, &key)?).ok();
    if let Some(model) = take() {
        return Ok((model, CacheUse::Found(path)));
    }
    let turn = match folder.turn(&key.name) {
        Turn::Ours(turn) => turn,
        Turn::Never(problem) => return Ok((checked.fused(choices)?, CacheUse::Failed(problem))),
    };
    // Others may have made it while this process waited for its turn.
    if path.exists()
        && let Some(model) = take()
    {
        return Ok((model, CacheUse::Found(path)));
    }
    let made = make(folder, &key, checked, choices, take);
    drop(turn);
    made
}

/// Packs the network and keeps it, then takes it back: so the process that was first shares its weights too.
fn make(
    folder: &Folder,
    key: &Key,
    checked: &Checked,
    choices: &FuseChoices,
    take: impl FnOnce() -> Option<ResNet>,
) -> Result<(ResNet, CacheUse)> {
    let draft = match Draft::new(folder, key) {
        Ok(draft) => draft,
        Err(problem) => return Ok((checked.fused(choices)?, CacheUse::Failed(problem))),
    };
    let model = checked.fused_into(choices, draft.clone())?;
    if let Err(problem) = draft.finish() {
        return Ok((model, CacheUse::Failed(problem)));
    }
    // Both at once would be twice the memory.
    drop(model);
    folder.sweep(&key.name);
    let path = folder.entry(&key.name);
    Ok(match take() {
        Some(shared) => (shared, CacheUse::Made(path)),
        None => {
            let problem = format!("{} was written but cannot be mapped", path.display());
            (checked.fused(choices)?, CacheUse::Failed(problem))
        }
    })
}

/// All that packed weights depend on, and the name of the file of those.
pub(crate) struct Key {
    /// As the file has it, to be compared.
    pub(crate) text: String,
    /// The beginning of its sha256, in hex.
    pub(crate) name: String,
}

impl Key {
    fn new(folder: &Folder, checked: &Checked, choices: &FuseChoices) -> Result<Self> {
        let checkpoint = identity::of(checked.checkpoint, folder)?;
        // The pool before the classifier has no weights and does not change those of others.
        let mut config = checked.resolved.config.clone();
        config.global_pool = Default::default();
        let text = format!(
            "resnest {} packing {PACKING} {} endian\n\
             checkpoint {checkpoint}\n\
             adapted {:?} replaced {:?}\n\
             {config:?}\n\
             {}",
            env!("CARGO_PKG_VERSION"),
            if cfg!(target_endian = "big") {
                "big"
            } else {
                "little"
            },
            checked.plan.first_conv,
            checked.plan.replaced,
            choices.describe(),
        );
        let name = hex(&Sha256::digest(&text)[..16]);
        Ok(Self { text, name })
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
