//! Weighted sums against the definition in f64.

use candle_core::{Device, Tensor};
use resnest_kernels::gate::{GateEpilogue, gate_in_place, gated_sum};
use resnest_kernels::{Algorithm, ConvSpec, Isa, Nhwc, PackedConv, with_threads};

/// Values between -1 and 1 without any order.
fn noise(count: usize, seed: usize) -> Vec<f32> {
    let value = |i: usize| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0;
    (0..count).map(value).collect()
}

#[test]
fn weighted_sums_are_those_of_the_definition() {
    for (shape, count) in [
        (Nhwc::new(1, 7, 5, 24), 1),
        (Nhwc::new(3, 1, 4, 5), 2),
        (Nhwc::new(2, 19, 3, 16), 3),
        (Nhwc::new(0, 4, 4, 8), 1),
    ] {
        let parts: Vec<_> = (0..count).map(|p| noise(shape.len(), p)).collect();
        let slices: Vec<_> = parts.iter().map(Vec::as_slice).collect();
        let gates = noise(shape.n * count * shape.c, 9);
        let residual = noise(shape.len(), 10);
        for (residual, relu) in [(None, false), (Some(&residual[..]), true), (None, true)] {
            let expected = (0..shape.len()).map(|i| {
                let (image, c) = (i / (shape.h * shape.w * shape.c), i % shape.c);
                let term = |p: usize| {
                    let gate = gates[(image * count + p) * shape.c + c];
                    f64::from(parts[p][i]) * f64::from(gate)
                };
                let sum = (0..count).map(term).sum::<f64>();
                let sum = sum + residual.map_or(0.0, |r| f64::from(r[i]));
                if relu { sum.max(0.0) } else { sum }
            });
            let expected: Vec<f64> = expected.collect();
            let epilogue = GateEpilogue { residual, relu };
            for threads in [1, 3] {
                let got = with_threads(threads, || gated_sum(&slices, &gates, shape, epilogue));
                let got = got.unwrap();
                assert_eq!(got.len(), expected.len());
                for (got, expected) in got.iter().zip(&expected) {
                    assert!(
                        (f64::from(*got) - expected).abs() < 1e-6,
                        "{got} {expected}"
                    );
                }
            }
        }
    }
}

#[test]
fn in_place_gates_are_the_definition_on_every_instruction_set() {
    for shape in [
        Nhwc::new(1, 7, 5, 24),
        Nhwc::new(3, 1, 4, 5),
        Nhwc::new(2, 19, 3, 33),
        Nhwc::new(0, 4, 4, 8),
    ] {
        let x = noise(shape.len(), 1);
        let gates = noise(shape.n * shape.c, 2);
        let residual = noise(shape.len(), 3);
        for (residual, relu) in [(None, false), (Some(&residual[..]), true), (None, true)] {
            let expected = (0..shape.len()).map(|i| {
                let image = i / (shape.h * shape.w * shape.c);
                let gate = gates[image * shape.c + i % shape.c];
                let rest = residual.map_or(0.0, |r| f64::from(r[i]));
                let value = f64::from(x[i]) * f64::from(gate) + rest;
                if relu { value.max(0.0) } else { value }
            });
            let expected: Vec<f64> = expected.collect();
            let epilogue = GateEpilogue { residual, relu };
            for isa in Isa::available() {
                for threads in [1, 3] {
                    let mut got = x.clone();
                    with_threads(threads, || {
                        gate_in_place(isa, &mut got, &gates, shape, epilogue).unwrap();
                    });
                    for (got, expected) in got.iter().zip(&expected) {
                        let apart = (f64::from(*got) - expected).abs();
                        assert!(apart < 1e-6, "{isa:?}: {got} {expected}");
                    }
                }
            }
        }
    }
}

#[test]
fn means_are_those_of_the_map_that_comes_with_them() {
    let isa = Isa::detect().unwrap();
    let spec = ConvSpec::new(6, 10, 1);
    let weight = noise(spec.weight_len(), 4);
    let conv = PackedConv::new(isa, spec, &weight, None, Algorithm::Direct).unwrap();
    let x = Tensor::from_vec(noise(2 * 6 * 30 * 29, 5), (2, 6, 30, 29), &Device::Cpu).unwrap();
    for relu in [false, true] {
        let (y, means) = conv.forward_with_means(&x, relu).unwrap();
        let plain = conv.forward(&x, None, relu).unwrap();
        let pooled = plain.flatten_from(2).unwrap().mean(2).unwrap();
        for (a, b) in [(y, plain), (means, pooled)] {
            let apart = (a - b).unwrap().abs().unwrap().max_all().unwrap();
            assert!(apart.to_scalar::<f32>().unwrap() < 1e-5);
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let shape = Nhwc::new(1, 2, 2, 4);
    let x = noise(shape.len(), 0);
    let run = |parts: &[&[f32]], gates: &[f32], residual| {
        let epilogue = GateEpilogue {
            residual,
            relu: false,
        };
        gated_sum(parts, gates, shape, epilogue)
    };
    assert!(run(&[&x], &x[..4], None).is_ok());
    assert!(run(&[], &[], None).is_err());
    assert!(run(&[&x[1..]], &x[..4], None).is_err());
    assert!(run(&[&x], &x[..5], None).is_err());
    assert!(run(&[&x], &x[..4], Some(&x[1..])).is_err());
    let in_place = |gates: &[f32], residual| {
        let epilogue = GateEpilogue {
            residual,
            relu: true,
        };
        gate_in_place(Isa::portable(), &mut x.clone(), gates, shape, epilogue)
    };
    assert!(in_place(&x[..4], None).is_ok());
    assert!(in_place(&x[..5], None).is_err());
    assert!(in_place(&x[..4], Some(&x[1..])).is_err());
}

#[test]
fn tensors_of_any_layout_give_one_answer() {
    let x = Tensor::from_vec(noise(2 * 6 * 3 * 5, 1), (2, 6, 3, 5), &Device::Cpu).unwrap();
    let last = resnest_kernels::to_channels_last(&x).unwrap();
    let gates = Tensor::from_vec(noise(12, 2), (2, 1, 6), &Device::Cpu).unwrap();
    let expected = x
        .broadcast_mul(&gates.reshape((2, 6, 1, 1)).unwrap())
        .unwrap();
    let expected = (expected + &x).unwrap().relu().unwrap();
    for map in [&x, &last] {
        let got = resnest_kernels::gated_sum(&[map], &gates, Some(&x), true).unwrap();
        let apart = (got - &expected).unwrap().abs().unwrap().max_all().unwrap();
        assert!(apart.to_scalar::<f32>().unwrap() < 1e-6);
        let got = resnest_kernels::gate_add_relu(map.copy().unwrap(), &gates, &x).unwrap();
        let apart = (got - &expected).unwrap().abs().unwrap().max_all().unwrap();
        assert!(apart.to_scalar::<f32>().unwrap() < 1e-6);
    }
    assert!(resnest_kernels::gated_sum(&[&x], &gates, Some(&gates), true).is_err());
    let smaller = x.narrow(2, 0, 2).unwrap();
    assert!(resnest_kernels::gate_add_relu(x.copy().unwrap(), &gates, &smaller).is_err());
}

/// What `f` gives; a test that fails where it waits for ever.
fn in_time<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(f()));
    let limit = std::time::Duration::from_secs(60);
    receiver.recv_timeout(limit).expect("an answer in a minute")
}

/// One lock for all tensors of a memory: nobody may take it twice.
#[test]
fn maps_that_share_their_memory_are_read_as_they_were() {
    let values = noise(4 * 6 * 3 * 5, 1);
    let both = Tensor::from_vec(values, (4, 6, 3, 5), &Device::Cpu).unwrap();
    let both = resnest_kernels::to_channels_last(&both).unwrap();
    let gates = Tensor::from_vec(noise(12, 2), (2, 6), &Device::Cpu).unwrap();
    let part = |first| both.narrow(0, first, 2).unwrap();
    for (first, second) in [(0, 0), (0, 1), (0, 2), (2, 0)] {
        let (x, residual) = (part(first), part(second));
        let [x_apart, residual_apart] = [&x, &residual].map(|map| map.copy().unwrap());
        let expected = resnest_kernels::gate_add_relu(x_apart, &gates, &residual_apart).unwrap();
        let before = both.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let by = gates.clone();
        let got = in_time(move || resnest_kernels::gate_add_relu(x, &by, &residual));
        let bits = |t: &Tensor| -> Vec<u32> {
            let t = t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            t.into_iter().map(f32::to_bits).collect()
        };
        assert_eq!(bits(&got.unwrap()), bits(&expected), "{first} {second}");
        let after = both.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(after, before, "{first} {second}");
    }
}

/// Sums of maps that others write meanwhile; two of the maps are one, and two orders of locking meet.
#[test]
fn sums_and_joins_end_beside_those_who_write() {
    let map = |seed| {
        let map = Tensor::from_vec(noise(2 * 16 * 9 * 9, seed), (2, 16, 9, 9), &Device::Cpu);
        resnest_kernels::to_channels_last(&map.unwrap()).unwrap()
    };
    let (a, b) = (map(1), map(2));
    let gates = |n| Tensor::ones((2, n, 16), candle_core::DType::F32, &Device::Cpu).unwrap();
    let work: [fn(&Tensor, &Tensor, &Tensor, &Tensor); 4] = [
        |a, b, two, _| drop(resnest_kernels::gated_sum(&[a, b], two, Some(a), true).unwrap()),
        |a, b, _, _| {
            let parts = [b.clone(), a.clone(), b.clone()];
            drop(resnest_kernels::join_images(&parts).unwrap());
        },
        |a, b, _, one| drop(resnest_kernels::gate_add_relu(a.clone(), one, b).unwrap()),
        |a, b, _, one| drop(resnest_kernels::gate_add_relu(b.clone(), one, a).unwrap()),
    ];
    in_time(move || {
        std::thread::scope(|scope| {
            for f in work {
                let (a, b, two, one) = (&a, &b, gates(2), gates(1));
                scope.spawn(move || (0..2000).for_each(|_| f(a, b, &two, &one)));
            }
        });
    });
}
