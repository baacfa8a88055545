//! What fusing promises beyond its values, which `golden.rs` holds to timm's: plans, choices,
//! profiles, memory, errors. The other side of each comparison is the unfused network.

use std::collections::BTreeMap;
use std::time::Instant;

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use resnest_model::{
    Algorithm, Block, Error, FuseOptions, Isa, IsaKind, PlannedLayer, Precision, ResNestArgs,
    ResNet, ResNetConfig, TensorSpec, expected_tensors, gmacs, plan, random_weights, trace_shapes,
    with_threads,
};

#[path = "../../../tests/golden/formula.rs"]
mod formula;

use formula::Formula;

/// Two blocks in a stage, so that one runs with its conv3 and one does not.
fn small() -> ResNetConfig {
    ResNetConfig {
        layers: [1, 2, 1, 1],
        channels: [16, 32, 32, 64],
        stem_width: 16,
        num_classes: 10,
        ..ResNetConfig::resnest14d()
    }
}

/// Strided 3x3 convolutions in the blocks, four splits, two cardinal groups.
fn strided() -> ResNetConfig {
    let block = Block::ResNest(ResNestArgs {
        radix: 4,
        avd: false,
        avd_first: false,
    });
    ResNetConfig {
        block,
        cardinality: 2,
        ..small()
    }
}

fn model(config: &ResNetConfig) -> ResNet {
    ResNet::new(config, Formula::standard().var_builder()).unwrap()
}

fn options(precision: Precision) -> FuseOptions {
    let mut made = FuseOptions::default();
    made.precision = precision;
    made.input_size = (96, 80);
    made.batch = 2;
    made
}

fn fused(config: &ResNetConfig, options: &FuseOptions) -> ResNet {
    let mut model = model(config);
    model.fuse(options).unwrap();
    model
}

fn images(batch: usize, height: usize, width: usize) -> Tensor {
    let image = formula::image(3, height, width).unwrap();
    let others = (0..batch).map(|i| (&image * (1.0 - 0.2 * i as f64)).unwrap());
    Tensor::cat(&others.collect::<Vec<_>>(), 0).unwrap()
}

fn logits(model: &ResNet, x: &Tensor) -> Vec<f32> {
    let y = model.forward(x).unwrap().flatten_all().unwrap();
    y.to_vec1().unwrap()
}

/// The largest difference as a share of the largest expected value.
fn distance(got: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(got.len(), expected.len());
    assert!(got.iter().all(|value| value.is_finite()));
    let largest = |values: &mut dyn Iterator<Item = f32>| values.fold(0.0, f32::max);
    let differences = got.iter().zip(expected).map(|(a, b)| (a - b).abs());
    largest(&mut differences.into_iter()) / largest(&mut expected.iter().map(|v| v.abs()))
}

/// Every layer that is planned for: all with weights of two dimensions or more, but for those inside
/// an attention, which are packed with its convolution.
fn weighted(config: &ResNetConfig) -> Vec<TensorSpec> {
    let tensors = expected_tensors(config).unwrap();
    let planned = |t: &TensorSpec| t.shape.len() > 1 && !t.name.contains(".conv2.fc");
    tensors.into_iter().filter(planned).collect()
}

#[test]
fn a_plan_names_every_layer_and_the_size_it_was_chosen_for() {
    for config in [small(), strided()] {
        let model = fused(&config, &options(Precision::Fast));
        let mut planned: Vec<String> = (model.plan().iter())
            .map(|layer| format!("{}.weight", layer.path))
            .collect();
        let mut expected: Vec<String> = weighted(&config).into_iter().map(|t| t.name).collect();
        assert_eq!(planned.first().unwrap(), "conv1.0.weight");
        assert_eq!(planned.last().unwrap(), "fc.weight");
        planned.sort();
        expected.sort();
        assert_eq!(planned, expected);
    }
    let plan = plan(&ResNetConfig::resnest50d(), &FuseOptions::default()).unwrap();
    let layer = |path: &str| plan.iter().find(|layer| layer.path == path).unwrap();
    for (path, side, spec) in [
        ("conv1.0", 224, "conv 3x3 stride 2, 3 -> 32"),
        ("layer1.0.conv1", 56, "conv 1x1, 64 -> 64"),
        (
            "layer2.0.conv2.conv",
            56,
            "conv 3x3 groups 2, 128 -> 256, split attention",
        ),
        ("layer2.0.conv3", 28, "conv 1x1, 128 -> 512"),
        (
            "layer4.2.conv2.conv",
            7,
            "conv 3x3 groups 2, 512 -> 1024, split attention",
        ),
        ("fc", 1, "conv 1x1, 2048 -> 1000"),
    ] {
        assert_eq!(layer(path).input_size, (side, side), "{path}");
        assert_eq!(layer(path).spec, spec, "{path}");
    }
}

#[test]
fn a_plan_is_had_without_weights_and_is_the_fused_networks_own() {
    for config in [small(), strided(), ResNetConfig::resnest26d()] {
        for precision in [Precision::Exact, Precision::Fast] {
            let options = options(precision);
            let expected = fused(&config, &options);
            assert_eq!(plan(&config, &options).unwrap(), expected.plan());
        }
    }
    assert!(model(&small()).plan().is_empty());
}

#[test]
fn exact_is_direct_throughout_and_fast_takes_winograd_where_it_can() {
    for config in [small(), strided()] {
        let exact = fused(&config, &options(Precision::Exact));
        assert!(
            exact
                .plan()
                .iter()
                .all(|l| l.algorithm == Algorithm::Direct)
        );
        let fast = fused(&config, &options(Precision::Fast));
        let (winograd, direct): (Vec<_>, Vec<_>) =
            (fast.plan().iter()).partition(|layer| layer.algorithm != Algorithm::Direct);
        assert!(!winograd.is_empty() && !direct.is_empty());
        for layer in winograd {
            let is_3x3 = layer.spec.starts_with("conv 3x3");
            assert!(is_3x3 && !layer.spec.contains("stride 2"), "{layer:?}");
        }
    }
}

#[test]
fn weight_bytes_are_those_of_the_tensors_and_then_those_of_the_plan() {
    let bytes = |layers: &[PlannedLayer]| layers.iter().map(|layer| layer.bytes).sum::<usize>();
    for config in [small(), strided()] {
        let tensors = expected_tensors(&config).unwrap();
        let is_norm = |t: &&TensorSpec| {
            let module = t.name.rsplit_once('.').unwrap().0;
            tensors
                .iter()
                .any(|other| other.name == format!("{module}.running_mean"))
        };
        let held = tensors.iter().filter(|t| !is_norm(t));
        let expected = 4 * held.map(TensorSpec::elem_count).sum::<usize>();
        assert_eq!(model(&config).weight_bytes(), expected);
        for precision in [Precision::Exact, Precision::Fast] {
            let model = fused(&config, &options(precision));
            assert_eq!(model.weight_bytes(), bytes(model.plan()));
            assert!(model.weight_bytes() >= expected);
        }
    }
    // Panels are whole: packed directly, a large network is little larger than it was.
    let plan = plan(&ResNetConfig::resnest50d(), &options(Precision::Exact)).unwrap();
    let weights = 4 * 27_483_240;
    assert!(bytes(&plan) < weights + weights / 16, "{}", bytes(&plan));
}

#[test]
fn a_callers_choice_overrides_the_cost_model() {
    for config in [small(), strided()] {
        let x = images(2, 96, 80);
        let exact = fused(&config, &options(Precision::Exact));
        let fast = fused(&config, &options(Precision::Fast));
        let chosen = |algorithm| -> BTreeMap<String, Algorithm> {
            let all = fast
                .plan()
                .iter()
                .filter(|l| l.algorithm != Algorithm::Direct);
            all.map(|layer| (layer.path.clone(), algorithm)).collect()
        };
        let with = |precision, algorithm| {
            let algorithms = chosen(algorithm);
            let model = fused(&config, &{
                let mut made = options(precision);
                made.algorithms = algorithms.clone();
                made
            });
            for layer in model.plan() {
                let expected = algorithms.get(&layer.path).unwrap_or(&Algorithm::Direct);
                assert_eq!(layer.algorithm, *expected, "{}", layer.path);
            }
            logits(&model, &x)
        };
        // All direct, by whatever way, is the same network bit for bit.
        assert_eq!(with(Precision::Fast, Algorithm::Direct), logits(&exact, &x));
        let expected = logits(&model(&config), &x);
        let f2 = with(Precision::Exact, Algorithm::WinogradF2);
        let f4 = with(Precision::Fast, Algorithm::WinogradF4);
        let f6 = with(Precision::Fast, Algorithm::WinogradF6);
        assert!(f2 != f4 && f4 != f6 && distance(&f2, &expected) < 1e-5);
        assert!(distance(&f4, &expected) < 1e-4 && distance(&f6, &expected) < 1e-4);
    }
}

#[test]
fn a_choice_that_cannot_be_is_refused_by_name_and_the_network_runs_on() {
    let config = strided();
    let x = images(1, 64, 64);
    for (path, hint) in [
        (
            "layer2.0.conv2.conv",
            "winograd-f6x6 cannot compute a conv 3x3 stride 2 groups 8",
        ),
        ("layer1.0.conv1", "conv 1x1"),
        ("fc", "conv 1x1"),
        ("layer9.0.conv1", "no layer has this name"),
        ("layer1.0.conv2", "no layer has this name"),
    ] {
        let mut options = options(Precision::Fast);
        options.algorithms = BTreeMap::from([(path.to_owned(), Algorithm::WinogradF6)]);
        let mut refused = model(&config);
        let Err(error @ Error::Fuse { .. }) = refused.fuse(&options) else {
            panic!("accepted {path}");
        };
        let message = error.to_string();
        assert!(
            message.contains(path) && message.contains(hint),
            "{message}"
        );
        assert!(!refused.is_fused());
        assert_eq!(logits(&refused, &x), logits(&model(&config), &x));
        assert!(matches!(plan(&config, &options), Err(Error::Fuse { .. })));
    }
}

#[test]
fn a_network_is_fused_once_and_only_from_f32() {
    let x = images(1, 64, 64);
    let mut twice = fused(&small(), &options(Precision::Fast));
    let before = logits(&twice, &x);
    let error = twice.fuse(&options(Precision::Exact)).unwrap_err();
    assert!(matches!(&error, Error::Fuse { path, .. } if path.is_empty()));
    assert!(error.to_string().contains("fused already"), "{error}");
    assert_eq!(logits(&twice, &x), before);

    for (dtype, name) in [(DType::F16, "F16"), (DType::F64, "F64")] {
        let weights = random_weights(1, dtype, &Device::Cpu);
        let mut other = ResNet::new(&small(), weights).unwrap();
        let error = other.fuse(&options(Precision::Fast)).unwrap_err();
        assert!(matches!(&error, Error::Fuse { path, .. } if path == "conv1.0"));
        let message = error.to_string();
        assert!(
            message.contains(name) && message.contains("F32"),
            "{message}"
        );
        assert!(!other.is_fused() && other.plan().is_empty());
        let y = other.forward(&x.to_dtype(dtype).unwrap()).unwrap();
        assert_eq!((y.dims(), y.dtype()), (&[1, 10][..], dtype));
    }
}

#[test]
fn a_network_built_fused_is_the_one_that_is_fused_later() {
    let x = images(2, 96, 80);
    let features = ResNetConfig {
        num_classes: 0,
        ..small()
    };
    for config in [small(), strided(), features] {
        for precision in [Precision::Fast, Precision::Exact] {
            let options = options(precision);
            let later = with_threads(1, || fused(&config, &options));
            let expected = logits(&later, &x);
            for threads in [1, 2, 5] {
                let weights = Formula::standard().var_builder();
                let built = with_threads(threads, || ResNet::fused(&config, weights, &options));
                let built = built.unwrap();
                assert!(built.is_fused());
                assert_eq!(built.plan(), later.plan());
                assert_eq!(logits(&built, &x), expected, "{threads} threads");
            }
        }
    }
}

#[test]
fn a_network_that_cannot_be_built_fused_says_why() {
    let weights = || Formula::standard().var_builder();
    let wide = random_weights(0, DType::F64, &Device::Cpu);
    let error = ResNet::fused(&small(), wide, &options(Precision::Fast)).unwrap_err();
    assert!(error.to_string().contains("F64"), "{error}");
    let mut empty = FuseOptions::default();
    empty.input_size = (0, 224);
    let error = ResNet::fused(&small(), weights(), &empty).unwrap_err();
    assert!(matches!(error, Error::Input { .. }), "{error}");
    // Of many missing tensors the first of the network is named.
    let nothing = VarBuilder::from_tensors(Default::default(), DType::F32, &Device::Cpu);
    let error = ResNet::fused(&small(), nothing, &options(Precision::Fast)).unwrap_err();
    assert!(error.to_string().contains("conv1.0.weight"), "{error}");
}

#[test]
fn an_empty_size_is_refused() {
    for input_size in [(0, 224), (224, 0)] {
        let mut options = FuseOptions::default();
        options.input_size = input_size;
        let refused = model(&small()).fuse(&options);
        assert!(matches!(refused, Err(Error::Input { .. })));
        let refused = plan(&small(), &options);
        assert!(matches!(refused, Err(Error::Input { .. })));
    }
}

#[test]
fn every_instruction_set_gives_the_same_values_within_rounding() {
    let x = images(2, 96, 80);
    assert!(Isa::new(IsaKind::Portable).is_some());
    for config in [small(), strided()] {
        let expected = logits(&model(&config), &x);
        for (precision, tolerance) in [(Precision::Exact, 2e-6), (Precision::Fast, 1e-5)] {
            let default = logits(&fused(&config, &options(precision)), &x);
            for isa in Isa::available() {
                let mut forced = options(precision);
                forced.isa = Some(isa);
                let got = logits(&fused(&config, &forced), &x);
                for other in [&default, &expected] {
                    let distance = distance(&got, other);
                    assert!(
                        distance < tolerance,
                        "{isa:?} {precision:?}: {distance:.1e}"
                    );
                }
            }
        }
    }
}

#[test]
fn sizes_and_batches_other_than_the_hinted_ones_give_the_unfused_values() {
    for config in [small(), strided()] {
        let plain = model(&config);
        for (precision, tolerance) in [(Precision::Exact, 2e-6), (Precision::Fast, 1e-5)] {
            let model = fused(&config, &options(precision));
            for (batch, height, width) in [(1, 96, 80), (3, 33, 47), (1, 1, 1), (5, 64, 130)] {
                let x = images(batch, height, width);
                let got = logits(&model, &x);
                let distance = distance(&got, &logits(&plain, &x));
                let case = format!("{precision:?} {batch} {height}x{width}");
                assert!(distance < tolerance, "{case}: {distance:.1e}");
            }
        }
    }
}

#[test]
fn a_profile_accounts_for_the_whole_forward() {
    let (batch, height, width) = (2, 96, 80);
    let x = images(batch, height, width);
    for config in [small(), strided()] {
        for precision in [None, Some(Precision::Fast)] {
            let model = match precision {
                Some(precision) => fused(&config, &options(precision)),
                None => model(&config),
            };
            // A round in which something else took the CPU after the last step may fall short.
            let accounts = (0..5).any(|_| {
                let start = Instant::now();
                let (_, steps) = model.profile(&x).unwrap();
                let whole = start.elapsed();
                let sum = steps.iter().map(|timed| timed.duration).sum();
                assert!(sum <= whole, "{sum:?} of {whole:?}");
                whole / 10 * 9 < sum
            });
            assert!(accounts);
            let (y, steps) = model.profile(&x).unwrap();
            let y = y.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(y, logits(&model, &x));
            let macs: u64 = steps.iter().map(|timed| timed.step.macs).sum();
            let expected = gmacs(&config, (height, width)).unwrap() * 1e9 * batch as f64;
            assert!(
                (macs as f64 - expected).abs() < 1.0,
                "{macs} is not {expected}"
            );
        }
    }
}

#[test]
fn the_steps_of_a_profile_name_the_layers_of_the_plan() {
    let x = images(1, 96, 80);
    for config in [small(), strided()] {
        let model = fused(&config, &options(Precision::Fast));
        let (_, steps) = model.profile(&x).unwrap();
        let mut named: Vec<String> = steps.into_iter().flat_map(|t| t.step.layers).collect();
        let mut planned: Vec<String> = model.plan().iter().map(|l| l.path.clone()).collect();
        named.sort();
        planned.sort();
        assert_eq!(named, planned);
    }
    // Unfused, it takes the steps of the walk, batch by batch.
    let (_, timed) = model(&small()).profile(&images(3, 96, 80)).unwrap();
    let walked = trace_shapes(&small(), (96, 80)).unwrap();
    let (input, walked) = walked.split_first().unwrap();
    assert_eq!(input.operation, "input");
    assert_eq!(timed.len(), walked.len());
    for (timed, walked) in timed.iter().zip(walked) {
        let step = &timed.step;
        assert_eq!(
            (&step.path, &step.operation),
            (&walked.path, &walked.operation)
        );
        assert_eq!((step.shape[0], &step.shape[1..]), (3, &walked.shape[1..]));
        assert_eq!((step.macs, &step.layers), (3 * walked.macs, &walked.layers));
    }
}

/// The formula's weights, of some tensors with another first value.
struct Damaged(&'static [(&'static str, f32)]);

impl Damaged {
    fn var_builder(self) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self), DType::F32, Device::Cpu)
    }
}

impl SimpleBackend for Damaged {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        init: Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let formula = Formula::standard();
        let tensor = formula.get(shape.clone(), name, init, dtype, device)?;
        let Some((_, value)) = self.0.iter().find(|(damaged, _)| *damaged == name) else {
            return Ok(tensor);
        };
        let mut values = tensor.flatten_all()?.to_vec1::<f32>()?;
        values[0] = *value;
        Tensor::from_vec(values, shape, device)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> candle_core::Result<Tensor> {
        candle_core::bail!("`{name}` was asked for without its shape")
    }

    fn contains_tensor(&self, _: &str) -> bool {
        true
    }
}

#[test]
fn a_weight_that_is_not_finite_makes_every_logit_nan() {
    let x = images(2, 64, 48);
    for config in [small(), strided()] {
        for value in [f32::NAN, f32::INFINITY] {
            let damaged: &[_] = match value.is_nan() {
                true => &[("conv1.0.weight", f32::NAN)],
                false => &[("conv1.0.weight", f32::INFINITY)],
            };
            let model = ResNet::new(&config, Damaged(damaged).var_builder()).unwrap();
            let logits = logits(&model, &x);
            assert!(logits.iter().all(|l| l.is_nan()), "{value}: {logits:?}");
        }
    }
}

/// One pixel of the first of two images: stem, pools, attentions and every kind of block let it
/// through to all logits of that image, and to none of the other's.
#[test]
fn a_pixel_that_is_nan_makes_every_logit_of_its_image_nan() {
    let mut x = images(2, 64, 64)
        .flatten_all()
        .unwrap()
        .to_vec1::<f32>()
        .unwrap();
    x[30 * 64 + 31] = f32::NAN;
    let x = Tensor::from_vec(x, (2, 3, 64, 64), &Device::Cpu).unwrap();
    let named = |name| ResNetConfig::by_name(name).unwrap();
    let mut configs = vec![small(), strided()];
    configs.extend(["test_resnet", "skresnet18", "legacy_seresnet18"].map(named));
    configs.extend(["ecaresnet26t", "res2net50_48w_2s", "resnetblur18"].map(named));
    for config in configs {
        let config = ResNetConfig {
            num_classes: 10,
            ..config
        };
        let check = |model: &ResNet, how: &str| {
            let logits = logits(model, &x);
            let (first, second) = logits.split_at(10);
            assert!(first.iter().all(|l| l.is_nan()), "{how}: {first:?}");
            assert!(second.iter().all(|l| l.is_finite()), "{how}: {second:?}");
        };
        check(&model(&config), "unfused");
        for precision in [Precision::Exact, Precision::Fast] {
            for isa in Isa::available() {
                let mut options = options(precision);
                options.isa = Some(isa);
                check(&fused(&config, &options), &format!("{isa:?} {precision:?}"));
            }
        }
    }
}

#[test]
fn a_fuse_that_fails_names_the_tensor_and_leaves_the_network_as_it_was() {
    let x = images(1, 64, 64);
    let cases: [(&[(&str, f32)], &str); 7] = [
        (&[("conv1.0.weight", f32::NAN)], "`conv1.0.weight`"),
        (
            &[("layer2.1.conv1.weight", f32::INFINITY)],
            "`layer2.1.conv1.weight`, channel 0: inf",
        ),
        (
            &[("layer4.0.bn3.running_var", -1.0)],
            "`layer4.0.bn3.running_var`, channel 0: -1 is no variance",
        ),
        (
            &[("layer3.0.conv2.bn0.running_mean", f32::NAN)],
            "`layer3.0.conv2.bn0.running_mean`",
        ),
        (
            &[("layer3.0.conv2.fc2.bias", f32::NEG_INFINITY)],
            "`layer3.0.conv2.fc2.bias`, value 0: -inf",
        ),
        (
            &[
                ("layer1.0.conv1.weight", 3e38),
                ("layer1.0.bn1.weight", 10.0),
            ],
            "`layer1.0.conv1.weight`, channel 0: too large",
        ),
        (&[("fc.weight", f32::NAN)], "`fc.weight`, value 0: NaN"),
    ];
    for (damaged, named) in cases {
        let new = || ResNet::new(&small(), Damaged(damaged).var_builder()).unwrap();
        let bits = |model: &ResNet| -> Vec<u32> {
            let logits = logits(model, &x);
            logits.into_iter().map(f32::to_bits).collect()
        };
        let (mut model, untouched) = (new(), new());
        for threads in [1, 3] {
            let failed = with_threads(threads, || model.fuse(&options(Precision::Fast)));
            let Err(error @ Error::Fuse { .. }) = failed else {
                panic!("fused in spite of {named}");
            };
            assert!(error.to_string().contains(named), "{error}");
            assert!(!model.is_fused() && model.plan().is_empty());
            assert_eq!(model.weight_bytes(), untouched.weight_bytes());
            assert_eq!(bits(&model), bits(&untouched), "{named}");
        }
        let built = ResNet::fused(
            &small(),
            Damaged(damaged).var_builder(),
            &options(Precision::Fast),
        );
        let error = built.unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}

/// A tensor of another type deep in the network, as no loader gives it.
#[test]
fn a_layer_of_another_type_fails_the_whole_by_name() {
    struct Mixed;
    impl SimpleBackend for Mixed {
        fn get(
            &self,
            shape: Shape,
            name: &str,
            init: Init,
            dtype: DType,
            device: &Device,
        ) -> candle_core::Result<Tensor> {
            let tensor = Formula::standard().get(shape, name, init, dtype, device)?;
            match name {
                "layer4.0.conv3.weight" => tensor.to_dtype(DType::F64),
                _ => Ok(tensor),
            }
        }

        fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> candle_core::Result<Tensor> {
            candle_core::bail!("`{name}` was asked for without its shape")
        }

        fn contains_tensor(&self, _: &str) -> bool {
            true
        }
    }
    let weights = VarBuilder::from_backend(Box::new(Mixed), DType::F32, Device::Cpu);
    let mut mixed = ResNet::new(&small(), weights).unwrap();
    let bytes = mixed.weight_bytes();
    let error = mixed.fuse(&options(Precision::Fast)).unwrap_err();
    assert!(error.to_string().contains("layer4.0.conv3"), "{error}");
    assert!(!mixed.is_fused());
    assert_eq!(mixed.weight_bytes(), bytes);
}
