//! Weights that are no numbers: refused by name while they are read, whatever their type and whichever way
//! the network is built.

use candle_core::{DType, Device};
use resnest_loader::{
    Checkpoint, Error, HeadPolicy, Overrides, Resolved, load_checkpoint, load_fused, resolve_parts,
};
use resnest_model::FuseOptions;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::common::{demo_config, demo_weights};

/// The demo model's weights in this type, one of them replaced.
fn demo_with(dtype: Dtype, tensor: &str, at: usize, value: f64) -> Vec<u8> {
    let weights = demo_weights();
    let demo = SafeTensors::deserialize(&weights).unwrap();
    let mut changed = false;
    let tensors: Vec<_> = demo
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            if view.dtype() != Dtype::F32 {
                return (
                    name,
                    view.dtype(),
                    view.shape().to_vec(),
                    view.data().to_vec(),
                );
            }
            let (values, _) = view.data().as_chunks::<4>();
            let mut values: Vec<f64> = values
                .iter()
                .map(|bytes| f64::from(f32::from_le_bytes(*bytes)))
                .collect();
            if name == tensor {
                values[at] = value;
                changed = true;
            }
            let bytes = values.iter().flat_map(|v| encoded(dtype, *v)).collect();
            (name, dtype, view.shape().to_vec(), bytes)
        })
        .collect();
    assert!(changed, "no {tensor}");
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, bytes): &(_, _, _, Vec<u8>)| {
            (
                name.as_str(),
                TensorView::new(*dtype, shape.clone(), bytes).unwrap(),
            )
        });
    safetensors::serialize(views, None).unwrap()
}

fn encoded(dtype: Dtype, value: f64) -> Vec<u8> {
    match dtype {
        Dtype::F64 => value.to_le_bytes().to_vec(),
        Dtype::F32 => (value as f32).to_le_bytes().to_vec(),
        Dtype::F16 => half::f16::from_f64(value).to_le_bytes().to_vec(),
        Dtype::BF16 => half::bf16::from_f64(value).to_le_bytes().to_vec(),
        other => panic!("{other:?}"),
    }
}

fn resolved(bytes: &[u8], overrides: &Overrides) -> (Checkpoint, Resolved) {
    let resolved = resolve_parts("demo", &demo_config(), bytes.to_vec(), overrides).unwrap();
    (
        Checkpoint::from_bytes(bytes.to_vec(), "demo").unwrap(),
        resolved,
    )
}

/// Both ways to build the network.
fn loads(bytes: &[u8], overrides: &Overrides) -> [Result<(), Error>; 2] {
    let (checkpoint, resolved) = resolved(bytes, overrides);
    [
        load_fused(&checkpoint, &resolved, &FuseOptions::default()).map(drop),
        load_checkpoint(&checkpoint, &resolved, &Device::Cpu, DType::F32).map(drop),
    ]
}

#[test]
fn a_weight_that_is_no_number_is_refused_by_tensor_place_and_value() {
    for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::F64] {
        for (tensor, at, index) in [
            ("conv1.0.weight", 0, vec![0, 0, 0, 0]),
            ("conv1.0.weight", 28, vec![1, 0, 0, 1]),
            ("bn1.weight", 3, vec![3]),
            ("bn1.bias", 0, vec![0]),
            ("bn1.running_mean", 1, vec![1]),
            ("bn1.running_var", 2, vec![2]),
            ("layer4.0.conv3.weight", 7, vec![0, 7, 0, 0]),
            ("fc.weight", 1, vec![0, 1]),
            ("fc.bias", 9, vec![9]),
        ] {
            for (value, shown) in [
                (f64::NAN, "NaN"),
                (f64::INFINITY, "inf"),
                (f64::NEG_INFINITY, "-inf"),
            ] {
                let bytes = demo_with(dtype, tensor, at, value);
                for loaded in loads(&bytes, &Overrides::default()) {
                    let error = loaded.expect_err(tensor);
                    let Error::Value {
                        tensor: found,
                        index: place,
                        ..
                    } = &error
                    else {
                        panic!("{dtype:?} {tensor}: {error}")
                    };
                    assert_eq!((found.as_str(), place), (tensor, &index));
                    let wanted =
                        format!("demo: tensor {tensor}: the value at {index:?} is {shown}:");
                    assert!(error.to_string().starts_with(&wanted), "{error}");
                }
            }
        }
    }
}

#[test]
fn the_same_weights_without_the_change_load() {
    for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::F64] {
        let bytes = demo_with(dtype, "conv1.0.weight", 0, 0.25);
        assert!(
            loads(&bytes, &Overrides::default())
                .iter()
                .all(Result::is_ok)
        );
    }
    // of the values that f64 has and f32 has not, the tensor is named too
    let bytes = demo_with(Dtype::F64, "fc.weight", 1, 1e300);
    for loaded in loads(&bytes, &Overrides::default()) {
        let text = loaded.unwrap_err().to_string();
        assert!(
            text.contains("fc.weight") && text.contains("too large"),
            "{text}"
        );
    }
}

#[test]
fn a_variance_without_a_root_is_refused_and_one_with_is_not() {
    for value in [-1e-5, -1.0] {
        let bytes = demo_with(Dtype::F64, "bn1.running_var", 2, value);
        for loaded in loads(&bytes, &Overrides::default()) {
            let text = loaded.unwrap_err().to_string();
            assert!(
                text.contains("bn1.running_var") && text.contains("[2]"),
                "{text}"
            );
        }
    }
    for value in [0.0, -9e-6] {
        let bytes = demo_with(Dtype::F64, "bn1.running_var", 2, value);
        assert!(
            loads(&bytes, &Overrides::default())
                .iter()
                .all(Result::is_ok)
        );
    }
}

#[test]
fn what_is_adapted_is_looked_at_and_what_is_not_used_is_not() {
    let mut gray = Overrides::default();
    gray.in_chans = Some(1);
    let bytes = demo_with(Dtype::F32, "conv1.0.weight", 28, f64::NAN);
    for loaded in loads(&bytes, &gray) {
        let text = loaded.unwrap_err().to_string();
        assert!(
            text.contains("conv1.0.weight") && text.contains("[1, 0, 0, 1]"),
            "{text}"
        );
    }
    let mut new_head = Overrides::default();
    new_head.num_classes = Some(3);
    new_head.head = HeadPolicy::Replace;
    let bytes = demo_with(Dtype::F32, "fc.weight", 1, f64::NAN);
    assert!(loads(&bytes, &new_head).iter().all(Result::is_ok));
}

#[test]
fn of_several_the_first_by_name_is_named_however_many_threads_read() {
    let once = demo_with(Dtype::F32, "layer4.0.conv3.weight", 7, f64::NAN);
    let mut bytes = once.clone();
    // another block's: its bytes are found by comparing with a file that differs there alone
    let other = demo_with(Dtype::F32, "layer2.1.bn1.weight", 1, f64::NAN);
    let plain = demo_with(Dtype::F32, "fc.bias", 0, 0.0);
    for (at, byte) in other.iter().enumerate() {
        if *byte != plain[at] && plain[at] == once[at] {
            bytes[at] = *byte;
        }
    }
    for _ in 0..5 {
        let [fused, _] = loads(&bytes, &Overrides::default());
        let text = fused.unwrap_err().to_string();
        assert!(text.contains("tensor layer2.1.bn1.weight:"), "{text}");
    }
}
