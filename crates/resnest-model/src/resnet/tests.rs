use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;

use crate::{Error, ResNet, ResNetConfig};

fn model() -> ResNet {
    let weights = VarBuilder::zeros(DType::F32, &Device::Cpu);
    ResNet::new(&ResNetConfig::resnest14d(), weights).unwrap()
}

fn zeros(shape: &[usize]) -> Tensor {
    Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap()
}

#[test]
fn an_input_that_does_not_fit_is_told_what_would() {
    let model = model();
    for shape in [
        &[3, 32, 32][..],
        &[1, 4, 32, 32],
        &[1, 32, 32, 3],
        &[1, 3, 0, 32],
    ] {
        let Err(error @ Error::Input { .. }) = model.forward(&zeros(shape)) else {
            panic!("accepted {shape:?}");
        };
        assert!(error.to_string().contains("(batch, 3, height, width)"));
        assert!(model.forward_features(&zeros(shape)).is_err());
        assert!(model.forward_intermediates(&zeros(shape), &[0]).is_err());
    }
    let map = zeros(&[1, 2047, 4, 4]);
    assert!(matches!(
        model.forward_head(&map, false),
        Err(Error::Input { .. })
    ));
}

#[test]
fn features_are_taken_by_index_from_either_end() {
    let (model, x) = (model(), zeros(&[1, 3, 64, 64]));
    let maps = model.forward_features_at(&x, &[-1, 1]).unwrap();
    assert_eq!(maps[0].dims(), [1, 256, 16, 16]);
    assert_eq!(maps[1].dims(), [1, 2048, 2, 2]);
    assert!(model.forward_features_at(&x, &[]).unwrap().is_empty());
    for index in [5, -6, isize::MIN, isize::MAX] {
        let Err(Error::FeatureIndex {
            index: named,
            last: 4,
        }) = model.forward_features_at(&x, &[0, index])
        else {
            panic!("accepted {index}");
        };
        assert_eq!(named, index);
    }
}

#[test]
fn a_missing_tensor_is_named() {
    let weights = VarBuilder::from_tensors(Default::default(), DType::F32, &Device::Cpu);
    let error = ResNet::new(&ResNetConfig::resnest14d(), weights).unwrap_err();
    assert!(error.to_string().contains("conv1.0.weight"), "{error}");
}

#[test]
fn a_network_can_be_shared_between_threads() {
    fn shareable<T: Send + Sync + 'static>(_: &T) {}
    shareable(&model());
}
