//! Errors against f64 on the shapes of the real networks' layers.
#![cfg(not(miri))]

#[allow(dead_code, reason = "each test file uses a part of it")]
mod common;

use common::Rng;
use common::case::Case;
use common::shapes::{LARGE, SMALL, Variant, convolutions};
use resnest_kernels::{Algorithm, Nhwc, Precision, choose};

/// What `Precision::Fast` promises of each layer.
const FAST: f64 = 5e-6;
/// Values of each layer that are compared.
const SAMPLE: usize = 3000;

fn check(variants: &[Variant]) {
    let mut rng = Rng::new(21);
    let mut shapes: Vec<_> = variants.iter().flat_map(convolutions).collect();
    shapes.sort_by_key(|(spec, side)| (spec.kernel, *side, spec.in_channels, spec.out_channels));
    shapes.dedup();
    for (spec, side) in shapes {
        let mut algorithms = vec![
            (Algorithm::Direct, 5e-7),
            (Algorithm::WinogradF2, 1e-6),
            (Algorithm::WinogradF4, 5e-6),
            (Algorithm::WinogradF5, 8e-6),
            (Algorithm::WinogradF6, 1e-5),
        ];
        let images = |n| Nhwc::new(n, side, side, spec.in_channels);
        let input = images(1);
        let chosen = [1, 8].map(|n| choose(&spec, images(n), Precision::Fast));
        for (algorithm, bar) in &mut algorithms {
            if chosen.contains(algorithm) {
                *bar = f64::min(*bar, FAST);
            }
        }
        algorithms.retain(|(algorithm, _)| algorithm.supports(&spec));
        let worst = Case::new(&mut rng, spec, input).check_sample(&mut rng, SAMPLE, &algorithms);
        let worst: Vec<String> = worst.iter().map(|error| format!("{error:.1e}")).collect();
        println!("{spec:?} @{side}: {}", worst.join(" "));
    }
}

#[test]
fn layers_at_224_hold_their_error() {
    check(&SMALL);
}

#[test]
#[ignore = "a minute: the same kernels on larger images"]
fn layers_of_the_larger_models_hold_their_error() {
    check(&LARGE);
}
