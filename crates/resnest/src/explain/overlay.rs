//! A map over a photo, in the photo's own geometry.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use resnest_image::{Image, Window};

use super::map::ActivationMap;
use crate::Error;

/// The colours of a map, from nothing to most; Mike Bostock's and matplotlib's, by the crate `colorous`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ColorMap {
    /// Blue to red through green.
    #[default]
    Turbo,
    /// Purple to yellow; also told apart without colours.
    Viridis,
    /// Black to light yellow through red.
    Inferno,
    /// Black to white through purple.
    Magma,
    /// Blue to yellow through pink.
    Plasma,
}

impl ColorMap {
    /// All there are.
    pub const ALL: [Self; 5] = [
        Self::Turbo,
        Self::Viridis,
        Self::Inferno,
        Self::Magma,
        Self::Plasma,
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Turbo => "turbo",
            Self::Viridis => "viridis",
            Self::Inferno => "inferno",
            Self::Magma => "magma",
            Self::Plasma => "plasma",
        }
    }

    /// Red, green and blue of 256 steps.
    fn table(self) -> [[u8; 3]; 256] {
        let gradient = match self {
            Self::Turbo => colorous::TURBO,
            Self::Viridis => colorous::VIRIDIS,
            Self::Inferno => colorous::INFERNO,
            Self::Magma => colorous::MAGMA,
            Self::Plasma => colorous::PLASMA,
        };
        std::array::from_fn(|step| {
            let color = gradient.eval_rational(step, 256);
            [color.r, color.g, color.b]
        })
    }
}

impl fmt::Display for ColorMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for ColorMap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|map| map.name() == text);
        found.ok_or_else(|| format!("must be one of {names}"))
    }
}

/// How a map is laid over a photo.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct OverlayStyle {
    /// Its colours.
    pub color_map: ColorMap,
    /// How much of the photo they cover where the map is greatest, 0 to 1; a third of that where it is 0.
    pub opacity: f32,
    /// Draw the edge of what the model saw, and dim what it did not see.
    pub outline: bool,
}

impl Default for OverlayStyle {
    fn default() -> Self {
        Self {
            color_map: ColorMap::default(),
            opacity: 0.6,
            outline: true,
        }
    }
}

/// How bright the photo stays where the model did not look.
const UNSEEN: f32 = 0.45;

/// `image` under `map`, as large as `image` and RGB.
///
/// `window` is the part of `image` that the model was shown ([`resnest_image::Transform::window`]); for a thumbnail,
/// the same rectangle [scaled](Window::scaled).
///
/// # Errors
/// [`Error::Image`] if the pixels' count does not fit their size, or there is no memory for as many again.
pub fn overlay(
    image: &Image,
    window: &Window,
    map: &ActivationMap,
    style: &OverlayStyle,
) -> Result<Image, Error> {
    image.check()?;
    let (width, height) = (image.width as usize, image.height as usize);
    let table = style.color_map.table();
    let opacity = style.opacity.clamp(0.0, 1.0);
    let values = map.rows_over(window, width, height).flatten();
    let pixels = image.data.chunks_exact(usize::from(image.channels));
    let mut data = reserved(width * height * 3)?;
    for (pixel, value) in pixels.zip(values) {
        let photo: [u8; 3] = std::array::from_fn(|c| pixel[c % pixel.len()]);
        data.extend_from_slice(&match value.is_nan() {
            true if style.outline => photo.map(|v| (f32::from(v) * UNSEEN) as u8),
            true => photo,
            false => {
                let color = table[(value * 255.0).round() as usize & 255];
                blend(photo, color, opacity * (1.0 + 2.0 * value) / 3.0)
            }
        });
    }
    let mut out = Image {
        width: image.width,
        height: image.height,
        channels: 3,
        data,
    };
    if style.outline {
        draw_outline(&mut out, window);
    }
    Ok(out)
}

/// An empty vector with room for so many bytes, if the system has it.
pub(super) fn reserved(bytes: usize) -> Result<Vec<u8>, Error> {
    let mut data = Vec::new();
    let reserved = data.try_reserve_exact(bytes);
    let bytes = bytes as u64;
    reserved.map_err(|_| resnest_image::Error::OutOfMemory { bytes })?;
    Ok(data)
}

fn blend(photo: [u8; 3], color: [u8; 3], opacity: f32) -> [u8; 3] {
    std::array::from_fn(|c| {
        let (from, to) = (f32::from(photo[c]), f32::from(color[c]));
        (from + (to - from) * opacity).round() as u8
    })
}

/// A white line inside a dark one, along the window's inner edge; sides that lie beyond the image are not drawn.
fn draw_outline(image: &mut Image, window: &Window) {
    let thickness = (image.width.min(image.height) as usize / 150).max(1);
    let (right, bottom) = (window.x + window.width, window.y + window.height);
    let columns = (window.x.round() as i64, right.round() as i64);
    let rows = (window.y.round() as i64, bottom.round() as i64);
    for (inset, shade) in [(0, 255), (thickness as i64, 30)] {
        frame(image, columns, rows, inset, thickness as i64, shade);
    }
}

/// A frame of `thickness` pixels, `inset` pixels inside columns and rows.
fn frame(
    image: &mut Image,
    columns: (i64, i64),
    rows: (i64, i64),
    inset: i64,
    thickness: i64,
    shade: u8,
) {
    let ((left, right), (top, bottom)) = (
        (columns.0 + inset, columns.1 - inset),
        (rows.0 + inset, rows.1 - inset),
    );
    if right - left < 2 * thickness || bottom - top < 2 * thickness {
        return;
    }
    for (x, y) in [
        (left..right, top..top + thickness),
        (left..right, bottom - thickness..bottom),
        (left..left + thickness, top..bottom),
        (right - thickness..right, top..bottom),
    ] {
        fill(image, x, y, shade);
    }
}

/// Fills the part of a rectangle that lies in the image.
fn fill(image: &mut Image, x: Range<i64>, y: Range<i64>, shade: u8) {
    let inside = |range: Range<i64>, side: u32| {
        let clamped = |v: i64| v.clamp(0, i64::from(side)) as usize;
        clamped(range.start)..clamped(range.end)
    };
    let (x, y) = (inside(x, image.width), inside(y, image.height));
    let stride = image.width as usize * 3;
    for row in image
        .data
        .chunks_exact_mut(stride)
        .take(y.end)
        .skip(y.start)
    {
        row[x.start * 3..x.end * 3].fill(shade);
    }
}
