//! Runs that were interrupted and gone on with.

use super::common::{command, stderr};
use super::fixture::{folder, images, untimed, validate, validate_to};

#[test]
fn a_run_cut_off_anywhere_goes_on_to_the_same_result() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("outcomes.jsonl");
    let outcomes = ["--outcomes", path.to_str().unwrap()];
    let whole = validate(&images(), &outcomes).0;
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 61);
    let ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at + 1).collect();
    // Within the first line, after it, within a later one, after a failure, before the last, and none left to do.
    for cut in [
        0,
        20,
        ends[0],
        ends[7] + 11,
        ends[37],
        text.len() - 1,
        text.len(),
    ] {
        std::fs::write(&path, &text[..cut]).unwrap();
        let (ours, output) = validate(&images(), &[&outcomes[..], &["--resume"]].concat());
        assert!(
            untimed(ours) == untimed(whole.clone()),
            "{cut}: {}",
            stderr(&output)
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "{cut}");
    }
}

#[test]
fn outcomes_of_other_settings_or_images_are_refused_by_name() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("outcomes.jsonl");
    let outcomes = ["--outcomes", path.to_str().unwrap()];
    validate(&images(), &outcomes);
    let text = std::fs::read_to_string(&path).unwrap();
    let refused = |options: &[&str], hint: &str| {
        let output = validate_to(&images(), &[&outcomes[..], options].concat(), "text");
        assert_eq!(
            output.status.code(),
            Some(2),
            "{options:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(hint),
            "{options:?}: {}",
            stderr(&output)
        );
    };
    refused(&[], "--resume");
    refused(
        &["--resume", "--crop-pct", "0.5"],
        "crop_pct 1.0, but now it is 0.5",
    );
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        text,
        "left as it was"
    );
    std::fs::write(&path, text.replace("bird/10.jpg", "bird/11.jpg")).unwrap();
    refused(&["--resume"], "is of bird/11.jpg, but image");
    std::fs::write(&path, "{\"some\": 1}\n").unwrap();
    refused(&["--resume"], "no outcomes file");
}

/// Ctrl-C in the middle of a run, as the terminal sends it.
#[cfg(unix)]
#[test]
fn ctrl_c_says_what_is_known_and_the_rest_can_follow() {
    let scratch = tempfile::tempdir().unwrap();
    let data = scratch.path().join("data");
    for class in ["cat", "frog"] {
        std::fs::create_dir_all(data.join(class)).unwrap();
        for n in 0..4000 {
            let link = data.join(class).join(format!("{n}.jpg"));
            std::os::unix::fs::symlink(folder().join(class).join("10.jpg"), link).unwrap();
        }
    }
    let data = data.display().to_string();
    let path = scratch.path().join("outcomes.jsonl");
    let options = ["--batch-size", "1", "--outcomes", path.to_str().unwrap()];
    let base = ["validate", &data, "--model", "demo", "--format", "json"];
    let child = command(&[&base[..], &options].concat())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = || std::fs::read_to_string(&path).map_or(0, |text| text.lines().count());
    while lines() < 20 {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let pid = child.id().to_string();
    assert!(
        std::process::Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert!(stderr(&output).contains("--resume"), "{}", stderr(&output));
    let all: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let done = all[0]["images"].as_u64().unwrap();
    assert_eq!(all[0]["interrupted"], true);
    assert!((19..8000).contains(&done), "{done}");
    assert_eq!(lines() as u64, done + 1);
    let (ours, output) = validate(&data, &[&options[..], &["--resume"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let whole = validate(&data, &options[..2]).0;
    assert_eq!(ours["images"], 8000);
    assert!(untimed(ours) == untimed(whole), "not as without a pause");
}
