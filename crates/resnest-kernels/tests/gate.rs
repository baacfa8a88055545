//! Weighted sums against the definition in f64.

use resnest_kernels::gate::{GateEpilogue, gate_in_place, gated_sum};
use resnest_kernels::{Isa, Nhwc, with_threads};

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
