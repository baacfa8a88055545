//! Memory does not grow with the number of images. Alone in its file: the system counts the largest of all children,
//! whoever started them.
#![cfg(unix)]

use nix::sys::resource::{UsageWho, getrusage};

mod common;

/// The most memory that any child has had, in KB (on macOS bytes, which the comparison does not mind).
fn peak_of_children() -> i64 {
    getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss()
}

#[test]
fn six_times_the_images_take_no_more_memory() {
    let folder = tempfile::tempdir().unwrap();
    let image = common::root().join("crates/resnest-image/tests/pillow/files/png_rgb8.png");
    for (count, name) in [(600, "few"), (3_000, "more")] {
        let images = folder.path().join(name);
        std::fs::create_dir(&images).unwrap();
        for i in 0..count {
            std::os::unix::fs::symlink(&image, images.join(format!("{i}.png"))).unwrap();
        }
    }
    let path = |name: &str| folder.path().join(name).display().to_string();
    for ending in ["npy", "safetensors", "parquet"] {
        let run = |images: &[&str]| {
            let out = path(&format!("x.{ending}"));
            let images: Vec<String> = images.iter().map(|name| path(name)).collect();
            // Of two threads, each of which keeps memory of its own that is at its largest after some dozen images:
            // with 32 of them 600 images are too few for that (70 MB, 110 from 3,600 to 12,600).
            let mut arguments = vec![
                "features",
                "--model",
                "demo",
                "--stage",
                "layer4",
                "--threads",
                "2",
                "--out",
                &out,
            ];
            arguments.extend(images.iter().map(String::as_str));
            let output = common::resnest(&arguments);
            assert!(output.status.success(), "{}", common::stderr(&output));
            peak_of_children()
        };
        let few = run(&["few"]);
        let many = run(&["few", "more"]);
        let written = std::fs::metadata(path(&format!("x.{ending}")))
            .unwrap()
            .len();
        assert!(written > 3_600 * 2048 * 4, "{written}"); // 29 MB
        println!("{ending}: {few} with 600 images, {many} with 3,600");
        // Room for the names and the allocator's moods: a third of some 25 MB, where 25 MB more are written.
        assert!(many < few + few / 3, "{ending}: {few} to {many}");
    }
}

/// The most memory that this process has had, in bytes.
#[cfg(target_os = "linux")]
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

/// In a process of its own where the tests run one at a time; beside the other one, which only waits for children.
#[cfg(target_os = "linux")]
#[test]
fn a_batch_of_the_library_is_computed_in_parts() {
    use resnest::features::Layer;
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
