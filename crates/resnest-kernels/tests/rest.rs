//! Pools, layouts and folding against their definitions.

#[allow(dead_code, reason = "each test file uses a part of it")]
mod common;

use common::{Rng, THREADS, bits, cases, error_of_means};
use resnest_kernels::layout::{Strides, to_nhwc};
use resnest_kernels::pool::{global_pool, pool2d};
use resnest_kernels::{
    BatchNorm, GlobalPool, Isa, Nhwc, PoolKind, PoolSpec, fold_batch_norm, naive, with_threads,
};

const SIDE: usize = if cfg!(miri) { 4 } else { 12 };

fn random_shape(rng: &mut Rng) -> Nhwc {
    let n = *rng.pick(&[1, 1, 2, 3, 5, 9]);
    let c = *rng.pick(&[1, 3, 8, 10, 16, 24, 33, 64]);
    Nhwc::new(n, 1 + rng.below(SIDE), 1 + rng.below(SIDE), c)
}

#[test]
fn pools_equal_the_definition() {
    let mut rng = Rng::new(11);
    let fixed = [
        PoolSpec::max(3, 2, 1),
        PoolSpec::avg(3, 2, 1),
        PoolSpec::shortcut(2),
        PoolSpec::avg_same(2),
    ];
    let mut tried = 0;
    while tried < cases(150) {
        let kernel = 1 + rng.below(4);
        let random = PoolSpec {
            kind: *rng.pick(&[PoolKind::Max, PoolKind::Avg, PoolKind::AvgCounted]),
            kernel,
            stride: 1 + rng.below(3),
            padding: [rng.below(kernel), rng.below(kernel)],
            ceil: rng.chance(),
        };
        let spec = if rng.chance() {
            *rng.pick(&fixed)
        } else {
            random
        };
        let shape = random_shape(&mut rng);
        if spec.output(shape).is_err() {
            continue;
        }
        tried += 1;
        let x = rng.normal(shape.len());
        let expected = naive::pool2d(&x, shape, spec);
        let sizes: Vec<f32> = x.iter().map(|v| v.abs()).collect();
        let terms = naive::pool2d(&sizes, shape, spec);
        for isa in Isa::available() {
            let run = |threads| with_threads(threads, || pool2d(isa, &x, shape, spec)).unwrap();
            let found = run(1);
            let error = error_of_means(&found, &expected, &terms);
            let bound = if spec.kind == PoolKind::Max {
                0.0
            } else {
                3e-7
            };
            assert!(error <= bound, "{isa:?} {spec:?} {shape:?}: {error:e}");
            for &threads in THREADS {
                assert_eq!(bits(&run(threads)), bits(&found), "{threads} threads");
            }
        }
    }
}

#[test]
fn timms_pool_sides() {
    let side = |spec: PoolSpec, side| spec.output(Nhwc::new(1, side, side, 1)).unwrap().h;
    assert_eq!(
        [112, 7, 1].map(|s| side(PoolSpec::max(3, 2, 1), s)),
        [56, 4, 1]
    );
    assert_eq!(
        [56, 7, 1].map(|s| side(PoolSpec::shortcut(2), s)),
        [28, 4, 1]
    );
    assert_eq!(
        [14, 7, 1].map(|s| side(PoolSpec::avg_same(2), s)),
        [14, 7, 1]
    );
}

/// PyTorch's averages of an image of ones say which pixels count.
#[test]
fn timms_averages_count_as_pytorch_does() {
    for isa in Isa::available() {
        let ones = |spec: PoolSpec, side| {
            let shape = Nhwc::new(1, side, side, 1);
            pool2d(isa, &vec![1.0; side * side], shape, spec).unwrap()
        };
        let (corner, edge) = (4.0 / 9.0, 6.0 / 9.0);
        let mean = |counted: f32| counted * (1.0 / 9.0);
        let avd = ones(PoolSpec::avg(3, 2, 1), 6);
        assert_eq!(
            avd,
            [
                mean(4.),
                mean(6.),
                mean(6.),
                mean(6.),
                1.,
                1.,
                mean(6.),
                1.,
                1.
            ]
        );
        assert!((avd[0] - corner).abs() < 1e-7 && (avd[1] - edge).abs() < 1e-7);
        assert_eq!(ones(PoolSpec::shortcut(2), 5), [1.0; 9]);
        let same = [1.0, 1.0, 0.5, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25];
        assert_eq!(ones(PoolSpec::avg_same(2), 3), same);
    }
}

#[test]
fn global_pools_equal_the_definition() {
    let mut rng = Rng::new(12);
    for _ in 0..cases(60) {
        let shape = Nhwc {
            h: 1 + rng.below(3 * SIDE),
            ..random_shape(&mut rng)
        };
        let x = rng.normal(shape.len());
        let (mut mean, mut most, mut terms) = (Vec::new(), Vec::new(), Vec::new());
        for index in 0..shape.n * shape.c {
            let image = &x[index / shape.c * shape.h * shape.w * shape.c..];
            let pixels =
                (0..shape.h * shape.w).map(|p| f64::from(image[p * shape.c + index % shape.c]));
            mean.push(pixels.clone().sum::<f64>() / (shape.h * shape.w) as f64);
            terms.push(pixels.clone().map(f64::abs).sum::<f64>() / (shape.h * shape.w) as f64);
            most.push(pixels.fold(f64::MIN, f64::max));
        }
        for isa in Isa::available() {
            for (kind, expected, bound) in [
                (GlobalPool::Avg, &mean, 3e-7),
                (GlobalPool::Max, &most, 0.0),
            ] {
                let run = |threads| with_threads(threads, || global_pool(isa, &x, shape, kind));
                let found = run(1).unwrap();
                let error = error_of_means(&found, expected, &terms);
                assert!(error <= bound, "{isa:?} {kind:?} {shape:?}: {error:e}");
                assert_eq!(bits(&run(3).unwrap()), bits(&found));
            }
        }
    }
}

#[test]
fn strided_values_become_channels_last() {
    let shape = Nhwc::new(1, 2, 2, 3);
    let planar: Vec<f32> = (0..12).map(|v| v as f32).collect();
    let found = to_nhwc(&planar, Strides::nchw(shape), shape).unwrap();
    assert_eq!(found, [0., 4., 8., 1., 5., 9., 2., 6., 10., 3., 7., 11.]);
    assert!(to_nhwc(&planar[..11], Strides::nchw(shape), shape).is_err());
}

#[test]
fn values_of_any_strides_become_channels_last() {
    let mut rng = Rng::new(17);
    for _ in 0..cases(100) {
        let shape = random_shape(&mut rng);
        // The axes in a random order in memory, with gaps between some of them.
        let sides = [shape.n, shape.c, shape.h, shape.w];
        let mut order = [0, 1, 2, 3];
        for i in (1..4).rev() {
            order.swap(i, rng.below(i + 1));
        }
        let (mut nchw, mut step) = ([0; 4], 1);
        for axis in order {
            step += rng.below(3) * step;
            nchw[axis] = step;
            step *= sides[axis];
        }
        let offset = rng.below(5);
        let x = rng.normal(offset + step);
        let strides = Strides { offset, nchw };
        let mut expected = Vec::with_capacity(shape.len());
        for pixel in 0..shape.pixels() {
            let (row, column) = (pixel / shape.w, pixel % shape.w);
            let place =
                offset + row / shape.h * nchw[0] + row % shape.h * nchw[2] + column * nchw[3];
            expected.extend((0..shape.c).map(|c| x[place + c * nchw[1]]));
        }
        for threads in [1, 3] {
            let found = with_threads(threads, || to_nhwc(&x, strides, shape)).unwrap();
            assert_eq!(found, expected, "{strides:?} {shape:?}");
        }
        if strides.is_channels_last(shape) {
            assert_eq!(x[offset..offset + shape.len()], expected);
        }
    }
}

#[test]
fn a_folded_norm_equals_the_norm_after() {
    let mut rng = Rng::new(16);
    let weight = rng.normal(4 * 9);
    let (gamma, beta, mean) = (rng.normal(4), rng.normal(4), rng.normal(4));
    let var: Vec<f32> = rng.normal(4).iter().map(|v| v * v + 0.1).collect();
    let norm = BatchNorm {
        gamma: &gamma,
        beta: &beta,
        mean: &mean,
        var: &var,
        eps: 1e-5,
    };
    let (folded, shift) = fold_batch_norm(&weight, None, norm).unwrap();
    for o in 0..4 {
        let plain: f32 = weight[o * 9..o * 9 + 9].iter().sum();
        let sum: f32 = folded[o * 9..o * 9 + 9].iter().sum();
        let expected = (plain - mean[o]) / (var[o] + 1e-5).sqrt() * gamma[o] + beta[o];
        assert!((sum + shift[o] - expected).abs() < 1e-4 * (1.0 + expected.abs()));
    }
    assert!(fold_batch_norm(&weight[1..], None, norm).is_err());
}
