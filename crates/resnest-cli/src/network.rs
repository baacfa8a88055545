//! A network's configuration in words: timm's names for what differs from a plain ResNet.

use resnest::ResNetConfig;
use resnest::model::{AaLayer, AttnLayer, Block, NormLayer, SeNetBlock, StemType};

/// `Bottleneck of 3, 4, 6, 3 blocks, deep stem of 32, avg_down`.
pub fn words(config: &ResNetConfig) -> String {
    let blocks = config.layers.map(|n| n.to_string()).join(", ");
    let mut words = vec![format!("{} of {blocks} blocks", block(&config.block))];
    if config.channels != [64, 128, 256, 512] {
        let planes = config.channels.map(|n| n.to_string()).join(", ");
        words.push(format!("planes {planes}"));
    }
    if (config.cardinality, config.base_width) != (1, 64) {
        let (groups, width) = (config.cardinality, config.base_width);
        words.push(format!("cardinality {groups}, base_width {width}"));
    }
    words.push(match config.stem_type {
        StemType::Conv7x7 => "7x7 stem".into(),
        stem => format!("{stem} stem of {}", config.stem_width),
    });
    words.extend(switches(config).into_iter().map(str::to_owned));
    if config.block_reduce_first != 1 {
        words.push(format!("block_reduce_first {}", config.block_reduce_first));
    }
    if config.down_kernel_size != 1 {
        words.push(format!("down_kernel_size {}", config.down_kernel_size));
    }
    words.push(format!("global_pool {}", config.global_pool));
    if config.in_chans != 3 {
        words.push(format!("in_chans {}", config.in_chans));
    }
    if config.output_stride != 32 {
        words.push(format!("output_stride {}", config.output_stride));
    }
    words.join(", ")
}

/// What is there or not.
fn switches(config: &ResNetConfig) -> Vec<&'static str> {
    let all = [
        (config.replace_stem_pool, "replace_stem_pool"),
        (config.avg_down, "avg_down"),
        (config.norm_layer == NormLayer::GroupNorm, "groupnorm"),
        (config.aa_layer == Some(AaLayer::AvgPool), "aa_layer avg"),
        (config.aa_layer == Some(AaLayer::BlurPool), "aa_layer blur"),
        (config.pruned.is_some(), "pruned"),
    ];
    let there = all.into_iter().filter(|(there, _)| *there);
    there.map(|(_, word)| word).collect()
}

fn block(block: &Block) -> String {
    match block {
        Block::Basic(args) => format!("BasicBlock{}", attention(args.attn_layer)),
        Block::Bottleneck(args) => format!("Bottleneck{}", attention(args.attn_layer)),
        Block::ResNest(args) => {
            let avd = match (args.avd, args.avd_first) {
                (false, _) => "",
                (true, false) => ", avd",
                (true, true) => ", avd_first",
            };
            format!("ResNestBottleneck (radix {}{avd})", args.radix)
        }
        Block::SelectiveKernelBasic(_) => "SelectiveKernelBasic".into(),
        Block::SelectiveKernelBottleneck(_) => "SelectiveKernelBottleneck".into(),
        Block::Bottle2neck(args) => format!("Bottle2neck (scale {})", args.scale),
        Block::SeNet(args) => {
            let name = match args.block {
                SeNetBlock::SeBottleneck => "SEBottleneck",
                SeNetBlock::SeResNetBottleneck => "SEResNetBottleneck",
                SeNetBlock::SeResNeXtBottleneck => "SEResNeXtBottleneck",
                SeNetBlock::SeResNetBlock => "SEResNetBlock",
            };
            format!("{name} (reduction {})", args.reduction)
        }
        Block::PerStage(blocks) => blocks.each_ref().map(self::block).join(" / "),
    }
}

fn attention(layer: Option<AttnLayer>) -> String {
    match layer {
        None => String::new(),
        Some(AttnLayer::Se { rd_ratio }) => format!(" (se, rd_ratio {rd_ratio})"),
        Some(AttnLayer::Eca) => " (eca)".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_network_has_words_and_none_of_rusts_debug_text() {
        let named = |name| words(&ResNetConfig::by_name(name).unwrap());
        assert_eq!(
            named("resnest50d"),
            "ResNestBottleneck (radix 2, avd) of 3, 4, 6, 3 blocks, deep stem of 32, avg_down, global_pool avg"
        );
        assert_eq!(
            named("resnext50_32x4d"),
            "Bottleneck of 3, 4, 6, 3 blocks, cardinality 32, base_width 4, 7x7 stem, global_pool avg"
        );
        for name in ResNetConfig::names() {
            let text = named(name);
            assert!(!text.contains(['{', '[', ':']), "{name}: {text}");
        }
    }
}
