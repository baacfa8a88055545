//! Class names: ImageNet's, or those in a model's config.

use crate::{Error, imagenet};

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
        Self::for_classes(1000)
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

    /// What is known of a model with this many classes and no labels of its own: ImageNet's for 1000, those of its
    /// larger subsets for 11,221, 11,821, 21,841 and 21,843 (as timm infers them, `infer_imagenet_subset`), else
    /// numbers.
    pub fn for_classes(classes: usize) -> Self {
        let Some(subset) = imagenet::subset(classes) else {
            return Self::numbered(classes);
        };
        let column = |i: usize| subset.iter().map(move |class| Some(class[i].to_owned()));
        Self {
            names: column(0).collect(),
            descriptions: column(1).collect(),
            definitions: column(2).collect(),
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

    /// The class that `text` names: an index, a class name (a synset for ImageNet), or a description or one of its
    /// comma-separated parts ("tabby"), without regard to case.
    ///
    /// # Errors
    /// [`Error::UnknownClass`] with the nearest names, [`Error::AmbiguousClass`] if it names several.
    pub fn find(&self, text: &str) -> Result<usize, Error> {
        let text = text.trim();
        let index = text.parse().ok();
        let named =
            |&class: &usize| Some(class) == index || self.names[class].as_deref() == Some(text);
        let mut found: Vec<usize> = (0..self.len()).filter(named).collect();
        if found.is_empty() {
            let called = |class: &usize| self.words(*class).any(|word| same(word, text));
            found = (0..self.len()).filter(called).collect();
        }
        match found[..] {
            [class] => Ok(class),
            [] => Err(Error::UnknownClass {
                text: text.to_owned(),
                classes: self.len(),
                nearest: self.nearest(text),
            }),
            _ => Err(Error::AmbiguousClass {
                text: text.to_owned(),
                candidates: found.iter().map(|&class| self.shown(class)).collect(),
            }),
        }
    }

    /// All that a class may be called but its index.
    fn words(&self, class: usize) -> impl Iterator<Item = &str> {
        let description = self.description(class);
        let parts = description.into_iter().flat_map(|text| text.split(','));
        let name = self.names[class].as_deref();
        name.into_iter().chain(description).chain(parts)
    }

    fn shown(&self, class: usize) -> String {
        match self.description(class) {
            Some(text) => format!("{class} {} ({text})", self.name(class)),
            None if self.names[class].is_none() => class.to_string(),
            None => format!("{class} {}", self.name(class)),
        }
    }

    /// The three classes whose names are most like `text`.
    fn nearest(&self, text: &str) -> Vec<String> {
        let text = text.to_lowercase();
        let likeness = |class: usize| {
            let words = self.words(class).map(|word| word.trim().to_lowercase());
            words.fold(0.0, |most, word| {
                strsim::jaro_winkler(&word, &text).max(most)
            })
        };
        let mut ranked: Vec<(f64, usize)> = (0..self.len()).map(|c| (likeness(c), c)).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let best = ranked.iter().take(3);
        best.map(|&(_, class)| self.shown(class)).collect()
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

fn same(a: &str, b: &str) -> bool {
    a.trim().to_lowercase() == b.to_lowercase()
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
    fn a_class_is_found_by_index_synset_and_words() {
        let labels = Labels::imagenet();
        for text in ["281", "n02123045", "tabby", "Tabby Cat", "tabby, tabby cat"] {
            assert_eq!(labels.find(text).unwrap(), 281, "{text}");
        }
        let Err(Error::AmbiguousClass { candidates, .. }) = labels.find("crane") else {
            panic!("a bird and a machine");
        };
        assert_eq!(candidates.len(), 2);
        assert!(candidates[0].contains("n02012849"), "{candidates:?}");
        for (text, hint) in [("taby", "tabby"), ("1000", "0 to 999"), ("-1", "0 to 999")] {
            let error = labels.find(text).unwrap_err().to_string();
            assert!(error.contains(hint), "{error}");
        }
    }

    #[test]
    fn a_number_that_is_one_class_and_names_another_is_not_guessed() {
        let labels = Labels::new([(Some("1"), None), (Some("0"), None), (Some("7"), None)]);
        assert!(matches!(
            labels.find("1"),
            Err(Error::AmbiguousClass { .. })
        ));
        assert_eq!(
            (labels.find("7").unwrap(), labels.find("2").unwrap()),
            (2, 2)
        );
        assert!(Labels::numbered(0).find("0").is_err());
    }

    #[test]
    fn gaps_in_a_config_are_called_by_their_index() {
        let labels = Labels::new([(Some("cat"), Some("a small feline")), (None, None)]);
        assert_eq!((labels.name(0), labels.name(1)), ("cat".into(), "1".into()));
        assert_eq!(labels.detailed(0).unwrap(), "a small feline");
        assert_eq!(labels.detailed(1), None);
    }
}
