//! The ways a network runs on the CPU, and the bars each of them is held to.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use resnest_model::{Precision, ResNet};

use super::fixture::{Fixture, first_departure, max_abs, max_diff, values};
use super::formula::Formula;

/// Largest difference from timm's f32, as a share of the largest value of the tensor.
pub const TOLERANCE: f64 = 1e-4;
pub const TAPS: [&str; 5] = ["act1", "layer1", "layer2", "layer3", "layer4"];

/// Every way a network runs on the CPU: fused, and by candle's operations. Fused first: it is read on
/// every thread.
pub const MODES: [Option<Precision>; 3] = [Some(Precision::Exact), Some(Precision::Fast), None];
/// The two of them that are fused.
#[allow(dead_code, reason = "shared by #[path]; only the family takes turns")]
pub const TURNS: [Precision; 2] = [Precision::Exact, Precision::Fast];

/// A formula's tensors, each computed once for all modes: for a network at 64x64 that is most of the work.
pub fn kept(formula: Formula) -> VarBuilder<'static> {
    let kept = Kept {
        formula,
        tensors: Mutex::default(),
    };
    VarBuilder::from_backend(Box::new(kept), DType::F32, Device::Cpu)
}

struct Kept {
    formula: Formula,
    tensors: Mutex<HashMap<String, Tensor>>,
}

impl SimpleBackend for Kept {
    fn get(&self, s: Shape, name: &str, init: Init, dtype: DType, dev: &Device) -> Result<Tensor> {
        let tensors = || self.tensors.lock().unwrap_or_else(PoisonError::into_inner);
        let found = tensors().get(name).cloned();
        if let Some(tensor) = found.filter(|tensor| *tensor.shape() == s) {
            return Ok(tensor);
        }
        // Not under the lock: a network built fused asks on every thread.
        let tensor = self.formula.get(s, name, init, dtype, dev)?;
        tensors().insert(name.to_owned(), tensor.clone());
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, dev: &Device) -> Result<Tensor> {
        self.formula.get_unchecked(name, dtype, dev)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.formula.contains_tensor(name)
    }
}

/// The weights of a file of `golden/full`.
#[allow(
    dead_code,
    reason = "shared by #[path]; the family's files hold theirs otherwise"
)]
pub fn full_weights(fixture: &Fixture) -> Formula {
    let names = fixture.json("norm_names");
    let norms = fixture.tensors["norms"].to_vec2::<f32>().unwrap();
    Formula {
        norms: (names.as_array().unwrap().iter())
            .map(|name| name.as_str().unwrap().to_owned())
            .zip(norms.iter().map(|stats| (stats[0], stats[1])))
            .collect(),
        head_scale: fixture.values("head_scale")[0] as f32,
        ..Formula::standard()
    }
}

/// The `count` values that the scripts record of a stage.
pub fn sample(stage: &Tensor, count: usize) -> Vec<f64> {
    let all = values(stage);
    (0..count).map(|i| all[i * all.len() / count]).collect()
}

/// A reference whose stages have died, or whose logits are all alike, would prove nothing.
pub fn assert_conditioned_like_a_trained_network(fixture: &Fixture) {
    for stage in TAPS.into_iter().chain(["global_pool"]) {
        let rms = fixture.values(&format!("{stage}.rms"))[0];
        assert!((0.2..5.0).contains(&rms), "{} {stage}: {rms}", fixture.name);
    }
    let logits = fixture.values("logits_f64");
    let mean = logits.iter().sum::<f64>() / logits.len() as f64;
    let square = logits.iter().map(|l| (l - mean).powi(2)).sum::<f64>();
    let spread = (square / logits.len() as f64).sqrt();
    assert!((1.0..5.0).contains(&spread), "{}: {spread}", fixture.name);
}

/// How far logits are from the exact ones: the largest distance, and the root of the mean square,
/// which a single logit does not decide.
fn errors(logits: &[f64], exact: &[f64]) -> [f64; 2] {
    let squares = logits.iter().zip(exact).map(|(a, b)| (a - b).powi(2));
    let rms = (squares.sum::<f64>() / exact.len() as f64).sqrt();
    [max_diff(logits, exact), rms]
}

/// One network in one mode: within 1e-4 of timm's f32, and but for Winograd no further from f64 than
/// twice timm's own f32, over all logits. `least` is the share of the largest logit below which that
/// distance is chance: 0 for a thousand logits, a few roundings of f32 for seven. Gives the largest
/// distance from f64 of a single logit, and timm's.
pub fn check_in_mode(
    fixture: &Fixture,
    model: &ResNet,
    mode: Option<Precision>,
    x: &Tensor,
    least: f64,
) -> [f64; 2] {
    let name = format!("{} {mode:?}", fixture.name);
    let (last, taps) = model.forward_intermediates(x, &[0, 1, 2, 3, 4]).unwrap();
    let pooled = model.forward_head(&last, true).unwrap();
    let (timm, exact) = (fixture.values("logits"), fixture.values("logits_f64"));
    let got = sample(&model.forward_head(&last, false).unwrap(), timm.len());
    let stages = TAPS
        .into_iter()
        .zip(&taps)
        .chain([("global_pool", &pooled)]);
    let stages = stages.map(|(stage, map)| {
        let expected = fixture.values(&format!("{stage}.sample"));
        (stage, sample(map, expected.len()), expected)
    });
    if let Some(departure) = first_departure(stages, TOLERANCE) {
        panic!("{name}: {departure}");
    }

    let (from_timm, largest) = (max_diff(&got, &timm), max_abs(&timm));
    let [most, ours] = errors(&got, &exact);
    let [timms_most, timms] = errors(&timm, &exact);
    println!("{name}: {from_timm:.2e} from timm at {largest:.2}");
    println!("  from f64 {most:.2e} (rms {ours:.2e}), timm {timms_most:.2e} (rms {timms:.2e})");
    assert!(from_timm <= TOLERANCE * largest, "{name}: {from_timm:.2e}");
    let bar = (2.0 * timms).max(least * largest);
    assert!(
        mode == Some(Precision::Fast) || ours <= bar,
        "{name}: {ours:.2e} against {bar:.2e}"
    );
    [most, timms_most]
}
