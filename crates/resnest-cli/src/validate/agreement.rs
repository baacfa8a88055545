//! One model in several precisions: how far their answers are the same.

use resnest::validate::Agreement;

/// The answers of a model in its first precision, which those of the others are compared with.
#[derive(Default)]
pub struct Firsts {
    model: String,
    precision: &'static str,
    best: Vec<Option<usize>>,
}

impl Firsts {
    /// How far `best` agrees with the model's first precision; `None`, and it is kept, if this is the first.
    pub fn compare(
        &mut self,
        model: &str,
        precision: &'static str,
        best: Vec<Option<usize>>,
    ) -> Option<Agreement> {
        if self.model != model {
            *self = Self {
                model: model.to_owned(),
                precision,
                best,
            };
            return None;
        }
        let both = best.iter().zip(&self.best);
        let both: Vec<bool> = both.filter_map(|(a, b)| Some((*a)? == (*b)?)).collect();
        let equal = both.iter().filter(|equal| **equal).count();
        Some(Agreement {
            with: self.precision,
            images: both.len(),
            percent: (!both.is_empty()).then(|| 100.0 * equal as f64 / both.len() as f64),
        })
    }
}
