//! Every network by its name, and the block that a configuration asks for.

use candle_core::Result;
use candle_nn::VarBuilder;

use super::Named;
use super::res2net::{self, Bottle2neck};
use super::resnest::{self, ResNestBottleneck};
use super::resnet::{self, BasicBlock, Bottleneck};
use super::senet;
use super::sknet::{self, SelectiveKernelBasic, SelectiveKernelBottleneck};
use crate::block::{BlockSpec, ResidualBlock};
use crate::config::{Block, ResNetConfig};
use crate::error::{Error, Result as ModelResult};

/// Every named network.
fn named() -> impl Iterator<Item = &'static Named> {
    let files = [
        resnest::NAMED,
        resnet::NAMED,
        sknet::NAMED,
        res2net::NAMED,
        senet::NAMED,
    ];
    files.into_iter().flatten()
}

impl ResNetConfig {
    /// Every architecture known by name, file by file as timm has them; ResNeSt first, and with it
    /// the others of its official repository.
    pub fn names() -> impl Iterator<Item = &'static str> {
        named().map(|(name, _)| *name)
    }

    /// The configuration of a named architecture (no tag): timm's name or the official repository's
    /// (`resnest50_fast_4s2x40d`, `resnest269` …).
    ///
    /// # Errors
    /// [`Error::UnknownModel`] with the nearest names.
    pub fn by_name(name: &str) -> ModelResult<Self> {
        let found = |wanted: &str| {
            let (_, build) = named().find(|(known, _)| *known == wanted)?;
            Some(build())
        };
        found(name)
            .or_else(|| found(&resnest::timm_name(name)?))
            .ok_or_else(|| Error::UnknownModel {
                name: name.to_owned(),
                nearest: nearest_names(name),
            })
    }
}

/// Up to three known names, the most similar first.
fn nearest_names(name: &str) -> Vec<&'static str> {
    let mut names: Vec<_> = ResNetConfig::names().collect();
    names.sort_by_key(|known| strsim::damerau_levenshtein(known, name));
    names.truncate(3);
    names
}

/// The block that stands at the place `spec` describes, of the kind that `config` asks for there.
pub(crate) fn new_block(
    config: &ResNetConfig,
    spec: &BlockSpec,
    vb: &VarBuilder,
) -> Result<Box<dyn ResidualBlock>> {
    let vb = vb.pp(&spec.path);
    Ok(match config.block.of_stage(spec.stage) {
        Block::Basic(args) => Box::new(BasicBlock::new(spec, args, vb)?),
        Block::Bottleneck(args) => Box::new(Bottleneck::new(spec, args, vb)?),
        Block::ResNest(args) => Box::new(ResNestBottleneck::new(spec, args, vb)?),
        Block::SelectiveKernelBasic(args) => Box::new(SelectiveKernelBasic::new(spec, args, vb)?),
        Block::SelectiveKernelBottleneck(args) => {
            Box::new(SelectiveKernelBottleneck::new(spec, args, vb)?)
        }
        Block::Bottle2neck(args) => Box::new(Bottle2neck::new(spec, args, vb)?),
        Block::SeNet(args) => senet::new_block(spec, args, &vb)?,
        Block::PerStage(_) => candle_core::bail!("a stage has one kind of block"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_resolve_and_a_misspelling_is_answered_with_its_neighbours() {
        for name in ResNetConfig::names() {
            ResNetConfig::by_name(name).unwrap().validate().unwrap();
        }
        let Err(Error::UnknownModel { nearest, .. }) = ResNetConfig::by_name("resnest5od") else {
            panic!("resolved a misspelling");
        };
        assert_eq!(nearest[0], "resnest50d");
    }

    #[test]
    fn official_names_are_timms() {
        for (official, timm) in [
            ("resnest50", "resnest50d"),
            ("resnest101", "resnest101e"),
            ("resnest269", "resnest269e"),
            ("resnest50_fast_4s2x40d", "resnest50d_4s2x40d"),
        ] {
            assert_eq!(
                ResNetConfig::by_name(official).unwrap(),
                ResNetConfig::by_name(timm).unwrap()
            );
        }
        assert!(ResNetConfig::by_name("resnest50_fast_9s9x9d").is_err());
    }
}
