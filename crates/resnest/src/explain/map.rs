//! A class activation map: its values, the scale in which it is shown, and its place on a photo.

use resnest_image::Window;

use crate::{Error, Prediction};

/// Where one class was seen: a value for every cell of the last feature map.
#[derive(Debug, Clone, PartialEq)]
pub struct ActivationMap {
    /// The class and how sure the model was of it.
    pub prediction: Prediction,
    height: usize,
    width: usize,
    values: Vec<f32>,
}

impl ActivationMap {
    /// A map of `height` rows of `width` values.
    ///
    /// # Errors
    /// [`Error::MapSize`] unless there are `height * width` values, and one at least.
    pub fn new(
        prediction: Prediction,
        height: usize,
        width: usize,
        values: Vec<f32>,
    ) -> Result<Self, Error> {
        if values.is_empty() || height.checked_mul(width) != Some(values.len()) {
            let values = values.len();
            return Err(Error::MapSize {
                values,
                height,
                width,
            });
        }
        Ok(Self {
            prediction,
            height,
            width,
            values,
        })
    }

    /// Rows and columns.
    pub fn size(&self) -> (usize, usize) {
        (self.height, self.width)
    }

    /// The values as they are, (H, W) in a row: what each place adds to the class's logit, times H·W. Their mean is the
    /// logit less the classifier's bias.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The least and the greatest value.
    pub fn range(&self) -> (f32, f32) {
        range(&self.values)
    }

    /// The values as they are shown: evidence against the class cut off at 0, the rest spread over 0 to 1 (as
    /// `pytorch-grad-cam` does, `scale_cam_image`). All 0 where nothing speaks for the class.
    pub fn scaled(&self) -> Vec<f32> {
        let mut values: Vec<f32> = self.values.iter().map(|v| v.max(0.0)).collect();
        spread(&mut values);
        values
    }

    /// The shown values at another size, (height, width) in a row: bilinear, and spread over 0 to 1 again. With the
    /// model's input size this is what `pytorch-grad-cam`'s `GradCAM` returns for the last layer.
    pub fn resized(&self, height: usize, width: usize) -> Vec<f32> {
        let window = Window {
            x: 0.0,
            y: 0.0,
            width: width as f64,
            height: height as f64,
        };
        let mut values = self.over(&window, width, height);
        spread(&mut values);
        values
    }

    /// The shown values on an image of `width` x `height` pixels of which the model saw `window`, rows in a row:
    /// bilinear between the centres of the map's cells, NaN outside the window.
    pub fn over(&self, window: &Window, width: usize, height: usize) -> Vec<f32> {
        self.rows_over(window, width, height).flatten().collect()
    }

    /// The same a row at a time: on a large photo all of them are more than the photo.
    pub(super) fn rows_over(
        &self,
        window: &Window,
        width: usize,
        height: usize,
    ) -> impl Iterator<Item = Vec<f32>> {
        let shown = self.scaled();
        let columns = taps(window.x, window.width, self.width, width);
        let rows = taps(window.y, window.height, self.height, height);
        rows.into_iter().map(move |row| {
            let Some(row) = row else {
                return vec![f32::NAN; width];
            };
            let line: Vec<f32> = (0..self.width)
                .map(|x| row.between(|y| shown[y * self.width + x]))
                .collect();
            let value = |column: &Option<Tap>| match column {
                Some(column) => column.between(|x| line[x]),
                None => f32::NAN,
            };
            columns.iter().map(value).collect()
        })
    }
}

/// Two neighbouring cells and how far a position lies from the first to the second.
#[derive(Clone, Copy)]
struct Tap {
    first: usize,
    second: usize,
    share: f32,
}

impl Tap {
    fn between(self, at: impl Fn(usize) -> f32) -> f32 {
        let (a, b) = (at(self.first), at(self.second));
        a + (b - a) * self.share
    }
}

/// For each of `pixels`, whose centres lie at halves, its place among `cells` spread over `length` from `start`; `None`
/// outside. Beyond the outer cells' centres their values go on.
fn taps(start: f64, length: f64, cells: usize, pixels: usize) -> Vec<Option<Tap>> {
    let tap = |pixel: usize| {
        let along = (pixel as f64 + 0.5 - start) / length;
        if !(0.0..1.0).contains(&along) {
            return None;
        }
        let last = cells - 1;
        let place = (along * cells as f64 - 0.5).clamp(0.0, last as f64);
        let first = place.floor() as usize;
        Some(Tap {
            first,
            second: (first + 1).min(last),
            share: (place - first as f64) as f32,
        })
    };
    (0..pixels).map(tap).collect()
}

fn range(values: &[f32]) -> (f32, f32) {
    let wider = |(least, most): (f32, f32), &v: &f32| (least.min(v), most.max(v));
    values
        .iter()
        .fold((f32::INFINITY, f32::NEG_INFINITY), wider)
}

/// Moves the least value to 0 and the greatest to 1; the tiny addend keeps equal values at 0.
fn spread(values: &mut [f32]) {
    let (least, most) = range(values);
    let scale = 1.0 / (1e-7 + (most - least));
    values.iter_mut().for_each(|v| *v = (*v - least) * scale);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(height: usize, width: usize, values: &[f32]) -> Result<ActivationMap, Error> {
        let prediction = Prediction {
            index: 0,
            label: "0".into(),
            description: None,
            probability: 1.0,
            logit: 1.0,
        };
        ActivationMap::new(prediction, height, width, values.to_vec())
    }

    #[test]
    fn what_speaks_against_is_cut_off_and_the_rest_spread() {
        let shown = map(1, 4, &[-5.0, 0.0, 1.0, 4.0]).unwrap().scaled();
        for (got, expected) in shown.iter().zip([0.0, 0.0, 0.25, 1.0]) {
            assert!((got - expected).abs() < 1e-6, "{shown:?}");
        }
        assert_eq!(map(1, 2, &[-5.0, -1.0]).unwrap().scaled(), [0.0, 0.0]);
    }

    #[test]
    fn a_map_lies_on_its_window_and_nowhere_else() {
        // Two cells over pixels 2 to 6 of 8: centres at 3 and 5.
        let window = Window {
            x: 2.0,
            y: 0.0,
            width: 4.0,
            height: 1.0,
        };
        let over = map(1, 2, &[0.0, 1.0]).unwrap().over(&window, 8, 1);
        for (x, expected) in [(2, 0.0), (3, 0.25), (4, 0.75), (5, 1.0)] {
            assert!((over[x] - expected).abs() < 1e-6, "{over:?}");
        }
        assert!([0, 1, 6, 7].iter().all(|&x| over[x].is_nan()), "{over:?}");
    }

    #[test]
    fn values_that_are_no_map_are_refused() {
        for (height, width, values) in [(0, 0, 0), (2, 2, 3), (usize::MAX, 2, 2)] {
            let refused = map(height, width, &vec![0.0; values]).unwrap_err();
            assert!(matches!(refused, Error::MapSize { .. }));
        }
    }
}
