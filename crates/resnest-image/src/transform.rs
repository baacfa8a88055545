//! timm's evaluation transform: resize, crop or pad, normalise (`timm/data/transforms_factory.py`,
//! `transforms_imagenet_eval`).

use crate::decode;
use crate::geometry::{Axis, Geometry, Window};
use crate::memory::{filled, reserved};
use crate::resize::{Kernel, Plan, Rect};
use crate::{
    ColorMode, CropMode, Error, Image, Interpolation, Limits, PassOrder, Result, normalise,
};

/// Largest side of a crop, which bounds what a configuration can make us allocate.
const MAX_SIDE: u32 = 16_384;

/// A model's preprocessing.
///
/// ```
/// use resnest_image::{Image, Transform};
///
/// let photo = Image::new(640, 480, 3, vec![127; 640 * 480 * 3])?;
/// let transform = Transform::default(); // ImageNet at 224
/// let crop = transform.crop(&photo)?;
/// assert_eq!((crop.width, crop.height), (224, 224));
/// let mut tensor = vec![0.0; transform.len()];
/// transform.normalize_into(&crop, &mut tensor)?; // (3, 224, 224)
/// # Ok::<(), resnest_image::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Transform {
    /// (height, width) of the result in pixels.
    pub size: (u32, u32),
    /// The image is resized to `floor(size / crop_pct)` before the crop; above 1 the crop is padded.
    pub crop_pct: f64,
    /// How the image's shape becomes the model's.
    pub crop_mode: CropMode,
    /// Filter of the resize.
    pub interpolation: Interpolation,
    /// Mean a channel, in 0..1; its length (1 or 3) says how many channels are decoded.
    pub mean: Vec<f64>,
    /// Standard deviation a channel, in 0..1.
    pub std: Vec<f64>,
    /// Which Pillow's order of passes is followed.
    pub pass_order: PassOrder,
}

impl Default for Transform {
    /// timm's defaults: 224, 0.875, center, bilinear, ImageNet's mean and deviation.
    fn default() -> Self {
        Self {
            size: (224, 224),
            crop_pct: 0.875,
            crop_mode: CropMode::Center,
            interpolation: Interpolation::Bilinear,
            mean: vec![0.485, 0.456, 0.406],
            std: vec![0.229, 0.224, 0.225],
            pass_order: PassOrder::Pillow13,
        }
    }
}

impl Transform {
    /// Values of one result: channels · height · width.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a transform with nothing to make is an error"
    )]
    pub fn len(&self) -> usize {
        self.mean.len() * self.size.0 as usize * self.size.1 as usize
    }

    /// Shape of one result: (channels, height, width).
    pub fn shape(&self) -> (usize, usize, usize) {
        (self.mean.len(), self.size.0 as usize, self.size.1 as usize)
    }

    /// What an image must be decoded to: luma when there is one mean, else RGB.
    pub fn color_mode(&self) -> ColorMode {
        if self.mean.len() == 1 {
            ColorMode::Luma
        } else {
            ColorMode::Rgb
        }
    }

    /// Checks the options by themselves, without an image.
    ///
    /// # Errors
    /// [`Error::BadTransform`] naming the option.
    pub fn check(&self) -> Result<()> {
        let bad = |option, detail: String| Err(Error::BadTransform { option, detail });
        let (height, width) = self.size;
        if height == 0 || width == 0 || height > MAX_SIDE || width > MAX_SIDE {
            return bad(
                "size",
                format!("{height}x{width} is not within 1..={MAX_SIDE} a side"),
            );
        }
        if !(self.crop_pct.is_finite() && self.crop_pct > 0.0) {
            return bad(
                "crop_pct",
                format!("{} is not a positive number", self.crop_pct),
            );
        }
        if !matches!(self.mean.len(), 1 | 3) {
            return bad("mean", format!("{} values, not 1 or 3", self.mean.len()));
        }
        if self.std.len() != self.mean.len() {
            let (std, mean) = (self.std.len(), self.mean.len());
            return bad("std", format!("{std} values for {mean} channels"));
        }
        if let Some(mean) = self.mean.iter().find(|v| !(0.0..=1.0).contains(*v)) {
            return bad("mean", format!("{mean} is not within 0..=1"));
        }
        if let Some(std) = self.std.iter().find(|v| !(v.is_finite() && **v > 0.0)) {
            return bad("std", format!("{std} is not a positive number"));
        }
        Ok(())
    }

    /// Resizes and crops; the result's bytes are Pillow's.
    ///
    /// The image keeps its channels: 3, or 1 for a transform with one mean.
    ///
    /// # Errors
    /// [`Error::BadTransform`] for impossible options, [`Error::PixelCount`] for an inconsistent image,
    /// [`Error::ImageShape`] for one so narrow that nothing is left of it.
    pub fn crop(&self, image: &Image) -> Result<Image> {
        self.crop_with(image, Kernel::Auto)
    }

    /// Which part of a `width` x `height` image [`Self::crop`] shows the model: what is drawn on a photo to say
    /// where the model looked, and how its maps are laid back over it.
    ///
    /// # Errors
    /// [`Error::BadTransform`] for impossible options, [`Error::ImageShape`] for an image without pixels or too narrow.
    pub fn window(&self, width: u32, height: u32) -> Result<Window> {
        if width == 0 || height == 0 {
            return Err(Error::ImageShape {
                width,
                height,
                resized_width: 0,
                resized_height: 0,
            });
        }
        Ok(self.geometry(width, height)?.on_source(width, height))
    }

    /// As [`Self::crop`] by a chosen kernel; for tests and measurements, the bytes are the same.
    ///
    /// # Errors
    /// Those of [`Self::crop`].
    pub fn crop_with(&self, image: &Image, kernel: Kernel) -> Result<Image> {
        image.check()?;
        let geometry = self.geometry(image.width, image.height)?;
        self.check_channels(image)?;
        let whole = Rect {
            x: 0,
            y: 0,
            width: image.width,
            height: image.height,
        };
        let plan = self.plan(&geometry, (image.width, image.height));
        self.render(&geometry, &plan, &image.data, whole, kernel)
    }

    /// Normalises a crop to (C, H, W), each value `(v / 255 - mean) / std` in f32.
    ///
    /// # Errors
    /// [`Error::OutputLength`] unless `out` holds channels · height · width of the image, and
    /// [`Error::BadTransform`] when `mean` and the image differ in channels.
    pub fn normalize_into(&self, image: &Image, out: &mut [f32]) -> Result<()> {
        self.check()?;
        self.check_channels(image)?;
        normalise::normalise(image, &self.mean, &self.std, out)
    }

    /// Encoded bytes to (C, H, W): decode, resize, crop, normalise.
    ///
    /// # Errors
    /// Any of the crate's: see [`crate::decode`] and [`Self::crop`].
    pub fn apply(&self, bytes: &[u8], limits: &Limits) -> Result<Vec<f32>> {
        self.check()?;
        self.apply_to(&decode::decode_as(bytes, self.color_mode(), limits)?)
    }

    /// Decoded pixels to (C, H, W): resize, crop, normalise.
    ///
    /// # Errors
    /// As [`Self::crop`].
    pub fn apply_to(&self, image: &Image) -> Result<Vec<f32>> {
        let crop = self.crop(image)?;
        let mut out = filled(self.len(), 0.0)?;
        self.normalize_into(&crop, &mut out)?;
        Ok(out)
    }

    fn check_channels(&self, image: &Image) -> Result<()> {
        if usize::from(image.channels) == self.mean.len() {
            return Ok(());
        }
        let detail = format!(
            "{} values for an image of {} channels",
            self.mean.len(),
            image.channels
        );
        Err(Error::BadTransform {
            option: "mean",
            detail,
        })
    }

    fn geometry(&self, width: u32, height: u32) -> Result<Geometry> {
        self.check()?;
        Geometry::new(self, width, height)
    }

    /// The resize of a whole image of `size` (width, height), as far as the crop needs it.
    fn plan(&self, geometry: &Geometry, size: (u32, u32)) -> Plan {
        Plan::new(
            self.interpolation,
            self.pass_order,
            size,
            geometry.resized,
            geometry.window(),
        )
    }

    /// Fills the frame and puts the resized window into it; `data` is the source's part `area`.
    fn render(
        &self,
        geometry: &Geometry,
        plan: &Plan,
        data: &[u8],
        area: Rect,
        kernel: Kernel,
    ) -> Result<Image> {
        let channels = self.mean.len();
        let pixels = plan.run(data, area, channels, kernel)?;
        let (height, width) = self.size;
        let data = match geometry.is_padded() {
            false => pixels,
            true => self.pad(&pixels, &geometry.x, &geometry.y)?,
        };
        Ok(Image {
            width,
            height,
            channels: channels as u8,
            data,
        })
    }

    fn pad(&self, pixels: &[u8], x: &Axis, y: &Axis) -> Result<Vec<u8>> {
        let channels = self.mean.len();
        let stride = self.size.1 as usize * channels;
        let len = stride * self.size.0 as usize;
        let mut data = reserved(len)?;
        data.extend(self.fill().into_iter().cycle().take(len));
        let rows = pixels.chunks_exact(x.len as usize * channels);
        let left = x.pad as usize * channels;
        for (out, row) in data.chunks_exact_mut(stride).skip(y.pad as usize).zip(rows) {
            out[left..left + row.len()].copy_from_slice(row);
        }
        Ok(data)
    }

    /// Colour of the padding: black, or the mean's byte for border.
    fn fill(&self) -> Vec<u8> {
        let byte = |mean: &f64| match self.crop_mode {
            CropMode::Border => (255.0 * mean).round_ties_even() as u8,
            CropMode::Center | CropMode::Squash => 0,
        };
        self.mean.iter().map(byte).collect()
    }
}
