//! Class names: ImageNet's, or those in a model's config.

use std::sync::OnceLock;

/// synset, lemmas, definition of the 1000 ImageNet classes, in index order; from timm's `data/_info`.
const IMAGENET_1K: &str = include_str!("../data/imagenet1k.tsv");

/// The names of a model's classes, and what is known about each in words.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Labels {
    names: Vec<Option<String>>,
    descriptions: Vec<Option<String>>,
    definitions: Vec<Option<String>>,
}

impl Labels {
    /// The 1000 ImageNet classes: synsets, WordNet lemmas and definitions (timm's `ImageNetInfo`).
    pub fn imagenet() -> Self {
        static PARSED: OnceLock<Labels> = OnceLock::new();
        PARSED.get_or_init(parse_imagenet).clone()
    }

    /// Classes without names: a class is called by its index.
    pub fn numbered(classes: usize) -> Self {
        Self {
            names: vec![None; classes],
            descriptions: vec![None; classes],
            definitions: vec![None; classes],
        }
    }

    /// The name of each class, `None` where the config leaves a gap, with a text for it where there is one.
    pub fn new<'a>(classes: impl IntoIterator<Item = (Option<&'a str>, Option<&'a str>)>) -> Self {
        let mut labels = Self::default();
        for (name, description) in classes {
            labels.names.push(name.map(str::to_owned));
            labels.descriptions.push(description.map(str::to_owned));
            labels.definitions.push(None);
        }
        labels
    }

    /// What is known of a model with this many classes and no labels of its own: ImageNet's for 1000 (as timm infers
    /// them, `infer_imagenet_subset`), else numbers.
    pub fn for_classes(classes: usize) -> Self {
        match classes {
            1000 => Self::imagenet(),
            _ => Self::numbered(classes),
        }
    }

    /// How many classes there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is no class at all.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The class name, or its index in digits where it has none.
    pub fn name(&self, index: usize) -> String {
        self.names
            .get(index)
            .and_then(Clone::clone)
            .unwrap_or_else(|| index.to_string())
    }

    /// The class in a few words (timm's label type `description`), where known.
    pub fn description(&self, index: usize) -> Option<&str> {
        self.descriptions.get(index)?.as_deref()
    }

    /// The class in words and its definition (timm's label type `detailed`), where known.
    pub fn detailed(&self, index: usize) -> Option<String> {
        let words = self.description(index)?;
        Some(match self.definitions.get(index)? {
            Some(definition) => format!("{words}: {definition}"),
            None => words.to_owned(),
        })
    }
}

fn parse_imagenet() -> Labels {
    let mut labels = Labels::default();
    for line in IMAGENET_1K.lines().filter(|line| !line.starts_with('#')) {
        let mut columns = line.split('\t').map(|text| Some(text.to_owned()));
        labels.names.push(columns.next().flatten());
        labels.descriptions.push(columns.next().flatten());
        labels.definitions.push(columns.next().flatten());
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn imagenet_has_a_thousand_described_classes_in_synset_order() {
        let labels = Labels::imagenet();
        assert_eq!(labels.len(), 1000);
        assert!(
            (1..1000).all(|i| labels.name(i - 1) < labels.name(i)),
            "synsets are sorted"
        );
        assert!((0..1000).all(|i| labels.detailed(i).is_some()));
        assert_eq!(labels.name(281), "n02123045");
        assert_eq!(labels.description(281), Some("tabby, tabby cat"));
        assert_eq!(
            labels.detailed(281).unwrap(),
            "tabby, tabby cat: a cat with a grey or tawny coat mottled with black"
        );
        assert_eq!(labels.name(1000), "1000");
    }

    #[test]
    fn gaps_in_a_config_are_called_by_their_index() {
        let labels = Labels::new([(Some("cat"), Some("a small feline")), (None, None)]);
        assert_eq!((labels.name(0), labels.name(1)), ("cat".into(), "1".into()));
        assert_eq!(labels.detailed(0).unwrap(), "a small feline");
        assert_eq!(labels.detailed(1), None);
    }
}
