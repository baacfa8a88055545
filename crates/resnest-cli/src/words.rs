//! Messages for people: errors in the words of the command's options, and names that cannot steer a terminal.

use std::borrow::Cow;

use resnest::dataset::path_text;
use resnest::image::Error as ImageError;

/// An error in the words of the command: where the library names a field or a feature, the option or the command that
/// helps.
pub fn message(error: &resnest::Error) -> String {
    use resnest::Error as E;
    match error {
        E::Image(image) => image_message(image),
        E::DeviceNotBuilt { feature, .. } => format!(
            "{error}: rebuild with `cargo build --release --features {feature}`, or choose --device cpu"
        ),
        E::DeviceFailed { .. } => format!(
            "{}; choose --device cpu to go on without it",
            error.with_causes()
        ),
        _ => error.with_causes(),
    }
}

fn image_message(error: &ImageError) -> String {
    match error {
        ImageError::TooMuchMemory {
            format,
            needed,
            limit,
        } => format!(
            "decoding the {format} image would take about {needed} bytes, over the limit of {limit}: allow more with \
             --max-memory"
        ),
        ImageError::TooManyBytes { bytes, limit } => {
            format!("the image file has {bytes} bytes, over the limit of {limit}")
        }
        ImageError::TooManyPixels {
            format,
            width,
            height,
            limit,
        } => format!(
            "the {format} image is {width}x{height}, over the limit of {limit} pixels, which is Pillow's: make it smaller \
             first"
        ),
        ImageError::OutOfMemory { bytes } => format!(
            "the system has no {bytes} bytes left for the image: fewer --threads may do, or a smaller image"
        ),
        other => other.to_string(),
    }
}

/// The same for any error: what it is about, and its causes.
pub fn full_message(error: &anyhow::Error) -> String {
    let mut about = Vec::new();
    for cause in error.chain() {
        if let Some(error) = cause.downcast_ref() {
            about.push(message(error));
            return about.join(": ");
        }
        about.push(cause.to_string());
    }
    resnest::with_causes(error.as_ref())
}

/// A name or a sentence for a terminal: characters that would steer it, or turn the text's direction, are written as Rust
/// writes them (`\n`, `\u{1b}`).
pub fn shown(text: &str) -> Cow<'_, str> {
    escaped(text, steers)
}

/// The same for text of several lines, which stay lines.
pub fn shown_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c != '\n' && steers(c))
}

/// A path for people.
pub fn shown_path(path: &std::path::Path) -> String {
    shown(&path_text(path)).into_owned()
}

fn escaped(text: &str, wanted: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&wanted) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match wanted(c) {
            true => out.extend(c.escape_default()),
            false => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// C0 and C1 controls, line and paragraph separators, and what embeds, overrides or isolates a direction.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_written_out() {
        assert_eq!(shown("tabby, ü 猫 \\"), "tabby, ü 猫 \\");
        assert_eq!(shown("a\u{1b}[2Jb\nc\u{9b}d"), "a\\u{1b}[2Jb\\nc\\u{9b}d");
        assert_eq!(shown("x\u{202e}gpj"), "x\\u{202e}gpj");
        assert_eq!(shown_lines("a\nb\r\u{7f}"), "a\nb\\r\\u{7f}");
    }
}
