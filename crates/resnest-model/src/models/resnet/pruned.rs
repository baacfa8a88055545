//! Widths of the two networks that were pruned. All blocks of a stage put out equally many channels.
//!
//! Aflalo et al., *Knapsack Pruning with Inner Distillation*, [arXiv:2002.08258]; timm's [`models/_pruned`].
//!
//! [arXiv:2002.08258]: https://arxiv.org/abs/2002.08258
//! [`models/_pruned`]: https://github.com/huggingface/pytorch-image-models/tree/main/timm/models/_pruned

use crate::config::Pruned;

/// `ecaresnet50d_pruned`.
#[rustfmt::skip]
pub(super) static ECARESNET50D: Pruned = Pruned {
    out_chans: [19, 171, 818, 2022],
    widths: &[
        [47, 18], [52, 22], [64, 35],
        [85, 37], [107, 80], [120, 85], [125, 87],
        [198, 126], [255, 232], [256, 233], [253, 235], [256, 225], [256, 239],
        [492, 237], [512, 500], [512, 490],
    ],
};

/// `ecaresnet101d_pruned`.
#[rustfmt::skip]
pub(super) static ECARESNET101D: Pruned = Pruned {
    out_chans: [26, 142, 278, 2042],
    widths: &[
        [45, 25], [53, 20], [60, 27],
        [81, 24], [93, 49], [102, 54], [122, 78],
        [101, 25], [239, 160], [234, 156], [250, 176], [253, 191], [251, 175], [230, 128], [244, 154],
        [244, 159], [238, 97], [244, 149], [253, 181], [245, 119], [255, 216], [256, 201], [253, 149],
        [254, 141], [256, 190], [256, 217], [255, 156], [256, 155], [256, 232], [256, 214],
        [499, 289], [512, 512], [512, 502],
    ],
};
