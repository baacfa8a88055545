//! The places where features can be taken: timm's [`models/_features.py`].
//!
//! [`models/_features.py`]: https://github.com/huggingface/pytorch-image-models/blob/main/timm/models/_features.py

use crate::config::ResNetConfig;
use crate::error::{Error, Result};

/// A place where features can be taken, as in timm's `feature_info`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureInfo {
    /// timm's module name: `act1` (the stem, before the max-pool; `layer0` in the legacy SE networks),
    /// `layer1` … `layer4`.
    pub module: &'static str,
    /// Channels of the map.
    pub num_chs: usize,
    /// Input pixels per pixel of the map.
    pub reduction: usize,
}

const MODULES: [&str; 5] = ["act1", "layer1", "layer2", "layer3", "layer4"];

/// The five taps of a network.
pub(crate) fn feature_info(config: &ResNetConfig) -> Vec<FeatureInfo> {
    let stages = [0, 1, 2, 3].map(|stage| config.stage_chans(stage));
    let channels = std::iter::once(config.stem_chans()).chain(stages);
    let [_, rest @ ..] = MODULES;
    std::iter::once(config.stem_module())
        .chain(rest)
        .zip(channels)
        .enumerate()
        .map(|(i, (module, num_chs))| FeatureInfo {
            module,
            num_chs,
            reduction: (2 << i).min(config.output_stride),
        })
        .collect()
}

/// Absolute indices of the taps; negative ones count from the end (`feature_take_indices`).
pub(crate) fn take_indices(indices: &[isize]) -> Result<Vec<usize>> {
    let count = MODULES.len();
    indices
        .iter()
        .map(|&index| {
            let absolute = if index < 0 {
                index.checked_add_unsigned(count)
            } else {
                Some(index)
            };
            absolute
                .and_then(|i| usize::try_from(i).ok())
                .filter(|&i| i < count)
                .ok_or(Error::FeatureIndex {
                    index,
                    last: count - 1,
                })
        })
        .collect()
}
