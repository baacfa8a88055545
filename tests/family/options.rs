//! timm's constructor arguments, as `make_options.py` records them, as a configuration.

use resnest_model::{AttnLayer, Block, BlockArgs, Res2NetArgs, ResNetConfig, SkArgs, StemType};
use serde_json::Value;

fn number(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn four(value: &Value) -> [usize; 4] {
    std::array::from_fn(|i| number(&value[i]))
}

fn block(name: &str, args: &Value) -> Block {
    let plain = || BlockArgs {
        attn_layer: match args["attn_layer"].as_str() {
            None => None,
            Some("se") => Some(AttnLayer::se()),
            Some("eca") => Some(AttnLayer::Eca),
            Some(other) => panic!("attn_layer {other}"),
        },
    };
    let selective = || SkArgs {
        rd_ratio: args["sk_kwargs"]["rd_ratio"].as_f64().unwrap(),
        rd_divisor: number(&args["sk_kwargs"]["rd_divisor"]),
        split_input: args["sk_kwargs"]["split_input"].as_bool().unwrap(),
    };
    match name {
        "BasicBlock" => Block::Basic(plain()),
        "Bottleneck" => Block::Bottleneck(plain()),
        "SelectiveKernelBasic" => Block::SelectiveKernelBasic(selective()),
        "SelectiveKernelBottleneck" => Block::SelectiveKernelBottleneck(selective()),
        "Bottle2neck" => Block::Bottle2neck(Res2NetArgs {
            scale: number(&args["scale"]),
        }),
        other => panic!("block {other}"),
    }
}

/// Every option is read, so that none can be forgotten here.
pub fn config(options: &Value) -> ResNetConfig {
    let args = &options["block_args"];
    let aa_layer = text(&options["aa_layer"]);
    ResNetConfig {
        block: match &options["block"] {
            Value::String(name) => block(name, args),
            names => {
                let stages = std::array::from_fn(|i| block(text(&names[i]), args));
                Block::PerStage(Box::new(stages))
            }
        },
        layers: four(&options["layers"]),
        channels: four(&options["channels"]),
        cardinality: number(&options["cardinality"]),
        base_width: number(&options["base_width"]),
        stem_type: text(&options["stem_type"]).parse::<StemType>().unwrap(),
        stem_width: number(&options["stem_width"]),
        replace_stem_pool: options["replace_stem_pool"].as_bool().unwrap(),
        block_reduce_first: number(&options["block_reduce_first"]),
        down_kernel_size: number(&options["down_kernel_size"]),
        avg_down: options["avg_down"].as_bool().unwrap(),
        norm_layer: text(&options["norm_layer"]).parse().unwrap(),
        aa_layer: (!aa_layer.is_empty()).then(|| aa_layer.parse().unwrap()),
        pruned: None,
        num_classes: number(&options["num_classes"]),
        in_chans: number(&options["in_chans"]),
        global_pool: text(&options["global_pool"]).parse().unwrap(),
        output_stride: number(&options["output_stride"]),
    }
}
