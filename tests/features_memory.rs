//! Memory does not grow with the number of images. Alone in its file: the system counts the largest of all children,
//! whoever started them, and for each of them what its parent had when it was started.
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
