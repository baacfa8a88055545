//! Configurations and manifests.

use resnest_loader::{Manifest, ModelConfig};

/// A `config.json` (or an index of shards, which is JSON too): what is accepted describes a network, or says why not.
pub fn config(data: &[u8]) {
    resnest_loader::fuzz::shard_index(data);
    let text = String::from_utf8_lossy(data);
    let Ok(config) = ModelConfig::parse(&text, "config.json") else {
        return;
    };
    if let Ok(network) = config.network() {
        network.validate().expect("a network that was accepted");
    }
    let again = config.to_json().to_string();
    ModelConfig::parse(&again, "again").expect("what was written from an accepted one");
}

/// A manifest: every entry of an accepted one is found by its name.
pub fn manifest(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(manifest) = Manifest::parse(&text, "manifest.toml", None) {
        for entry in manifest.iter() {
            manifest.find(&entry.name).expect("an entry by its name");
        }
    }
}
