//! `block_args`: what only a network's residual block knows.

use resnest_model::{AttnLayer, Block, BlockArgs, Res2NetArgs, ResNestArgs, ResNetConfig, SkArgs};
use serde_json::{Map, Value};

use crate::error::Result;
use crate::fields::Fields;

/// `block_args` replaces the architecture's whole dict, so what it leaves out falls back to the defaults
/// of the block's constructor: radix 1 and no avd for a ResNeSt, no attention for a bottleneck.
pub(super) fn block_args(config: &mut ResNetConfig, args: &Fields<'_>) -> Result<()> {
    let Some(map) = args.object("block_args")? else {
        return Ok(());
    };
    let path = format!("{}block_args.", args.path);
    let inner = Fields {
        map,
        owner: args.owner,
        path: &path,
    };
    config.block = with_args(&config.block, &inner)?;
    Ok(())
}

fn with_args(block: &Block, args: &Fields<'_>) -> Result<Block> {
    Ok(match block {
        Block::Basic(_) => Block::Basic(plain(args)?),
        Block::Bottleneck(_) => Block::Bottleneck(plain(args)?),
        Block::ResNest(_) => Block::ResNest(resnest(args)?),
        Block::SelectiveKernelBasic(_) => Block::SelectiveKernelBasic(selective(args)?),
        Block::SelectiveKernelBottleneck(_) => Block::SelectiveKernelBottleneck(selective(args)?),
        Block::Bottle2neck(_) => {
            known(args, &["scale"])?;
            let scale = args.positive("scale")?.unwrap_or(4);
            Block::Bottle2neck(Res2NetArgs { scale })
        }
        Block::SeNet(_) => {
            return Err(args.error("-", "the legacy SE networks take no block_args"));
        }
        Block::PerStage(blocks) => {
            let [a, b, c, d] = &**blocks;
            let one = |block| with_args(block, args);
            Block::PerStage(Box::new([one(a)?, one(b)?, one(c)?, one(d)?]))
        }
    })
}

fn known(args: &Fields<'_>, names: &[&str]) -> Result<()> {
    match args.map.keys().find(|k| !names.contains(&k.as_str())) {
        Some(unknown) => {
            Err(args.error(unknown, "an unknown argument that may change the network"))
        }
        None => Ok(()),
    }
}

/// `attn_layer` by name, or by true, which timm takes for 'se'.
fn plain(args: &Fields<'_>) -> Result<BlockArgs> {
    known(args, &["attn_layer"])?;
    let attn_layer = match args.value("attn_layer") {
        None | Some(Value::Bool(false)) => None,
        Some(Value::Bool(true)) => Some(AttnLayer::se()),
        Some(_) => match args
            .string("attn_layer")?
            .unwrap_or_default()
            .to_ascii_lowercase()
            .as_str()
        {
            "" => None,
            "se" => Some(AttnLayer::se()),
            "eca" => Some(AttnLayer::Eca),
            other => {
                let problem = format!("\"{other}\" is not supported; only \"se\" or \"eca\" is");
                return Err(args.error("attn_layer", problem));
            }
        },
    };
    Ok(BlockArgs { attn_layer })
}

fn resnest(args: &Fields<'_>) -> Result<ResNestArgs> {
    known(args, &["radix", "avd", "avd_first"])?;
    Ok(ResNestArgs {
        radix: args.usize("radix")?.unwrap_or(1),
        avd: args.bool("avd")?.unwrap_or(false),
        avd_first: args.bool("avd_first")?.unwrap_or(false),
    })
}

fn selective(args: &Fields<'_>) -> Result<SkArgs> {
    known(args, &["sk_kwargs"])?;
    let empty = Map::new();
    let path = format!("{}sk_kwargs.", args.path);
    let inner = Fields {
        map: args.object("sk_kwargs")?.unwrap_or(&empty),
        owner: args.owner,
        path: &path,
    };
    known(&inner, &["rd_ratio", "rd_divisor", "split_input"])?;
    let default = SkArgs::default();
    Ok(SkArgs {
        rd_ratio: inner.number("rd_ratio")?.unwrap_or(default.rd_ratio),
        rd_divisor: inner.positive("rd_divisor")?.unwrap_or(default.rd_divisor),
        split_input: inner.bool("split_input")?.unwrap_or(default.split_input),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModelConfig;

    fn network(architecture: &str, args: &str) -> Result<ResNetConfig> {
        let text = format!("{{\"architecture\": \"{architecture}\", \"model_args\": {args}}}");
        ModelConfig::parse(&text, "config.json")?.network()
    }

    fn named(name: &str) -> ResNetConfig {
        ResNetConfig::by_name(name).unwrap()
    }

    #[test]
    fn arguments_make_one_network_of_another() {
        let cases = [
            (
                "resnet50",
                r#"{"block_args": {"attn_layer": "se"}}"#,
                "seresnet50",
            ),
            (
                "resnet50",
                r#"{"block_args": {"attn_layer": true}}"#,
                "seresnet50",
            ),
            ("ecaresnet50d", r#"{"block_args": {}}"#, "resnet50d"),
            ("resnet50", r#"{"norm_layer": "groupnorm"}"#, "resnet50_gn"),
            ("resnet50", r#"{"aa_layer": "avg"}"#, "resnetaa50"),
            ("resnetblur18", r#"{"aa_layer": ""}"#, "resnet18"),
            (
                "resnet50",
                r#"{"cardinality": 32, "base_width": 4}"#,
                "resnext50_32x4d",
            ),
            (
                "resnext101_64x4d",
                r#"{"layers": [3, 8, 36, 3], "stem_type": "deep", "down_kernel_size": 3,
                    "block_reduce_first": 2, "block_args": {"attn_layer": "se"}}"#,
                "senet154",
            ),
            (
                "res2net50_26w_4s",
                r#"{"block_args": {"scale": 6}}"#,
                "res2net50_26w_6s",
            ),
            (
                "skresnet50",
                r#"{"stem_type": "deep", "stem_width": 32, "avg_down": true}"#,
                "skresnet50d",
            ),
            (
                "skresnet50",
                r#"{"cardinality": 32, "base_width": 4,
                    "block_args": {"sk_kwargs": {"rd_divisor": 32, "split_input": false}}}"#,
                "skresnext50_32x4d",
            ),
            (
                "legacy_seresnet50",
                r#"{"layers": [3, 4, 23, 3], "inplanes": 64}"#,
                "legacy_seresnet101",
            ),
        ];
        for (name, args, wanted) in cases {
            let found = network(name, args).unwrap_or_else(|e| panic!("{name} {args}: {e}"));
            assert_eq!(found, named(wanted), "{name} {args}");
        }
    }

    #[test]
    fn what_a_network_does_not_know_is_named() {
        for (name, args, wanted) in [
            (
                "resnet50",
                r#"{"block_args": {"attn_layer": "cbam"}}"#,
                "block_args.attn_layer",
            ),
            (
                "resnet50",
                r#"{"block_args": {"radix": 2}}"#,
                "block_args.radix",
            ),
            ("resnet50", r#"{"aa_layer": "median"}"#, "aa_layer"),
            ("resnet50", r#"{"norm_layer": "layernorm"}"#, "norm_layer"),
            ("resnet18", r#"{"cardinality": 32}"#, "cardinality"),
            (
                "res2net50d",
                r#"{"block_args": {"scale": 0}}"#,
                "block_args.scale",
            ),
            (
                "skresnet18",
                r#"{"block_args": {"sk_kwargs": {"keep_3x3": false}}}"#,
                "sk_kwargs.keep_3x3",
            ),
            ("legacy_senet154", r#"{"inplanes": 64}"#, "inplanes"),
            ("legacy_seresnet50", r#"{"avg_down": true}"#, "avg_down"),
            (
                "legacy_seresnet50",
                r#"{"block_args": {"scale": 2}}"#,
                "block_args",
            ),
            (
                "ecaresnet50d_pruned",
                r#"{"layers": [1, 1, 1, 1]}"#,
                "pruned",
            ),
        ] {
            let problem = network(name, args).unwrap_err().to_string();
            assert!(problem.contains(wanted), "{name} {args}: {problem}");
        }
    }
}
