//! The candle layer: any layout in, channels-last out, the same values for all.
#![cfg(feature = "candle")]

#[allow(dead_code, reason = "each test file uses a part of it")]
mod common;

use candle_core::{DType, Device, Result, Tensor};
use common::{Rng, relative_l2};
use resnest_kernels::{
    Algorithm, ConvSpec, GlobalPool, Isa, PackedConv, PackedSplitAttention, PoolSpec, Residual,
    SplitAttentionWeights, join_images, to_channels_last,
};

const DIMS: (usize, usize, usize, usize) = (2, 6, 5, 7);

fn random(rng: &mut Rng, dims: (usize, usize, usize, usize)) -> Tensor {
    let (n, c, h, w) = dims;
    Tensor::from_vec(rng.normal(n * c * h * w), dims, &Device::Cpu).unwrap()
}

fn flat(t: &Tensor) -> Vec<f32> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

fn close(a: &Tensor, b: &Tensor) {
    assert_eq!(a.dims(), b.dims());
    let b: Vec<f64> = flat(b).into_iter().map(f64::from).collect();
    assert!(relative_l2(&flat(a), &b) < 1e-6);
}

/// The values of `x` in every kind of memory: strided, offset, transposed, reordered.
fn layouts(x: &Tensor) -> Result<Vec<Tensor>> {
    let (n, c, h, w) = x.dims4()?;
    let mut list = vec![x.clone(), to_channels_last(x)?];
    for (axis, side) in [n, c, h, w].into_iter().enumerate() {
        let doubled = Tensor::cat(&[x, x], axis)?;
        list.push(doubled.narrow(axis, side, side)?);
        list.push(to_channels_last(&doubled)?.narrow(axis, side, side)?);
    }
    for (a, b) in [(0, 1), (0, 3), (1, 2), (2, 3)] {
        list.push(x.transpose(a, b)?.contiguous()?.transpose(a, b)?);
    }
    Ok(list)
}

/// Every layout of `x` gives the bits of the first; returns that result.
fn same_for_all_layouts(x: &Tensor, f: impl Fn(&Tensor) -> Result<Tensor>) -> Tensor {
    let expected = f(x).unwrap();
    for x in layouts(x).unwrap() {
        let found = f(&x).unwrap();
        assert_eq!(found.dims(), expected.dims());
        assert_eq!(flat(&found), flat(&expected), "{:?}", x.layout());
    }
    expected
}

fn packed(spec: ConvSpec, weight: &[f32]) -> PackedConv {
    let isa = Isa::detect().unwrap();
    PackedConv::new(isa, spec, weight, None, Algorithm::Direct).unwrap()
}

#[test]
fn convolutions_take_any_layout() {
    let mut rng = Rng::new(15);
    let weight = rng.normal(10 * 6 * 9);
    let conv = packed(ConvSpec::new(6, 10, 3), &weight);
    let x = random(&mut rng, DIMS);
    let residual = random(&mut rng, (2, 10, 5, 7));
    let weight = Tensor::from_vec(weight, (10, 6, 3, 3), &Device::Cpu).unwrap();
    let candle = x.conv2d(&weight, 1, 1, 1, 1).unwrap();
    close(
        &same_for_all_layouts(&x, |x| conv.forward(x, None, false)),
        &candle,
    );
    let added = (candle + &residual).and_then(|y| y.relu()).unwrap();
    close(
        &same_for_all_layouts(&x, |x| {
            conv.forward(x, Some(Residual::Borrowed(&residual)), true)
        }),
        &added,
    );
    same_for_all_layouts(&residual, |residual| {
        conv.forward(&x, Some(Residual::Borrowed(residual)), true)
    });
}

#[test]
fn pools_take_any_layout() {
    let mut rng = Rng::new(19);
    let x = random(&mut rng, DIMS);
    let max = same_for_all_layouts(&x, |x| PoolSpec::max(2, 2, 0).forward(x));
    close(&max, &x.max_pool2d(2).unwrap());
    let mean = same_for_all_layouts(&x, |x| PoolSpec::avg(2, 2, 0).forward(x));
    close(&mean, &x.avg_pool2d(2).unwrap());
    let all = same_for_all_layouts(&x, |x| GlobalPool::Avg.forward(x));
    close(&all, &x.mean((2, 3)).unwrap());
    let most = same_for_all_layouts(&x, |x| GlobalPool::Max.forward(x));
    close(&most, &x.flatten_from(2).unwrap().max(2).unwrap());
}

#[test]
fn split_attention_and_rows_take_any_layout() {
    let mut rng = Rng::new(20);
    let conv = ConvSpec::new(6, 8, 3).groups(2);
    let weights = [conv.weight_len(), 4 * 4, 8 * 4].map(|len| rng.normal(len));
    let weights = SplitAttentionWeights {
        conv,
        radix: 2,
        cardinality: 1,
        attention_channels: 4,
        conv_weight: &weights[0],
        conv_bias: None,
        fc1_weight: &weights[1],
        fc1_bias: None,
        fc2_weight: &weights[2],
        fc2_bias: None,
    };
    let isa = Isa::detect().unwrap();
    let attention = PackedSplitAttention::new(isa, weights, Algorithm::WinogradF2).unwrap();
    let x = random(&mut rng, DIMS);
    let found = same_for_all_layouts(&x, |x| attention.forward(x));
    assert_eq!(found.dims(), [2, 4, 5, 7]);

    let rows = Tensor::from_vec(rng.normal(18), (3, 6), &Device::Cpu).unwrap();
    let weight = rng.normal(24);
    let linear = packed(ConvSpec::new(6, 4, 1), &weight);
    let weight = Tensor::from_vec(weight, (4, 6), &Device::Cpu).unwrap();
    let expected = rows.matmul(&weight.t().unwrap()).unwrap();
    close(&linear.forward(&rows, None, false).unwrap(), &expected);
    let strided = rows.t().unwrap().contiguous().unwrap().t().unwrap();
    close(&linear.forward(&strided, None, false).unwrap(), &expected);
}

#[test]
fn a_repeated_image_is_read_in_place() {
    let mut rng = Rng::new(22);
    let conv = packed(ConvSpec::new(6, 10, 3), &rng.normal(540));
    let image = random(&mut rng, (1, 6, 5, 7));
    let repeated = image.broadcast_as((3, 6, 5, 7)).unwrap();
    let apart = repeated.contiguous().unwrap();
    let found = conv.forward(&repeated, None, false).unwrap();
    assert_eq!(
        flat(&found),
        flat(&conv.forward(&apart, None, false).unwrap())
    );
}

#[test]
fn a_residual_of_ones_own_is_written_over_and_gives_the_same() {
    let mut rng = Rng::new(24);
    let x = random(&mut rng, DIMS);
    let spec = ConvSpec::new(6, 10, 3);
    let weight = rng.normal(540);
    let direct = packed(spec, &weight);
    let winograd = PackedConv::new(
        Isa::detect().unwrap(),
        spec,
        &weight,
        None,
        Algorithm::WinogradF2,
    )
    .unwrap();
    assert!(direct.adds_in_place() && !winograd.adds_in_place());
    let residual = random(&mut rng, (2, 10, 5, 7));
    for conv in [&direct, &winograd] {
        let expected = flat(
            &conv
                .forward(&x, Some(Residual::Borrowed(&residual)), true)
                .unwrap(),
        );
        for own in layouts(&residual).unwrap() {
            let before = flat(&own);
            let found = conv
                .forward(&x, Some(Residual::Owned(own.clone())), true)
                .unwrap();
            assert_eq!(flat(&found), expected, "{:?}", own.layout());
            // Only channels-last memory is written over, and only by direct convolutions.
            let last = own.permute((0, 2, 3, 1)).unwrap().is_contiguous();
            let over = last && conv.adds_in_place();
            assert_eq!(flat(&own) != before, over, "{:?}", own.layout());
        }
    }
    // An input that is its own residual must not be changed while it is read.
    let square = packed(ConvSpec::new(6, 6, 1), &rng.normal(36));
    let x = to_channels_last(&x).unwrap();
    let expected = flat(
        &square
            .forward(&x, Some(Residual::Borrowed(&x)), false)
            .unwrap(),
    );
    let found = square
        .forward(&x, Some(Residual::Owned(x.clone())), false)
        .unwrap();
    assert_eq!(flat(&found), expected);
    let wrong = to_channels_last(&random(&mut rng, (2, 10, 5, 6))).unwrap();
    assert!(
        direct
            .forward(&x, Some(Residual::Owned(wrong)), true)
            .is_err()
    );
}

#[test]
fn other_types_and_shapes_are_errors() {
    let mut rng = Rng::new(23);
    let conv = packed(ConvSpec::new(6, 10, 3), &rng.normal(540));
    let x = random(&mut rng, DIMS);
    let double = x.to_dtype(DType::F64).unwrap();
    assert!(conv.forward(&double, None, false).is_err());
    assert!(
        conv.forward(&x, Some(Residual::Borrowed(&x)), false)
            .is_err()
    );
    assert!(
        conv.forward(&x.narrow(1, 0, 5).unwrap(), None, false)
            .is_err()
    );
    assert!(
        conv.forward(&x.flatten_from(2).unwrap(), None, false)
            .is_err()
    );
}

#[test]
fn images_are_joined_in_their_order_from_every_layout() {
    let mut rng = Rng::new(9);
    let first = random(&mut rng, DIMS);
    let second = random(&mut rng, (3, DIMS.1, DIMS.2, DIMS.3));
    // More than one piece.
    let large = [1, 2].map(|n| random(&mut rng, (n, 64, 40, 41)));
    let expected = flat(&Tensor::cat(&[&first, &second], 0).unwrap());
    same_for_all_layouts(&first, |first| {
        let joined = join_images(&[first.clone(), second.clone()])?;
        assert_eq!(flat(&joined), expected);
        Ok(joined)
    });
    let expected = Tensor::cat(&large, 0).unwrap();
    assert_eq!(flat(&join_images(&large).unwrap()), flat(&expected));
    for misfit in [vec![], vec![first, large[0].clone()]] {
        assert!(join_images(&misfit).is_err());
    }
}
