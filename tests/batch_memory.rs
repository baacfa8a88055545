//! A batch of the library is computed in parts, whatever its size. Alone in its file, for it looks at the memory of its
//! own process.
#![cfg(target_os = "linux")]

use resnest::features::Layer;
use resnest::model::share_freed_memory;

mod common;

/// The most memory that this process has had, in bytes.
fn own_peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes: u64 = line
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    kilobytes << 10
}

#[test]
fn a_batch_of_the_library_is_computed_in_parts() {
    // One arena for all threads, as the server has it: each would keep what it has had at its largest, and how many of
    // them have a turn is chance (33, 57 or 92 MB of two threads).
    share_freed_memory();
    let builder = resnest::Classifier::builder("demo");
    let classifier = builder.input_size(192).threads(2).load().unwrap();
    let photo = std::fs::read(common::demo().join("photos/horse.png")).unwrap();
    let image = classifier.decode(&photo).unwrap();
    let (photos, images) = (vec![&photo[..]; 256], vec![image; 256]);
    classifier.classify_batch(&photos[..8], 5);
    let before = own_peak();
    assert!(
        classifier
            .classify_batch(&photos, 5)
            .iter()
            .all(Result::is_ok)
    );
    assert!(
        classifier
            .classify_images(&images, 5)
            .iter()
            .all(Result::is_ok)
    );
    assert!(
        classifier
            .features(&photos, Layer::PreLogits)
            .iter()
            .all(Result::is_ok)
    );
    let grown = own_peak() - before;
    println!("256 images took {} MB more than 8", grown >> 20);
    // Their pixels alone are 108 MB, their largest map 288.
    assert!(grown < 80 << 20, "{grown}");
}
