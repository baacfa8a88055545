//! A network from its configuration, without weights of its own or files: `cargo run --release --example from_config`.

use candle_core::{DType, Device, Tensor};
use resnest::model::{FuseOptions, ResNet, ResNetConfig, parameter_count, random_weights};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // timm's resnest26d, but for 10 classes.
    let mut config = ResNetConfig::by_name("resnest26d")?;
    config.num_classes = 10;
    println!("{} parameters", parameter_count(&config)?);
    let weights = random_weights(0, DType::F32, &Device::Cpu);
    // `ResNet::new` takes any candle `VarBuilder`; `fused` packs its weights for the CPU kernels.
    let model = ResNet::fused(&config, weights, &FuseOptions::default())?;
    let x = Tensor::randn(0f32, 1., (1, 3, 224, 224), &Device::Cpu)?;
    println!("logits {:?}", model.forward(&x)?.dims());
    println!("map    {:?}", model.forward_features(&x)?.dims());
    Ok(())
}
