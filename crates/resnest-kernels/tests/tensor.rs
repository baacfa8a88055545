//! The candle layer: any layout in, channels-last out.
#![cfg(feature = "candle")]

#[allow(dead_code, reason = "each test file uses a part of it")]
mod common;

use candle_core::{Device, Tensor};
use common::{Rng, relative_l2};
use resnest_kernels::{Algorithm, ConvSpec, Isa, PackedConv, to_channels_last};

#[test]
fn tensors_of_any_layout_give_the_same_values() {
    let mut rng = Rng::new(15);
    let spec = ConvSpec::new(6, 10, 3);
    let weight = rng.normal(spec.weight_len());
    let conv = PackedConv::new(
        Isa::detect().unwrap(),
        spec,
        &weight,
        None,
        Algorithm::Direct,
    )
    .unwrap();
    let x = Tensor::from_vec(rng.normal(2 * 6 * 5 * 7), (2, 6, 5, 7), &Device::Cpu).unwrap();
    let residual =
        Tensor::from_vec(rng.normal(2 * 10 * 5 * 7), (2, 10, 5, 7), &Device::Cpu).unwrap();
    let expected = conv.forward(&x, Some(&residual), true).unwrap();
    let candle = x
        .conv2d(
            &Tensor::from_vec(weight, (10, 6, 3, 3), &Device::Cpu).unwrap(),
            1,
            1,
            1,
            1,
        )
        .and_then(|y| (y + &residual)?.relu())
        .unwrap();
    let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let close = |a: &Tensor, b: &Tensor| {
        assert_eq!(a.dims(), b.dims());
        let b: Vec<f64> = flat(b).into_iter().map(f64::from).collect();
        assert!(relative_l2(&flat(a), &b) < 1e-6);
    };
    close(&expected, &candle);
    let padded = Tensor::cat(&[&x, &x], 2).unwrap();
    let transposed = x
        .transpose(2, 3)
        .unwrap()
        .contiguous()
        .unwrap()
        .transpose(2, 3)
        .unwrap();
    for same in [
        to_channels_last(&x).unwrap(),
        padded.narrow(2, 5, 5).unwrap(),
        to_channels_last(&padded).unwrap().narrow(2, 5, 5).unwrap(),
        transposed,
    ] {
        let found = conv
            .forward(&same, Some(&to_channels_last(&residual).unwrap()), true)
            .unwrap();
        assert_eq!(flat(&found), flat(&expected));
    }
    let batch = to_channels_last(&x).unwrap().narrow(0, 1, 1).unwrap();
    let found = conv.forward(&batch, None, false).unwrap();
    close(
        &found,
        &conv
            .forward(&x, None, false)
            .unwrap()
            .narrow(0, 1, 1)
            .unwrap(),
    );
    assert!(
        conv.forward(&x.to_dtype(candle_core::DType::F64).unwrap(), None, false)
            .is_err()
    );
    assert!(conv.forward(&x, Some(&x), false).is_err());
}
