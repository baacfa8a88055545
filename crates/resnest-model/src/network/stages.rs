//! The places of the residual blocks: width, stride and dilation of each (`make_blocks` of [`models/resnet.py`]).
//!
//! [`models/resnet.py`]: https://github.com/huggingface/pytorch-image-models/blob/main/timm/models/resnet.py

use crate::block::{BlockSpec, DownsampleKind};
use crate::config::ResNetConfig;

/// `make_blocks`: where each block gets its stride and dilation.
pub(super) fn block_specs(config: &ResNetConfig) -> Vec<BlockSpec> {
    let (mut net_stride, mut dilation, mut first_dilation) = (4, 1, 1);
    let mut in_chans = config.stem_chans();
    let mut specs = Vec::new();
    for (i, planes) in config.channels.into_iter().enumerate() {
        let mut stride = if i == 0 { 1 } else { 2 };
        if net_stride >= config.output_stride {
            dilation *= stride;
            stride = 1;
        } else {
            net_stride *= stride;
        }
        let out_chans = config.stage_chans(i);
        let kind = match config.avg_down {
            true => DownsampleKind::Avg,
            false => DownsampleKind::Conv {
                kernel: config.down_kernel_size,
            },
        };
        for block in 0..config.layers[i] {
            // Pruning has changed the widths, not which shortcuts there are.
            let changes_shape = stride != 1 || in_chans != out_chans || config.pruned.is_some();
            specs.push(BlockSpec {
                path: format!("layer{}.{block}", i + 1),
                stage: i,
                in_chans,
                planes,
                out_chans: planes * config.block.of_stage(i).expansion(),
                stride,
                dilation,
                first_dilation,
                cardinality: config.cardinality,
                base_width: config.base_width,
                downsample: (block == 0 && changes_shape).then_some(kind),
                reduce_first: config.block_reduce_first,
                norm_layer: config.norm_layer,
                aa: config.aa_layer,
                pruned: config.pruned.map(|pruned| {
                    let [first, width] = pruned.widths[specs.len()];
                    [first, width, out_chans]
                }),
            });
            stride = 1;
            first_dilation = dilation;
            in_chans = out_chans;
        }
    }
    specs
}
