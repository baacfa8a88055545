//! The whole family against the real timm: every architecture's state dict; logits and stages of one network for each row
//! of the family's table and for each quirk at native size, of all others at 64x64, and of forty ResNets of random
//! options. The files, which other crates' tests read too, are in `tests/family` at the top level; `make_family.py`,
//! `make_options.py` and `make_tensors.py` in `tests/family` made them and say how.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use candle_core::Tensor;
use candle_nn::VarBuilder;
use resnest_model::{FuseOptions, Precision, ResNet, ResNetConfig, parameter_count};

#[path = "../../../tests/golden/fixture.rs"]
mod fixture;
#[path = "../../../tests/golden/formula.rs"]
mod formula;
#[path = "../../../tests/family/listing.rs"]
mod listing;
#[path = "../../../tests/golden/modes.rs"]
mod modes;
#[path = "../../../tests/family/options.rs"]
mod options;
#[path = "../../../tests/family/weights.rs"]
mod weights;

use fixture::Fixture;
use modes::{MODES, TURNS, assert_conditioned_like_a_trained_network, check_in_mode, kept};
use weights::{asked, family, norms, weights};

/// The first tensor that two networks do not agree about.
fn difference(
    ours: &BTreeMap<String, Vec<usize>>,
    timm: &BTreeMap<String, Vec<usize>>,
) -> Option<String> {
    let names: BTreeSet<_> = ours.keys().chain(timm.keys()).collect();
    let differing = |name: &&String| ours.get(*name) != timm.get(*name);
    let name = names.into_iter().find(differing)?;
    Some(format!(
        "{name} is {:?}, in timm {:?}",
        ours.get(name),
        timm.get(name)
    ))
}

#[test]
fn every_architectures_state_dict_is_timms() {
    let listings = listing::read(&family("tensors.txt.gz"));
    assert!(listings.len() > 100);
    for timm in &listings {
        let config = ResNetConfig::by_name(&timm.name).unwrap();
        let ours = asked(&config);
        if let Some(difference) = difference(&ours, &timm.tensors) {
            panic!("{}: {difference}", timm.name);
        }
        let counted: BTreeSet<_> = timm.counted_norms.iter().cloned().collect();
        assert_eq!(norms(&ours), counted, "{}", timm.name);
        assert_eq!(
            parameter_count(&config).unwrap(),
            timm.parameters,
            "{}",
            timm.name
        );
    }
    // timm's names and the official repository's five more ResNeSts, no others.
    let known: BTreeSet<_> = listings.iter().map(|timm| timm.name.as_str()).collect();
    let extra: Vec<_> = ResNetConfig::names()
        .filter(|name| !known.contains(name))
        .collect();
    assert_eq!(extra.len(), 5, "{extra:?}");
    assert!(
        extra.iter().all(|name| name.starts_with("resnest50d_")),
        "{extra:?}"
    );
}

fn image(fixture: &Fixture) -> Tensor {
    let size: [usize; 3] = serde_json::from_value(fixture.json("input_size")).unwrap();
    formula::image(size[0], size[1], size[2]).unwrap()
}

/// The network in a mode, built fused where it is.
fn build(
    config: &ResNetConfig,
    weights: VarBuilder,
    mode: Option<Precision>,
    x: &Tensor,
) -> ResNet {
    let Some(precision) = mode else {
        return ResNet::new(config, weights).unwrap();
    };
    let (_, _, h, w) = x.dims4().unwrap();
    let mut options = FuseOptions::default();
    options.precision = precision;
    options.input_size = (h, w);
    ResNet::fused(config, weights, &options).unwrap()
}

/// Networks take every core and up to 4 GB: they run one after the other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn check(fixture: &Fixture, config: &ResNetConfig, modes: &[Option<Precision>], least: f64) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let x = image(fixture);
    let weights = kept(weights(fixture, config));
    for mode in modes {
        let model = build(config, weights.clone(), *mode, &x);
        check_in_mode(fixture, &model, *mode, &x, least);
    }
}

/// A published architecture.
fn check_named(fixture: &Fixture, modes: &[Option<Precision>]) {
    assert_conditioned_like_a_trained_network(fixture);
    let config = ResNetConfig::by_name(&fixture.name).unwrap();
    check(fixture, &config, modes, 0.0);
}

fn native(name: &str) {
    let fixture = Fixture::read(&family("native").join(format!("{name}.safetensors")));
    check_named(&fixture, &MODES);
}

macro_rules! native_size {
    ($($name:ident),*) => {$(
        #[test]
        fn $name() {
            native(stringify!($name));
        }
    )*};
}

native_size!(
    resnet18,
    resnet50,
    resnet50c,
    resnet50d,
    resnet26t,
    wide_resnet50_2,
    resnext50_32x4d,
    seresnet50,
    seresnext50_32x4d,
    senet154,
    ecaresnet50t,
    ecaresnetlight,
    ecaresnet50d_pruned,
    resnetrs50,
    resnetaa50d,
    resnetblur50,
    resnet50_gn,
    test_resnet,
    skresnet18,
    skresnext50_32x4d,
    res2net50_26w_4s,
    res2net50_48w_2s,
    res2next50,
    legacy_seresnet18,
    legacy_seresnet50,
    legacy_seresnext26_32x4d
);

#[test]
fn all_others_follow_timm_on_a_small_image() {
    let fixtures = Fixture::read_all(&family("small.safetensors"));
    let native = std::fs::read_dir(family("native")).unwrap().count();
    let all = listing::read(&family("tensors.txt.gz")).len();
    assert_eq!(fixtures.len() + native, all);
    // Their blocks are those of the networks at native size, which run in every mode. What is their own
    // is how they are put together: once by candle's operations, once by the kernels, exact and fast by
    // turns.
    for (fixture, precision) in fixtures.iter().zip(TURNS.into_iter().cycle()) {
        check_named(fixture, &[Some(precision), None]);
    }
}

#[test]
fn resnets_of_random_options_are_timms() {
    let fixtures = Fixture::read_all(&family("options.safetensors"));
    assert_eq!(fixtures.len(), 40);
    for fixture in &fixtures {
        let recorded = fixture.json("options");
        let config = options::config(&recorded);
        config
            .validate()
            .unwrap_or_else(|e| panic!("{recorded}: {e}"));
        let shapes: BTreeMap<String, Vec<usize>> =
            serde_json::from_value(fixture.json("shapes")).unwrap();
        let counter = |name: &str| name.ends_with("num_batches_tracked");
        let timm = shapes
            .into_iter()
            .filter(|(name, _)| !counter(name))
            .collect();
        if let Some(difference) = difference(&asked(&config), &timm) {
            panic!("{recorded}: {difference}");
        }
        check(fixture, &config, &MODES, 1e-6);
    }
}
