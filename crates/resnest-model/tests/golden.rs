//! The networks against the real timm: recorded activations and logits of small ResNeSts that use every option, and of
//! the eight full-size ones. The files, which other crates' tests read too, are in `tests/golden` at the top level, with
//! the scripts `make_small.py` and `make_full.py` that made them and say how.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use candle_core::{DType, Device, Tensor};
use resnest_model::{FuseOptions, Precision, ResNet, ResNetConfig, TestTimePoolHead, with_threads};

#[path = "../../../tests/golden/fixture.rs"]
mod fixture;
#[path = "../../../tests/golden/formula.rs"]
mod formula;
#[path = "../../../tests/golden/modes.rs"]
mod modes;
#[path = "../../../tests/golden/small_model.rs"]
mod small_model;

use fixture::{Fixture, first_departure, folder, max_abs, max_diff, values};
use formula::Formula;
use modes::{
    MODES, TAPS, TOLERANCE, assert_conditioned_like_a_trained_network, check_in_mode, full_weights,
    kept,
};
use small_model::{config, small_model};

/// `model` as `mode` says, for the images of `x`.
fn fused(mut model: ResNet, mode: Option<Precision>, x: &Tensor) -> ResNet {
    if let Some(precision) = mode {
        let (batch, _, h, w) = x.dims4().unwrap();
        let mut options = FuseOptions::default();
        options.precision = precision;
        options.input_size = (h, w);
        options.batch = batch;
        model.fuse(&options).unwrap();
        assert!(model.is_fused());
    }
    model
}

fn small_fixtures() -> Vec<Fixture> {
    let files = std::fs::read_dir(folder("small")).unwrap();
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| Fixture::read(path)).collect()
}

/// The output, by way of the test-time pool if the reference was made so.
fn output(fixture: &Fixture, model: ResNet, x: &Tensor) -> Tensor {
    let pool = fixture.json("test_pool");
    if pool.is_null() {
        return model.forward(x).unwrap();
    }
    let size = |i: usize| pool[i].as_u64().unwrap() as usize;
    let model = TestTimePoolHead::new(model, (size(0), size(1))).unwrap();
    model.forward(x).unwrap()
}

#[test]
fn small_networks_with_every_option_follow_timm_stage_by_stage() {
    let fixtures = small_fixtures();
    assert!(fixtures.len() > 30);
    for (fixture, mode) in fixtures.iter().flat_map(|f| MODES.map(|mode| (f, mode))) {
        let x = fixture.tensors["input"].to_dtype(DType::F32).unwrap();
        let model = fused(small_model(fixture, DType::F32), mode, &x);
        let (last, taps) = model.forward_intermediates(&x, &[0, 1, 2, 3, 4]).unwrap();
        let pre_logits = model.forward_head(&last, true).unwrap();
        let mut got: HashMap<&str, Tensor> = TAPS.into_iter().zip(taps).collect();
        got.insert("pre_logits", pre_logits);
        got.insert("output", output(fixture, model, &x));
        let stages = TAPS
            .into_iter()
            .chain(["pre_logits", "output"])
            .filter(|stage| fixture.tensors.contains_key(*stage))
            .map(|stage| {
                let expected = &fixture.tensors[stage];
                assert_eq!(got[stage].dims(), expected.dims(), "{}", fixture.name);
                (stage, values(&got[stage]), values(expected))
            });
        if let Some(departure) = first_departure(stages, TOLERANCE) {
            panic!("{} {mode:?}: {departure}", fixture.name);
        }
    }
}

/// What a configuration says it reads is what timm's state dict holds, name for name.
#[test]
fn expected_tensors_are_timms_state_dict() {
    for fixture in small_fixtures() {
        let mut asked: Vec<_> = resnest_model::expected_tensors(&config(&fixture))
            .unwrap()
            .into_iter()
            .map(|tensor| (tensor.name, tensor.shape))
            .collect();
        let mut held: Vec<_> = fixture
            .tensors
            .iter()
            .filter_map(|(name, t)| {
                Some((name.strip_prefix("weights.")?.to_owned(), t.dims().to_vec()))
            })
            .collect();
        asked.sort();
        held.sort();
        assert_eq!(asked, held, "{}", fixture.name);
    }
}

#[test]
fn feature_info_is_timms_and_maps_have_the_sizes_it_says() {
    for fixture in small_fixtures() {
        let model = small_model(&fixture, DType::F32);
        let info = model.feature_info();
        let expected = fixture.json("feature_info");
        assert_eq!(info.len(), expected.as_array().unwrap().len());
        for (info, expected) in info.iter().zip(expected.as_array().unwrap()) {
            assert_eq!(info.module, expected["module"], "{}", fixture.name);
            assert_eq!(info.num_chs as u64, expected["num_chs"], "{}", fixture.name);
            assert_eq!(
                info.reduction as u64, expected["reduction"],
                "{}",
                fixture.name
            );
        }
        let x = Tensor::zeros(
            (1, model.config().in_chans, 64, 96),
            DType::F32,
            &Device::Cpu,
        )
        .unwrap();
        for (i, info) in info.iter().enumerate() {
            let maps = model.forward_features_at(&x, &[i as isize]).unwrap();
            let (h, w) = (64 / info.reduction, 96 / info.reduction);
            assert_eq!(maps[0].dims(), [1, info.num_chs, h, w]);
        }
    }
}

/// The walk is computed over no images; here it is held against the maps of a real forward, odd
/// sizes included.
#[test]
fn traced_shapes_are_those_of_a_forward() {
    for fixture in small_fixtures() {
        let model = small_model(&fixture, DType::F32);
        let x = fixture.tensors["input"].to_dtype(DType::F32).unwrap();
        let x = x.narrow(0, 0, 1).unwrap();
        let (_, _, h, w) = x.dims4().unwrap();
        let steps = resnest_model::trace_shapes(model.config(), (h, w)).unwrap();
        let (_, taps) = model.forward_intermediates(&x, &[1, 2, 3, 4]).unwrap();
        for (i, tap) in taps.iter().enumerate() {
            let stage = format!("layer{}.", i + 1);
            let last = steps.iter().rfind(|s| s.path.starts_with(&stage)).unwrap();
            assert_eq!(last.shape, tap.dims(), "{} {stage}", fixture.name);
        }
        let output = model.forward(&x).unwrap();
        assert_eq!(
            steps.last().unwrap().shape,
            output.dims(),
            "{}",
            fixture.name
        );
    }
}

#[test]
fn f64_and_half_precision_follow_as_closely_as_their_digits_allow() {
    let path = folder("small").join("plain.safetensors");
    let fixture = Fixture::read(&path);
    let expected = fixture.values("output");
    for (dtype, tolerance) in [(DType::F64, 1e-5), (DType::F16, 2e-2)] {
        let x = fixture.tensors["input"].to_dtype(dtype).unwrap();
        let got = small_model(&fixture, dtype).forward(&x).unwrap();
        assert_eq!(got.dtype(), dtype);
        let diff = max_diff(&values(&got), &expected);
        assert!(
            diff <= tolerance * max_abs(&expected),
            "{dtype:?}: {diff:.2e}"
        );
    }
}

#[test]
fn an_empty_batch_gives_an_empty_answer() {
    let fixtures = small_fixtures();
    for (fixture, mode) in fixtures.iter().flat_map(|f| MODES.map(|mode| (f, mode))) {
        let model = small_model(fixture, DType::F32);
        let shape = (0, model.config().in_chans, 40, 33);
        let x = Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        let model = fused(model, mode, &x);
        assert_eq!(model.forward(&x).unwrap().dim(0).unwrap(), 0);
    }
}

/// The bits of the logits.
fn bits(model: &ResNet, x: &Tensor) -> Vec<u32> {
    let logits = model.forward(x).unwrap().flatten_all().unwrap();
    let logits = logits.to_vec1::<f32>().unwrap();
    logits.into_iter().map(f32::to_bits).collect()
}

#[test]
fn a_fused_network_gives_the_same_bits_on_any_number_of_threads_and_beside_others() {
    let image = formula::image(3, 96, 80).unwrap();
    let model = |precision| {
        let weights = Formula::standard().var_builder();
        let model = ResNet::new(&ResNetConfig::resnest14d(), weights).unwrap();
        fused(model, Some(precision), &image)
    };
    let models = [model(Precision::Fast), model(Precision::Exact)];
    let expected = [0, 1].map(|i| with_threads(1, || bits(&models[i], &image)));
    assert_ne!(expected[0], expected[1]);
    for threads in [1, 2, 3] {
        let got = [0, 1].map(|i| with_threads(threads, || bits(&models[i], &image)));
        assert!(got == expected, "{threads} threads");
    }
    std::thread::scope(|scope| {
        for caller in 0..4 {
            let (model, expected) = (&models[caller % 2], &expected[caller % 2]);
            let image = &image;
            scope.spawn(move || {
                for _ in 0..3 {
                    assert!(bits(model, image) == *expected, "caller {caller}");
                }
            });
        }
    });
}

/// Each full-size network takes every core and up to 650 MB: they run one after the other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// One full-size network in every mode.
fn full(name: &str) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let fixture = Fixture::read(&folder("full").join(format!("{name}.safetensors")));
    let config = ResNetConfig::by_name(name).unwrap();
    let size = fixture.json("input_size");
    let size = |i: usize| size[i].as_u64().unwrap() as usize;
    let x = formula::image(size(0), size(1), size(2)).unwrap();
    let weights = kept(full_weights(&fixture));
    assert_conditioned_like_a_trained_network(&fixture);
    for mode in MODES {
        let model = ResNet::new(&config, weights.clone()).unwrap();
        let [most, timms] = check_in_mode(&fixture, &fused(model, mode, &x), mode, &x, 0.0);
        assert!(
            mode == Some(Precision::Fast) || most <= 2.0 * timms,
            "{name} {mode:?}: {most:.2e} against {timms:.2e}"
        );
    }
}

macro_rules! full_size {
    ($($name:ident),*) => {$(
        #[test]
        fn $name() {
            full(stringify!($name));
        }
    )*};
}

full_size!(
    resnest14d,
    resnest26d,
    resnest50d,
    resnest50d_1s4x24d,
    resnest50d_4s2x40d,
    resnest101e,
    resnest200e,
    resnest269e
);
