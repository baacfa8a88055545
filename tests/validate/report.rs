//! The HTML report: all in one page, what it shows, and hostile names in it.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use resnest::image::{Limits, decode};

use super::common::stderr;
use super::fixture::{folder, images, validate, validate_to};

fn report(data: &str, options: &[&str]) -> String {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("report.html");
    let more = ["--report", path.to_str().unwrap()];
    let output = validate_to(data, &[options, &more].concat(), "json");
    std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{}", stderr(&output)))
}

/// What stands between two marks, each time.
fn between<'a>(page: &'a str, before: &str, after: char) -> Vec<&'a str> {
    let parts = page.split(before).skip(1);
    parts
        .map(|part| part.split(after).next().unwrap())
        .collect()
}

#[test]
fn the_page_is_whole_in_itself_and_says_what_the_result_says() {
    let page = report(&images(), &[]);
    for outside in ["http:", "https:", "<script", "url(", "@import", "<link"] {
        assert!(!page.contains(outside), "{outside} in the page");
    }
    let result = validate(&images(), &[]).0;
    for figure in ["68.42%", "84.21%", ">57<", "15.37%", "cross entropy 1.4425"] {
        assert!(page.contains(figure), "no {figure}");
    }
    for class in result["classes"].as_array().unwrap() {
        let (name, right, all) = (
            class["label"].as_str().unwrap(),
            &class["top1"],
            &class["images"],
        );
        assert!(
            page.contains(&format!("{name}: {right} of {all} right")),
            "{class}"
        );
    }
    for triple in result["confusion"].as_array().unwrap() {
        let name = |at: usize| {
            let index = triple[at].as_u64().unwrap() as usize;
            result["classes"][index]["label"].as_str().unwrap()
        };
        let cell = format!("{} → {}: {}", name(0), name(1), triple[2]);
        assert!(page.contains(&cell), "no {cell}");
    }
    for broken in [
        "cat&#x2f;cut.jpg",
        "dog&#x2f;2-empty.png",
        "horse&#x2f;words.jpg",
    ] {
        assert!(page.contains(broken), "no {broken}");
    }
    let mistakes = result["mistakes"].as_array().unwrap().len();
    assert_eq!(page.matches("<article").count(), mistakes);
}

#[test]
fn mistakes_have_their_photo_and_two_different_maps() {
    let page = report(&images(), &[]);
    let pictures = between(&page, "src=\"data:image/jpeg;base64,", '"');
    let mistakes = page.matches("<article").count();
    assert_eq!(pictures.len(), 3 * mistakes);
    for three in pictures.chunks(3) {
        assert!(three[0] != three[1] && three[1] != three[2]);
        for picture in three {
            let bytes = BASE64_STANDARD.decode(picture).unwrap();
            let image = decode(&bytes, &Limits::default()).unwrap();
            assert_eq!(image.width.max(image.height), 192);
        }
    }
    // The photo is the file's: the same brightness on average, in each channel.
    let file = between(
        &page,
        "<p class=\"note file\" style=\"margin:8px 0 0\">",
        '<',
    )[0]
    .replace("&#x2f;", "/");
    let mean = |bytes: &[u8], channel: usize| {
        let image = decode(bytes, &Limits::default()).unwrap();
        let samples = image.data.iter().skip(channel).step_by(3);
        samples.map(|&v| f64::from(v)).sum::<f64>() * 3.0 / image.data.len() as f64
    };
    let original = std::fs::read(folder().join(file)).unwrap();
    let thumbnail = BASE64_STANDARD.decode(pictures[0]).unwrap();
    for channel in 0..3 {
        assert!((mean(&original, channel) - mean(&thumbnail, channel)).abs() < 4.0);
    }
}

#[test]
fn a_head_without_maps_leaves_the_photos_and_says_so() {
    let page = report(&images(), &["--input-size", "96", "--test-pool"]);
    assert!(page.contains("There are no class activation maps"));
    let mistakes = page.matches("<article").count();
    assert_eq!(
        between(&page, "src=\"data:image/jpeg;base64,", '"').len(),
        mistakes
    );
}

#[cfg(unix)]
#[test]
fn names_cannot_write_into_the_page() {
    let scratch = tempfile::tempdir().unwrap();
    let cat = scratch.path().join("cat");
    std::fs::create_dir(&cat).unwrap();
    let name = "<img src=x onerror=alert(1)> \"&'.jpg";
    std::fs::copy(folder().join("frog/10.jpg"), cat.join(name)).unwrap();
    std::fs::write(cat.join("<b>.jpg"), b"").unwrap();
    let page = report(&scratch.path().display().to_string(), &[]);
    assert!(!page.contains("<img src=x") && !page.contains("<b>.jpg"));
    assert!(page.contains("&lt;img src=x onerror=alert(1)&gt;"));
}
