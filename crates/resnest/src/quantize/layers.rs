//! Which convolutions are quantised, and which norm follows each.

use resnest_model::{ConvSpec, ResNetConfig};

use super::network::Tensors;

/// Channels of a group up to which a grouped convolution stays in f32: its sums are short, and nothing is won.
const NARROW: usize = 16;
/// Fewer channels than the integer kernels take.
const FEW: usize = 8;

/// A convolution that stays in f32.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Kept {
    /// Its name in the checkpoint.
    pub path: String,
    /// Why.
    pub reason: &'static str,
}

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
    if spec.in_channels < FEW {
        return Some("few channels");
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use resnest_model::{NormLayer, expected_tensors};

    use super::*;
    use crate::quantize::network::Values;

    #[test]
    fn every_convolution_of_every_network_finds_the_norm_that_is_its_own() {
        for name in ResNetConfig::names() {
            let config = ResNetConfig::by_name(name).unwrap();
            let specs = expected_tensors(&config).unwrap();
            let tensor = |spec: &resnest_model::TensorSpec| {
                let values = match spec.name.ends_with(".running_var") {
                    true => vec![1.0; spec.shape[0]],
                    false => Vec::new(),
                };
                let shape = spec.shape.clone();
                (spec.name.clone(), Values { shape, values })
            };
            let tensors: Tensors = specs.iter().map(tensor).collect();
            let norms = tensors
                .keys()
                .filter_map(|name| name.strip_suffix(".running_var"));
            let mut unclaimed: BTreeSet<&str> = norms.collect();
            let convs = specs.iter().filter(|spec| spec.shape.len() == 4);
            for spec in convs {
                let conv = spec.name.strip_suffix(".weight").unwrap();
                let Some(norm) = norm_after(conv, spec.shape[0], &tensors) else {
                    let biased = tensors.contains_key(&format!("{conv}.bias"));
                    let grouped = config.norm_layer == NormLayer::GroupNorm;
                    let last = conv.rsplit('.').next().unwrap();
                    assert!(
                        biased || grouped || last.starts_with("fc"),
                        "{name}: {conv}"
                    );
                    continue;
                };
                assert!(
                    unclaimed.remove(norm.as_str()),
                    "{name}: {conv} and another have {norm}"
                );
            }
            // What is left belongs to the small layers of attentions.
            let small = |norm: &&str| {
                ["conv2.bn1", "attn.bn", "se.bn"]
                    .iter()
                    .any(|end| norm.ends_with(end))
            };
            assert!(unclaimed.iter().all(small), "{name}: {unclaimed:?}");
        }
    }
}
