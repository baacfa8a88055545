/// The repository's root: whichever package a test belongs to, the folder with the lock file.
pub fn root() -> &'static std::path::Path {
    let package = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let is_root = |folder: &&std::path::Path| folder.join("Cargo.lock").exists();
    package.ancestors().find(is_root).expect("a workspace")
}
