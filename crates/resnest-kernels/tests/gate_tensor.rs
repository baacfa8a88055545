//! Gates and means of tensors: any layout, any sharing of memory.
#![cfg(feature = "candle")]

use candle_core::{Device, Tensor};
use resnest_kernels::{Algorithm, ConvSpec, Isa, PackedConv};

/// Values between -1 and 1 without any order.
fn noise(count: usize, seed: usize) -> Vec<f32> {
    let value = |i: usize| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0;
    (0..count).map(value).collect()
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

/// Sums of maps that others write meanwhile; two of the maps are one, and they are locked in two orders.
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
