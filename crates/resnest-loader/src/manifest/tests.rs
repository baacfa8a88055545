//! The built-in manifest, and what is accepted in a user's.

use resnest_model::{gmacs, parameter_count};

use super::*;

fn user(text: &str) -> Result<Manifest> {
    Manifest::builtin()?.merge(Manifest::parse(
        &format!("schema = 1\n{text}"),
        "mine.toml",
        None,
    )?)
}

fn problem(text: &str) -> String {
    user(text)
        .err()
        .map(|e| e.to_string())
        .unwrap_or_else(|| panic!("accepted: {text}"))
}

#[test]
fn the_figures_are_those_of_the_networks() {
    let manifest = Manifest::builtin().unwrap();
    assert_eq!(manifest.iter().count(), 179);
    for entry in manifest.iter() {
        let network = entry.network().unwrap();
        let params = parameter_count(&network).unwrap() as u64;
        let (first_conv, classifier) = (network.first_conv(), network.classifier());
        let stated = &entry.pretrained;
        if let Some(stated) = stated.first_conv.as_deref() {
            assert_eq!(stated, first_conv, "{}", entry.name);
        }
        if let Some(stated) = stated.classifier.as_deref() {
            assert_eq!(stated, classifier, "{}", entry.name);
        }
        assert_eq!(entry.params, Some(params), "{}", entry.name);
        let [_, h, w] = entry.pretrained.input_size;
        let counted = gmacs(&network, (h, w)).unwrap();
        let stated = entry.gmacs.unwrap();
        assert!(
            (counted - stated).abs() < 0.005 + 0.001 * stated,
            "{}: {counted} {stated}",
            entry.name
        );
    }
}

#[test]
fn names_tags_and_wildcards_are_timms() {
    let manifest = Manifest::builtin().unwrap();
    let name = |asked: &str| manifest.find(asked).unwrap().entry.name.as_str();
    assert_eq!(name("resnest14d"), "resnest14d.gluon_in1k");
    assert_eq!(name("resnest269e.in1k"), "resnest269e.in1k");
    let found = manifest.find("resnest50_fast_4s2x40d").unwrap();
    assert_eq!(
        (found.entry.name.as_str(), found.alias),
        ("resnest50d_4s2x40d.in1k", Some("resnest50_fast_4s2x40d"))
    );
    let matching = |pattern: &str| {
        manifest
            .matching(pattern)
            .map(|e| e.name.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(matching("resnest50d*").len(), 3);
    assert_eq!(matching("resnet50").len(), 19);
    assert_eq!(name("resnet50"), "resnet50.a1_in1k"); // the first, as timm has it
    assert_eq!(matching("resnest50d"), ["resnest50d.in1k"]);
    assert_eq!(matching("resnest?4d*gluon*"), ["resnest14d.gluon_in1k"]);
    assert_eq!(matching("*").len(), 179);
    assert!(matching("50d").is_empty());
}

#[test]
fn unknown_names_are_answered_with_their_neighbours() {
    let manifest = Manifest::builtin().unwrap();
    let error = |name: &str| manifest.find(name).unwrap_err().to_string();
    assert!(error("resnest50d.in21k").contains("resnest50d.in1k"));
    assert!(!error("qqq").contains("did you mean"));
}

#[test]
fn every_alias_leads_to_an_entry() {
    let manifest = Manifest::builtin().unwrap();
    assert!(manifest.aliases.len() > 40);
    for alias in manifest.aliases.keys() {
        let found = manifest.find(alias).unwrap();
        assert_eq!(found.alias, Some(alias.as_str()));
        found.entry.network().unwrap();
    }
}

#[test]
fn dropped_names_are_answered_with_what_to_use_instead() {
    let manifest = Manifest::builtin().unwrap();
    assert!(manifest.dropped.contains_key("ig_resnext101_32x48d"));
    for (name, instead) in &manifest.dropped {
        let error = manifest.find(name).unwrap_err().to_string();
        assert!(
            error.contains(&format!("dropped the model '{name}'")),
            "{error}"
        );
        for other in instead {
            assert_eq!(&manifest.find(other).unwrap().entry.name, other);
            assert!(error.contains(other), "{error}");
        }
    }
    let of_the_user = "[dropped]\nlost = [\"resnest50d.in1k\"]";
    let error = user(of_the_user).unwrap().find("lost").unwrap_err();
    assert!(error.to_string().contains("use resnest50d.in1k instead"));
}

#[test]
fn licences_without_commerce_are_told_apart() {
    let manifest = Manifest::builtin().unwrap();
    let barred = manifest.iter().filter(|entry| entry.is_non_commercial());
    assert_eq!(barred.count(), 15);
    let free = |name: &str| !manifest.find(name).unwrap().entry.is_non_commercial();
    assert!(free("resnest50d") && free("resnet50.tv_in1k") && free("res2net50d"));
    assert!(!free("resnext101_32x8d.fb_wsl_ig1b_ft_in1k"));
}

#[test]
fn official_files_are_known_by_name() {
    let manifest = Manifest::builtin().unwrap();
    assert_eq!(manifest.official_files().len(), 20);
    let official = manifest
        .official(Path::new("/x/resnest269-0cc87c48.pth"))
        .unwrap();
    assert_eq!(official.architecture, "resnest269e");
    for official in manifest.official_files() {
        assert!(
            official
                .file
                .ends_with(&format!("-{}.pth", official.sha256_prefix))
        );
    }
}

#[test]
fn a_users_entries_join_the_built_in_ones() {
    let text = "[[model]]\nname = \"flowers.v1\"\narchitecture = \"resnest26d\"\npath = \"flowers.pth\"\nnum_classes = 102\n\
                model_args = { stem_width = 16, block_args = { radix = 4, avd = true } }\n";
    let manifest = user(text).unwrap();
    let entry = manifest.find("flowers").err();
    assert!(entry.is_some(), "flowers is no architecture");
    let entry = manifest.find("flowers.v1").unwrap().entry;
    let network = entry.network().unwrap();
    assert_eq!((network.num_classes, network.stem_width), (102, 16));
    assert_eq!(entry.path.as_deref(), Some(Path::new("flowers.pth")));
    let relative =
        Manifest::parse(&format!("schema = 1\n{text}"), "f", Some(Path::new("/m"))).unwrap();
    assert_eq!(
        relative.iter().next().unwrap().path.as_deref(),
        Some(Path::new("/m/flowers.pth"))
    );
}

#[test]
fn mistakes_are_named_by_file_entry_and_field() {
    let entry =
        |more: &str| format!("[[model]]\nname = \"resnest26d.mine\"\nrepo = \"me/x\"\n{more}\n");
    for (text, wanted) in [
        (
            entry("croppct = 1"),
            "manifest mine.toml, entry resnest26d.mine, field croppct: unknown; did you mean crop_pct?",
        ),
        (
            entry("crop_pct = \"big\""),
            "field crop_pct: a number was expected",
        ),
        (
            entry("input_size = [3, 224]"),
            "field input_size: a list of 3",
        ),
        (
            entry("std = [1.0, 0.0, 1.0]"),
            "field std: every value must be above 0",
        ),
        (entry("sha256 = \"12\""), "field sha256: 64 hex digits"),
        (
            entry("path = \"x\""),
            "field repo: exactly one of repo, path and url",
        ),
        (
            entry("architecture = \"resnest27d\""),
            "field architecture: unknown architecture 'resnest27d'; did you mean resnest2",
        ),
        (
            entry("model_args = { depth = 3 }"),
            "field model_args.depth: an unknown argument",
        ),
        (
            entry("model_args = { stem_width = 0 }"),
            "field model_args.stem_width",
        ),
        (
            "[[model]]\nrepo = \"me/x\"".into(),
            "entry #1, field name: missing",
        ),
        (
            "[[model]]\nname = \"resnest50d.in1k\"\nrepo = \"me/x\"".into(),
            "entry resnest50d.in1k, field name: the name is taken by an entry of built-in",
        ),
        ("[[modle]]\nname = \"x\"".into(), "field modle: unknown"),
        ("model = 3".into(), "[[model]] tables were expected"),
        ("[aliases]\nx = 3".into(), "entry aliases, field x"),
        ("[dropped]\nx = []".into(), "entry dropped, field x"),
        ("x = [".into(), "not TOML"),
    ] {
        let found = problem(&text);
        assert!(found.contains(wanted), "{text}\n{found}");
    }
    assert!(
        Manifest::parse("schema = 2", "f", None)
            .unwrap_err()
            .to_string()
            .contains("schema = 1 was expected")
    );
}

#[test]
fn matching_takes_no_exponential_time() {
    let pattern = format!("{}b", "*a".repeat(200));
    assert!(!fits(&pattern, &"a".repeat(2_000)));
    assert!(fits("*a*b?c*", "xxaxxbxbzcyy"));
}
