//! `model_args`: timm's constructor arguments, laid over an architecture's own.

use resnest_model::{Block, ResNetConfig, StemType};

use super::block_args::block_args;
use crate::error::Result;
use crate::fields::Fields;

/// Arguments that act on training, or on how torch runs the model, and never on what it computes.
const HARMLESS: &[&str] = &[
    "drop_rate",
    "drop_path_rate",
    "drop_block_rate",
    "proj_drop_rate",
    "attn_drop_rate",
    "zero_init_last",
    "zero_init_fc",
    "scriptable",
    "exportable",
    "no_jit",
    "checkpoint_path",
    "cache_dir",
    "pretrained",
    "device",
    "dtype",
    "grad_checkpointing",
];

/// Arguments of timm's ResNet this crate's networks have one value of.
const FIXED: &[(&str, &[&str])] = &[("act_layer", &["\"relu\""]), ("features_only", &["false"])];

/// No head is larger; keeps a lying config from asking for more memory than there is.
const MAX_HEAD: usize = 1 << 28;

/// Lays `args` over `config` as Python's `dict(model_kwargs, **kwargs)` does.
///
/// # Errors
/// [`crate::Error::Config`] naming an argument of the wrong type, or one that would change the network
/// in a way it cannot follow.
pub(crate) fn apply(config: &mut ResNetConfig, args: &Fields<'_>) -> Result<()> {
    for (name, value) in args.map {
        if !value.is_null() {
            apply_one(config, args, name)?;
        }
    }
    Ok(())
}

fn apply_one(config: &mut ResNetConfig, args: &Fields<'_>, name: &str) -> Result<()> {
    if let Block::SeNet(_) = config.block {
        return senet_arg(config, args, name);
    }
    match name {
        "num_classes" => set(&mut config.num_classes, args.usize(name)?),
        "in_chans" => set(&mut config.in_chans, args.positive(name)?),
        "output_stride" => set(&mut config.output_stride, args.positive(name)?),
        "cardinality" => set(&mut config.cardinality, args.positive(name)?),
        "base_width" => set(&mut config.base_width, args.positive(name)?),
        "stem_width" => set(&mut config.stem_width, args.positive(name)?),
        "avg_down" => set(&mut config.avg_down, args.bool(name)?),
        "layers" => set(&mut config.layers, args.sizes(name)?),
        "channels" => set(&mut config.channels, args.sizes(name)?),
        "global_pool" => set(&mut config.global_pool, parsed(args, name)?),
        "replace_stem_pool" => set(&mut config.replace_stem_pool, args.bool(name)?),
        "block_reduce_first" => set(&mut config.block_reduce_first, args.positive(name)?),
        "down_kernel_size" => set(&mut config.down_kernel_size, args.positive(name)?),
        "norm_layer" => set(&mut config.norm_layer, parsed(args, name)?),
        "aa_layer" => match args.string(name)?.as_deref() {
            Some("") => config.aa_layer = None,
            _ => config.aa_layer = parsed(args, name)?,
        },
        "stem_type" => set(&mut config.stem_type, parsed(args, name)?),
        "block_args" => return block_args(config, args),
        _ => return tolerate(args, name),
    }
    Ok(())
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

pub(super) fn parsed<T: std::str::FromStr>(args: &Fields<'_>, name: &str) -> Result<Option<T>>
where
    T::Err: std::fmt::Display,
{
    let text = args.string(name)?;
    text.map(|text| {
        text.parse()
            .map_err(|e: T::Err| args.error(name, e.to_string()))
    })
    .transpose()
}

/// The arguments of timm's `SENet`, which are fewer and have other names.
fn senet_arg(config: &mut ResNetConfig, args: &Fields<'_>, name: &str) -> Result<()> {
    match name {
        "num_classes" => set(&mut config.num_classes, args.usize(name)?),
        "in_chans" => set(&mut config.in_chans, args.positive(name)?),
        "layers" => set(&mut config.layers, args.sizes(name)?),
        "global_pool" => set(&mut config.global_pool, parsed(args, name)?),
        "groups" => set(&mut config.cardinality, args.positive(name)?),
        "downsample_kernel_size" => set(&mut config.down_kernel_size, args.positive(name)?),
        "input_3x3" => {
            let stem = args.bool(name)?.map(|deep| match deep {
                true => StemType::Deep,
                false => StemType::Conv7x7,
            });
            set(&mut config.stem_type, stem);
        }
        "reduction" => {
            if let (Block::SeNet(block), Some(reduction)) =
                (&mut config.block, args.positive(name)?)
            {
                block.reduction = reduction;
            }
        }
        "inplanes" => return fixed(args, name, config.stem_type.out_chans(config.stem_width)),
        "downsample_padding" => return fixed(args, name, config.down_kernel_size / 2),
        _ => return tolerate(args, name),
    }
    Ok(())
}

/// An argument that follows from the others and may only repeat what they give.
fn fixed(args: &Fields<'_>, name: &str, only: usize) -> Result<()> {
    match args.usize(name)? {
        Some(given) if given != only => {
            Err(args.error(name, format!("{given} is not supported; only {only} is")))
        }
        _ => Ok(()),
    }
}

fn tolerate(args: &Fields<'_>, name: &str) -> Result<()> {
    if HARMLESS.contains(&name) {
        return Ok(());
    }
    let Some((_, values)) = FIXED.iter().find(|(fixed, _)| *fixed == name) else {
        return Err(args.error(name, "an unknown argument that may change the network"));
    };
    let given = args
        .value(name)
        .map(ToString::to_string)
        .unwrap_or_default();
    if values.contains(&given.as_str()) {
        return Ok(());
    }
    Err(args.error(
        name,
        format!("{given} is not supported; only {} is", values.join(" or ")),
    ))
}

/// Whether the network can be built at all, and without absurd amounts of memory.
pub(crate) fn check(config: &ResNetConfig, args: &Fields<'_>) -> Result<()> {
    config.validate().map_err(|e| match e {
        resnest_model::Error::Config {
            option,
            value,
            expected,
        } => args.error(option, format!("{value}: {expected}")),
        other => args.error("", other.to_string()),
    })?;
    let head = config.head_features().checked_mul(config.num_classes);
    if head.is_none_or(|weights| weights > MAX_HEAD) {
        return Err(args.error(
            "num_classes",
            format!(
                "{}: the head would have more than {MAX_HEAD} weights",
                config.num_classes
            ),
        ));
    }
    Ok(())
}
