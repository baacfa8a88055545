//! Packed weights from the cache: the bits of weights that were packed here, whatever has happened to the files.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use proptest::prelude::*;
use resnest_loader::{
    CacheUse, Checkpoint, Overrides, Resolved, WeightsCache, load_cached, load_fused, resolve_parts,
};
use resnest_model::{FuseOptions, Isa, IsaKind, Precision, with_threads};
use tempfile::TempDir;

use super::common::{demo_config, image};
use super::models::{Model, bits, entry, files, options};
use super::quantized::demo_in_int8;

/// Packs, maps, and finds `model` in all precisions; each time the same network.
fn check(what: &str, model: &Model, precisions: &[Precision], isas: &[Option<Isa>]) {
    let folder = tempfile::tempdir().unwrap();
    let x = match model.resolved.pretrained.input_size[1] {
        64 => Tensor::rand(-1f32, 1., (2, 3, 64, 64), &Device::Cpu).unwrap(),
        _ => image(3),
    };
    for &isa in isas {
        for &precision in precisions {
            let options = options(precision, isa);
            let ours = model.packed_here(&options);
            let made = model.cached(&options, folder.path());
            let found = model.cached(&options, folder.path());
            let what = format!("{what} {precision:?} {isa:?}");
            let CacheUse::Made(path) = &made.report.weights_cache else {
                panic!("{what}: {:?}", made.report.weights_cache);
            };
            assert_eq!(
                found.report.weights_cache,
                CacheUse::Found(path.clone()),
                "{what}"
            );
            let expected = bits(&ours, &x);
            assert!(bits(&made.model, &x) == expected, "{what}, made");
            assert!(bits(&found.model, &x) == expected, "{what}, found");
            assert_eq!(found.model.plan(), ours.plan(), "{what}");
            assert_eq!(found.model.weight_bytes(), ours.weight_bytes(), "{what}");
            // But for where its weights are, a load says the same.
            let mut report = found.report;
            report.weights_cache = CacheUse::Unused;
            let plain = load_fused(&model.checkpoint(), &model.resolved, &options).unwrap();
            assert_eq!(report, plain.report, "{what}");
        }
    }
}

#[test]
fn every_kind_of_network_is_the_same_in_every_bit() {
    for architecture in [
        "resnet50",
        "resnet18d",
        "resnext50_32x4d",
        "seresnet50",
        "ecaresnet26t",
        "resnetblur50",
        "resnetaa50d",
        "resnet50_gn",
        "resnetrs50",
        "res2net50_26w_4s",
        "skresnet18",
        "skresnext50_32x4d",
        "legacy_seresnet18",
        "legacy_senet154",
        "resnest50d",
        "resnest50d_4s2x40d",
        "resnest50d_1s4x24d",
    ] {
        let model = Model::of(architecture);
        check(
            architecture,
            &model,
            &[Precision::Fast, Precision::Bf16],
            &[None],
        );
    }
}

#[test]
fn every_precision_and_instruction_set_has_a_file_of_its_own() {
    let isas: Vec<_> = Isa::available()
        .flat_map(Isa::low_precision_choices)
        .map(Some)
        .collect();
    let precisions = [Precision::Fast, Precision::Exact, Precision::Bf16];
    check("demo", &Model::demo(), &precisions, &isas);
    let int8 = Model::new(&demo_config(), demo_in_int8());
    check("int8", &int8, &[Precision::Int8, Precision::Fast], &isas);
}

#[test]
fn what_the_weights_depend_on_makes_another_file_and_what_they_do_not_none() {
    let folder = tempfile::tempdir().unwrap();
    let model = Model::demo();
    let load = |resolved: &Resolved, weights: &[u8], options: &FuseOptions| {
        let checkpoint = Checkpoint::from_bytes(weights.to_owned(), "other").unwrap();
        let cache = WeightsCache::At(folder.path().to_owned());
        load_cached(&checkpoint, resolved, options, &cache)
            .unwrap()
            .report
            .weights_cache
    };
    let options = FuseOptions::default();
    let Model { resolved, weights } = &model;
    assert!(matches!(
        load(resolved, weights, &options),
        CacheUse::Made(_)
    ));

    // One bit of one weight.
    let mut other = weights.clone();
    *other.last_mut().unwrap() ^= 1;
    assert!(matches!(
        load(resolved, &other, &options),
        CacheUse::Made(_)
    ));
    // Other input channels, and another head.
    let mut overrides = Overrides::default();
    overrides.in_chans = Some(1);
    let adapted = resolve_parts("m", &demo_config(), weights.clone(), &overrides).unwrap();
    assert!(matches!(
        load(&adapted, weights, &options),
        CacheUse::Made(_)
    ));
    let mut overrides = Overrides::default();
    overrides.num_classes = Some(4);
    overrides.head = resnest_loader::HeadPolicy::Replace;
    let headed = resolve_parts("m", &demo_config(), weights.clone(), &overrides).unwrap();
    assert!(matches!(
        load(&headed, weights, &options),
        CacheUse::Made(_)
    ));
    // A stride for which layers have other algorithms, or dilations.
    let mut overrides = Overrides::default();
    overrides.output_stride = Some(8);
    let dilated = resolve_parts("m", &demo_config(), weights.clone(), &overrides).unwrap();
    assert!(matches!(
        load(&dilated, weights, &options),
        CacheUse::Made(_)
    ));
    assert_eq!(files(folder.path(), "weights").len(), 5);

    // The pool, and a hint that changes no algorithm.
    let mut overrides = Overrides::default();
    overrides.global_pool = Some(resnest_model::PoolType::Max);
    let pooled = resolve_parts("m", &demo_config(), weights.clone(), &overrides).unwrap();
    assert!(matches!(
        load(&pooled, weights, &options),
        CacheUse::Found(_)
    ));
    assert!(matches!(
        load(&headed, weights, &options),
        CacheUse::Found(_)
    ));
}

#[test]
fn a_checkpoint_is_known_by_its_bytes_and_not_by_its_place_or_time() {
    let folder = tempfile::tempdir().unwrap();
    let places = tempfile::tempdir().unwrap();
    let model = Model::demo();
    let load = |path: &Path| {
        let checkpoint = Checkpoint::open(path).unwrap();
        let cache = WeightsCache::At(folder.path().to_owned());
        let options = FuseOptions::default();
        load_cached(&checkpoint, &model.resolved, &options, &cache)
            .unwrap()
            .report
            .weights_cache
    };
    let [a, b] = ["a.safetensors", "b.safetensors"].map(|name| places.path().join(name));
    std::fs::write(&a, &model.weights).unwrap();
    std::fs::copy(&a, &b).unwrap();
    assert!(matches!(load(&a), CacheUse::Made(_)));
    assert!(matches!(load(&b), CacheUse::Found(_)));
    assert!(
        files(folder.path(), "sha256").is_empty(),
        "these files may still change unnoticed"
    );
    std::thread::sleep(std::time::Duration::from_millis(3100));
    assert!(matches!(load(&a), CacheUse::Found(_)));
    // The checkpoint's hash, and on Linux that its packed weights are whole.
    let remembered = if cfg!(target_os = "linux") { 2 } else { 1 };
    assert_eq!(files(folder.path(), "sha256").len(), remembered);
    assert!(matches!(load(&a), CacheUse::Found(_)));
    // Other bytes in its place, of the same length and time.
    let time = std::fs::metadata(&a).unwrap().modified().unwrap();
    let mut other = model.weights.clone();
    *other.last_mut().unwrap() ^= 1;
    std::fs::write(&a, other).unwrap();
    std::fs::File::options()
        .write(true)
        .open(&a)
        .unwrap()
        .set_modified(time)
        .unwrap();
    assert!(matches!(load(&a), CacheUse::Made(_)));
}

fn damaged(model: &Model, folder: &TempDir, expected: &[u32], damage: impl FnOnce(&mut Vec<u8>)) {
    let path = entry(folder.path());
    let mut bytes = std::fs::read(&path).unwrap();
    damage(&mut bytes);
    // A file of its own, as a copy from a broken disk would be: others may have mapped the first.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, bytes).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    let options = FuseOptions::default();
    let loaded = model.cached(&options, folder.path());
    assert_eq!(loaded.report.weights_cache, CacheUse::Made(path.clone()));
    assert!(bits(&loaded.model, &image(3)) == expected);
    let again = model.cached(&options, folder.path()).report.weights_cache;
    assert_eq!(again, CacheUse::Found(path));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_file_with_any_bit_changed_or_any_bytes_gone_is_made_anew(
        flips in prop::collection::vec((0.0..1.0, 0_u8..8), 1..3),
        keep in prop_oneof![Just(1.0), 0.0..1.0],
    ) {
        let (model, folder) = (Model::demo(), tempfile::tempdir().unwrap());
        let options = FuseOptions::default();
        let expected = bits(&model.packed_here(&options), &image(3));
        model.cached(&options, folder.path());
        damaged(&model, &folder, &expected, |bytes| {
            if keep < 1.0 {
                bytes.truncate((keep * bytes.len() as f64) as usize);
                return;
            }
            let before = bytes.clone();
            for (at, bit) in flips {
                let at = (at * bytes.len() as f64) as usize;
                bytes[at] ^= 1 << bit;
            }
            if *bytes == before {
                bytes[0] ^= 1; // the same bit twice
            }
        });
    }
}

#[test]
fn files_of_other_weights_of_others_and_of_nothing_are_not_taken() {
    let (model, folder) = (Model::demo(), tempfile::tempdir().unwrap());
    let fast = FuseOptions::default();
    let expected = bits(&model.packed_here(&fast), &image(3));
    model.cached(&fast, folder.path());
    // Whole and right, but of another key.
    let elsewhere = tempfile::tempdir().unwrap();
    model.cached(&options(Precision::Exact, None), elsewhere.path());
    let foreign = std::fs::read(entry(elsewhere.path())).unwrap();
    damaged(&model, &folder, &expected, |bytes| *bytes = foreign);
    damaged(&model, &folder, &expected, Vec::clear);
    damaged(&model, &folder, &expected, |bytes| bytes.extend([0; 64]));
    // One that others can write to.
    let path = entry(folder.path());
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).unwrap();
    let loaded = model.cached(&fast, folder.path());
    assert_eq!(loaded.report.weights_cache, CacheUse::Made(path));
}

#[test]
fn a_folder_that_cannot_be_used_is_a_warning_and_no_error() {
    let (model, folder) = (Model::demo(), tempfile::tempdir().unwrap());
    let fast = FuseOptions::default();
    let expected = bits(&model.packed_here(&fast), &image(3));
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let open = folder.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, PermissionsExt::from_mode(0o777)).unwrap();
    for (place, problem) in [
        (file.clone(), "is no folder"),
        (file.join("inside"), "cannot be made"),
        (PathBuf::from("/proc/nothing"), "cannot be made"),
        (open, "others can write"),
    ] {
        let loaded = model.cached(&fast, &place);
        let CacheUse::Failed(reason) = &loaded.report.weights_cache else {
            panic!("{place:?}: {:?}", loaded.report.weights_cache);
        };
        assert!(reason.contains(problem), "{reason}");
        let [warning] = &loaded.report.warnings[..] else {
            panic!("{:?}", loaded.report.warnings);
        };
        assert!(
            warning.contains(problem) && warning.contains("RESNEST_WEIGHTS_CACHE"),
            "{warning}"
        );
        assert!(bits(&loaded.model, &image(3)) == expected);
    }
}

#[test]
fn what_a_killed_process_left_is_in_nobodys_way() {
    let (model, folder) = (Model::demo(), tempfile::tempdir().unwrap());
    let fast = FuseOptions::default();
    model.cached(&fast, folder.path());
    let path = entry(folder.path());
    std::fs::rename(&path, path.with_extension("part")).unwrap();
    let loaded = model.cached(&fast, folder.path());
    assert_eq!(loaded.report.weights_cache, CacheUse::Made(path));
    assert!(files(folder.path(), "part").is_empty());
}

/// The file is not looked at again while nothing is written to it, and is as soon as something is.
#[test]
fn a_file_that_was_found_whole_is_looked_at_again_once_it_is_written_to() {
    let (model, folder) = (Model::demo(), tempfile::tempdir().unwrap());
    let fast = FuseOptions::default();
    model.cached(&fast, folder.path());
    std::thread::sleep(std::time::Duration::from_millis(3100));
    model.cached(&fast, folder.path());
    let path = entry(folder.path());
    let found = model.cached(&fast, folder.path()).report.weights_cache;
    assert_eq!(found, CacheUse::Found(path.clone()));
    let time = std::fs::metadata(&path).unwrap().modified().unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_at(&file, &[1, 2, 3], 100_000).unwrap();
    file.set_modified(time).unwrap();
    let made = model.cached(&fast, folder.path()).report.weights_cache;
    assert_eq!(made, CacheUse::Made(path));
}

#[test]
fn off_is_off() {
    let (model, folder) = (Model::demo(), tempfile::tempdir().unwrap());
    let fast = FuseOptions::default();
    for text in ["off", "0"] {
        let cache: WeightsCache = text.parse().unwrap();
        let loaded = load_cached(&model.checkpoint(), &model.resolved, &fast, &cache).unwrap();
        assert_eq!(loaded.report.weights_cache, CacheUse::Unused);
    }
    let folder = folder.path().to_string_lossy().into_owned();
    assert_eq!(folder.parse(), Ok(WeightsCache::At(folder.into())));
}

/// Bytes that this thread has read.
#[cfg(target_os = "linux")]
fn read_so_far() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/io").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("rchar: "));
    line.unwrap().parse().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn of_the_checkpoint_no_packed_weight_is_read_again() {
    let model = Model::of("resnest50d");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    std::fs::write(&path, &model.weights).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(3100));
    let load = || {
        let before = read_so_far();
        let checkpoint = Checkpoint::open(&path).unwrap();
        let cache = WeightsCache::At(folder.path().to_owned());
        let options = FuseOptions::default();
        let loaded = with_threads(1, || {
            load_cached(&checkpoint, &model.resolved, &options, &cache).unwrap()
        });
        (loaded.report.weights_cache, read_so_far() - before)
    };
    let whole = model.weights.len() as u64;
    let (used, read) = load();
    assert!(
        matches!(used, CacheUse::Made(_)) && read > 2 * whole,
        "{read} of {whole}"
    );
    let (used, read) = load();
    assert!(
        matches!(used, CacheUse::Found(_)) && read < whole / 20,
        "{read} of {whole}"
    );
}

/// What the packed format is, for the plain loops that every machine has. Files of one `PACKING` are taken for the same
/// format by every build, so a change of packing, folding or reading needs another one.
#[test]
fn packed_weights_of_this_version_are_these() {
    let (model, folder) = (Model::demo(), tempfile::tempdir().unwrap());
    let portable = Isa::new(IsaKind::Portable);
    let mut found = Vec::new();
    for precision in [Precision::Fast, Precision::Bf16] {
        with_threads(1, || {
            model.cached(&options(precision, portable), folder.path())
        });
        let path = entry(folder.path());
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        let number = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().unwrap()) as usize;
        let layers = &bytes[4096..4096 + number(8)];
        found.push((layers.len(), fnv(layers)));
    }
    let recorded = [
        (0x60_bdc0, 0xf63f_8599_f6cf_4fe3),
        (0x33_2ec0, 0x7e2d_7d9e_23a9_2004),
    ];
    assert!(
        found == recorded,
        "what is packed has changed: raise PACKING in src/weights_cache/mod.rs and record {found:x?} here"
    );
}

/// FNV-1a, which is not the format's own checksum.
fn fnv(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}
