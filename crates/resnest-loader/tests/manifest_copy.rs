//! The manifest in the package is the repository's.

use std::path::Path;

#[test]
fn the_packages_manifest_is_a_copy_of_the_repositorys() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let copy = read(&package.join("weights-manifest.toml"));
    let source = read(&package.join("../../weights-manifest.toml"));
    assert!(
        copy == source,
        "the manifest was edited: cp weights-manifest.toml crates/resnest-loader/"
    );
}
