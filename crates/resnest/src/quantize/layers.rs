//! Which convolutions are quantised, and which norm follows each.

use std::collections::BTreeMap;

use resnest_model::{ConvSpec, ResNetConfig};

use super::network::Tensors;

/// Channels of a group up to which a grouped convolution stays in f32: its sums are short, and nothing is won.
const NARROW: usize = 16;

/// Why a convolution stays in f32, unless it is quantised.
pub(super) fn kept(path: &str, spec: &ConvSpec, config: &ResNetConfig) -> Option<&'static str> {
    let name = path.rsplit('.').next().unwrap_or(path);
    if path == config.first_conv() {
        return Some("the first layer");
    }
    if name.starts_with("fc") {
        return Some("attention");
    }
    if spec.groups > 1 && spec.in_channels / spec.groups <= NARROW {
        return Some("narrow groups");
    }
    None
}

/// The batch norm that follows a convolution, by timm's names; `None` if there is none of its width.
pub(super) fn norm_after(path: &str, channels: usize, tensors: &Tensors) -> Option<String> {
    let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
    let beside = |name: &str| match parent {
        "" => name.to_owned(),
        _ => format!("{parent}.{name}"),
    };
    let mut candidates = Vec::new();
    if let Ok(index) = name.parse::<usize>() {
        // A sequence: its next member, or after the last of the stem the network's `bn1`; `convs.N` have `bns.N`.
        candidates.push(beside(&(index + 1).to_string()));
        let (above, list) = parent.rsplit_once('.').unwrap_or(("", parent));
        let dot = if above.is_empty() { "" } else { "." };
        match list {
            "convs" => candidates.push(format!("{above}{dot}bns.{index}")),
            _ => candidates.push(format!("{above}{dot}bn1")),
        }
    } else if name == "conv" {
        candidates.extend([beside("bn0"), beside("bn")]);
    } else if let Some(number) = name.strip_prefix("conv") {
        candidates.push(beside(&format!("bn{number}")));
    }
    candidates.into_iter().find(|norm| {
        let width = tensors.get(&format!("{norm}.running_var"));
        width.is_some_and(|t| t.values.len() == channels)
    })
}

/// Two convolutions with a batch norm and a ReLU between them and nothing else that looks at the map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub norm: String,
    pub next: String,
}

/// The pairs inside the network's blocks, by timm's names: `conv1` and what `conv2` is, in bottlenecks `conv2` and `conv3`.
pub(super) fn pairs(layers: &BTreeMap<String, ConvSpec>, tensors: &Tensors) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for (path, spec) in layers {
        let Some((block, name)) = path.rsplit_once('.') else {
            continue;
        };
        if !block.starts_with("layer") {
            continue;
        }
        let next: &[&str] = match name {
            "conv1" => &["conv2", "conv2.conv"],
            "conv2" => &["conv3"],
            _ => continue,
        };
        let next = next.iter().map(|next| format!("{block}.{next}"));
        let next = next.filter(|next| {
            layers
                .get(next)
                .is_some_and(|n| n.in_channels == spec.out_channels)
        });
        let norm = norm_after(path, spec.out_channels, tensors);
        pairs.extend(next.zip(norm).map(|(next, norm)| Pair { norm, next }));
    }
    pairs
}
