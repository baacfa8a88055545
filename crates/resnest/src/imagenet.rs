//! The classes of ImageNet and of its larger subsets (timm: `data/imagenet_info.py`).

use std::io::Read;
use std::sync::OnceLock;

use flate2::read::GzDecoder;

/// synset, lemmas, definition of the 1000 ImageNet classes, in index order; from timm's `data/_info`.
const IMAGENET_1K: &str = include_str!("../data/imagenet1k.tsv");

/// The 21,843 classes of the largest subset, each with the letters of the smaller ones it is in;
/// crates/resnest/data/make_labels.py made it.
const IMAGENET_21K: &[u8] = include_bytes!("../data/imagenet21k.tsv.gz");

/// A class: its synset, its lemmas, its definition.
pub(crate) type Class = [&'static str; 3];

/// The subset that a head of so many classes was trained on, as timm infers it
/// (`infer_imagenet_subset`); of timm's six all but Microsoft's reordering.
pub(crate) fn subset(classes: usize) -> Option<Vec<Class>> {
    let letter = match classes {
        1000 => return Some(imagenet_1k()),
        11_221 => Some('m'),
        11_821 => Some('k'),
        21_841 => Some('f'),
        21_843 => None,
        _ => return None,
    };
    let chosen = large().iter().filter_map(|(letters, class)| {
        let member = letter.is_none_or(|letter| letters.contains(letter));
        member.then_some(*class)
    });
    Some(chosen.collect())
}

fn imagenet_1k() -> Vec<Class> {
    lines(IMAGENET_1K).filter_map(class).collect()
}

/// The letters of the subsets a class is in, and the class.
fn large() -> &'static [(&'static str, Class)] {
    static PARSED: OnceLock<Vec<(&'static str, Class)>> = OnceLock::new();
    PARSED.get_or_init(|| {
        static TEXT: OnceLock<String> = OnceLock::new();
        let text = TEXT.get_or_init(|| {
            let mut text = String::new();
            // The bytes are this crate's own; a test reads them all.
            let _ = GzDecoder::new(IMAGENET_21K).read_to_string(&mut text);
            text
        });
        let parse = |line: &'static str| {
            let (letters, rest) = line.split_once('\t')?;
            Some((letters, class(rest)?))
        };
        lines(text).filter_map(parse).collect()
    })
}

fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().filter(|line| !line.starts_with('#'))
}

fn class(line: &'static str) -> Option<Class> {
    let mut columns = line.split('\t');
    Some([columns.next()?, columns.next()?, columns.next()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Printed by timm's `ImageNetInfo(subset).index_to_label_name(i)`.
    #[test]
    fn subsets_have_timms_classes_in_timms_order() {
        for (classes, some) in SOME {
            let all = subset(classes).unwrap();
            assert_eq!(all.len(), classes);
            assert!(all.iter().flatten().all(|text| !text.is_empty()));
            for (index, synset) in some {
                assert_eq!(all[index][0], synset, "{classes} {index}");
            }
        }
        assert!(subset(999).is_none() && subset(21_842).is_none());
    }
    const SOME: [(usize, [(usize, &str); 3]); 5] = [
        (
            1000,
            [(0, "n01440764"), (666, "n03786901"), (999, "n15075141")],
        ),
        (
            11_221,
            [(0, "n00005787"), (7480, "n07710616"), (11_220, "n15102894")],
        ),
        (
            11_821,
            [(0, "n00005787"), (7880, "n07725376"), (11_820, "n15102894")],
        ),
        (
            21_841,
            [
                (0, "n00004475"),
                (14_560, "n09668199"),
                (21_840, "n15102894"),
            ],
        ),
        (
            21_843,
            [
                (0, "n00004475"),
                (14_562, "n09668437"),
                (21_842, "n15102894"),
            ],
        ),
    ];
}
