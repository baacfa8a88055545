use std::sync::atomic::Ordering;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;

use crate::{Error, FuseOptions, ResNet, ResNetConfig, TestTimePoolHead, random_weights};

fn model() -> ResNet {
    let weights = VarBuilder::zeros(DType::F32, &Device::Cpu);
    ResNet::new(&ResNetConfig::resnest14d(), weights).unwrap()
}

fn zeros(shape: &[usize]) -> Tensor {
    Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap()
}

#[test]
fn an_input_that_does_not_fit_is_refused_with_the_shape_that_would() {
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
        assert!(error.is_invalid_request());
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
    assert!(matches!(error, Error::Weights(_)) && !error.is_invalid_request());
}

#[test]
fn a_network_can_be_shared_between_threads() {
    fn shareable<T: Send + Sync + 'static>(_: &T) {}
    shareable(&model());
}

#[test]
fn every_way_through_a_network_counts_as_a_forward() {
    let mut model = model();
    let x = zeros(&[1, 3, 64, 64]);
    model.forward(&x).unwrap();
    let counted = |model: &ResNet| model.forwards.load(Ordering::Relaxed);
    assert_eq!(
        counted(&model),
        0,
        "an unfused network has nothing to settle"
    );
    model.fuse(&FuseOptions::default()).unwrap();
    let ways: [&dyn Fn(&ResNet); 6] = [
        &|model| drop(model.forward(&x).unwrap()),
        &|model| drop(model.forward_features(&x).unwrap()),
        &|model| drop(model.forward_intermediates(&x, &[1]).unwrap()),
        &|model| drop(model.forward_features_at(&x, &[0]).unwrap()),
        &|model| drop(model.profile(&x).unwrap()),
        &|model| drop(model.split_weights(&x).unwrap()),
    ];
    for (before, way) in ways.iter().enumerate() {
        way(&model);
        assert_eq!(counted(&model), before + 1);
    }
    // A head or maps from a map are no forward, nor is an input that does not fit.
    let map = model.forward_features(&x).unwrap();
    model.class_activation_maps(&map).unwrap();
    model.forward_head(&map, false).unwrap();
    assert!(model.forward(&zeros(&[1, 2, 64, 64])).is_err());
    assert_eq!(counted(&model), 7);
    let head = TestTimePoolHead::new(model, (2, 2)).unwrap();
    head.forward(&x).unwrap();
    assert_eq!(counted(head.base()), 8);
}

#[test]
fn the_same_seed_gives_the_same_network_and_every_layer_is_alive() {
    let config = ResNetConfig {
        layers: [1, 1, 1, 1],
        channels: [8, 8, 16, 16],
        ..ResNetConfig::resnest14d()
    };
    let logits = |seed| {
        let vb = random_weights(seed, DType::F32, &Device::Cpu);
        let x = Tensor::ones((1, 3, 64, 64), DType::F32, &Device::Cpu).unwrap();
        let logits = ResNet::new(&config, vb).unwrap().forward(&x).unwrap();
        logits.flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    let (a, b, c) = (logits(1), logits(1), logits(2));
    assert_eq!(a, b);
    assert_ne!(a, c);
    assert!(a.iter().all(|v| v.is_finite()) && a.iter().any(|v| *v != a[0]));
}
