//! A network of `golden/small`, with the weights recorded in its file.

use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use resnest_model::{Block, ResNestArgs, ResNet, ResNetConfig};
use serde_json::Value;

use crate::fixture::Fixture;

/// timm's constructor arguments as a configuration.
pub fn config(fixture: &Fixture) -> ResNetConfig {
    let (options, args) = (fixture.json("options"), fixture.json("block_args"));
    let number = |v: &Value| v.as_u64().unwrap() as usize;
    let four = |v: &Value| std::array::from_fn(|i| number(&v[i]));
    ResNetConfig {
        block: Block::ResNest(ResNestArgs {
            radix: number(&args["radix"]),
            avd: args["avd"].as_bool().unwrap(),
            avd_first: args["avd_first"].as_bool().unwrap(),
        }),
        layers: four(&options["layers"]),
        channels: four(&options["channels"]),
        cardinality: number(&options["cardinality"]),
        base_width: number(&options["base_width"]),
        stem_type: options["stem_type"].as_str().unwrap().parse().unwrap(),
        stem_width: number(&options["stem_width"]),
        avg_down: options["avg_down"].as_bool().unwrap(),
        num_classes: number(&options["num_classes"]),
        in_chans: number(&options["in_chans"]),
        global_pool: options["global_pool"].as_str().unwrap().parse().unwrap(),
        output_stride: number(&options["output_stride"]),
        ..ResNetConfig::resnest14d()
    }
}

pub fn small_model(fixture: &Fixture, dtype: DType) -> ResNet {
    let weights = fixture.tensors.iter().filter_map(|(name, tensor)| {
        let name = name.strip_prefix("weights.")?;
        Some((name.to_owned(), tensor.to_dtype(dtype).unwrap()))
    });
    let vb = VarBuilder::from_tensors(weights.collect(), dtype, &Device::Cpu);
    ResNet::new(&config(fixture), vb).unwrap_or_else(|e| panic!("{}: {e}", fixture.name))
}
