//! WebDataset's convention: the members `KEY.jpg` and `KEY.cls` of an archive are one sample.

use std::collections::HashMap;
use std::path::Path;

use super::archive::{self, Member};
use super::files::is_image_ending;
use super::{Label, Place, Sample};

/// A label is a few digits, a sidecar some lines.
const MOST_LABEL_BYTES: u64 = 1 << 20;

/// A sample's members, as far as they matter here.
#[derive(Default)]
struct Group<'a> {
    image: Option<&'a Member>,
    cls: Option<&'a Member>,
    json: Option<&'a Member>,
}

/// Whether an archive is of this kind: it has a `.cls`, or a `.json` beside an image of the same key.
pub fn is_one(members: &[Member]) -> bool {
    let mut groups = HashMap::new();
    members.iter().any(|m| ending(&m.name) == Some("cls"))
        || grouped(members, &mut groups)
            .iter()
            .any(|key| groups[key].image.is_some() && groups[key].json.is_some())
}

/// The samples of one archive, in its order. One without a label is there with the reason, so that it is not lost.
pub fn samples(path: &Path, archive: u32, members: &[Member]) -> Vec<Sample> {
    let mut groups = HashMap::new();
    let keys = grouped(members, &mut groups);
    keys.iter()
        .filter_map(|key| sample(path, archive, &groups[key]))
        .collect()
}

fn sample(path: &Path, archive: u32, group: &Group) -> Option<Sample> {
    let image = group.image?;
    let (place, label) = match label(path, group) {
        Ok(index) => {
            let place = Place::Archive {
                archive,
                offset: image.offset,
                size: image.size,
            };
            (place, Label::Index(index))
        }
        Err(reason) => (Place::Missing(reason), Label::Unknown),
    };
    let name = image.name.clone();
    Some(Sample { name, place, label })
}

/// The class index in `KEY.cls`, else the field `label` of `KEY.json`.
fn label(path: &Path, group: &Group) -> Result<usize, String> {
    let read = |member: &Member| {
        archive::read(path, member.offset, member.size, MOST_LABEL_BYTES)
            .map_err(|e| format!("its label {} cannot be read: {e}", member.name))
    };
    if let Some(member) = group.cls {
        let bytes = read(member)?;
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        return text
            .parse()
            .map_err(|_| format!("{} holds {text:?}, not a class index from 0", member.name));
    }
    let member = group
        .json
        .ok_or("it has neither a .cls nor a .json with its label")?;
    let value: serde_json::Value = serde_json::from_slice(&read(member)?)
        .map_err(|e| format!("{} is not JSON: {e}", member.name))?;
    let index = value.get("label").and_then(serde_json::Value::as_u64);
    index
        .and_then(|index| usize::try_from(index).ok())
        .ok_or_else(|| {
            format!(
                "{} has no field \"label\" with a class index from 0",
                member.name
            )
        })
}

/// The keys in the order in which they first come, and what belongs to each.
fn grouped<'a>(members: &'a [Member], groups: &mut HashMap<&'a str, Group<'a>>) -> Vec<&'a str> {
    let mut keys = Vec::new();
    for member in members {
        let Some((key, ending)) = split(&member.name) else {
            continue;
        };
        let group = groups.entry(key).or_insert_with(|| {
            keys.push(key);
            Group::default()
        });
        let slot = match ending {
            "cls" => &mut group.cls,
            "json" => &mut group.json,
            // A sample with a second picture (`KEY.seg.png`) is classified by the plain one.
            ending if is_image_ending(ending) => &mut group.image,
            _ => continue,
        };
        slot.get_or_insert(member);
    }
    keys
}

fn ending(name: &str) -> Option<&str> {
    split(name).map(|(_, ending)| ending)
}

/// At the first dot of the file's name, as WebDataset does (`base_plus_ext`).
fn split(name: &str) -> Option<(&str, &str)> {
    let file = name.rfind('/').map_or(0, |at| at + 1);
    let dot = file + name[file..].find('.')?;
    Some((&name[..dot], &name[dot + 1..]))
}
