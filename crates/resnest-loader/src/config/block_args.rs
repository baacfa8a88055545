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
