//! libwebp, as far as the first frame needs it: its container parser and its decoder.
//!
//! It is the C library itself because nothing else gives its pixels: image-webp blends the first frame
//! of an animation, checks flags that libwebp takes for hints, and goes on elsewhere in damaged data.
//! `libwebp-sys` bundles libwebp 1.6.0, which is also Pillow 13's. Pillow goes through `WebPAnimDecoder`; for
//! the first frame that is the calls below on a second canvas. The crate `webp` wraps it too, but decodes every
//! frame and has no error for one that fails.

#![expect(unsafe_code, reason = "libwebp is C; all calls into it are here")]

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::{NonNull, null_mut};

use libwebp_sys::{
    VP8StatusCode, WEBP_CSP_MODE, WebPData, WebPDecode, WebPDecoderConfig, WebPDemuxDelete,
    WebPDemuxGetFrame, WebPDemuxGetI, WebPDemuxInternal, WebPDemuxReleaseIterator, WebPDemuxer,
    WebPFormatFeature, WebPGetDemuxABIVersion, WebPGetFeatures, WebPInitDecoderConfig,
    WebPIterator,
};

/// Bytes a pixel of the canvas: red, green, blue, alpha.
pub(super) const CANVAS_BYTES: usize = 4;

/// A file's container, taken apart; the bytes must stay as they are while it lives.
pub(super) struct Container<'a> {
    demuxer: NonNull<WebPDemuxer>,
    bytes: PhantomData<&'a [u8]>,
}

/// A frame's compressed bytes and its place on the canvas, which libwebp holds to lie inside.
struct Frame(WebPIterator);

impl<'a> Container<'a> {
    /// Parses the chunks; nothing when libwebp refuses them.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let mut features = MaybeUninit::zeroed();
        // SAFETY: pointer and length are those of `bytes`, and `features` has room for the struct.
        let status = unsafe { WebPGetFeatures(bytes.as_ptr(), bytes.len(), features.as_mut_ptr()) };
        if status != VP8StatusCode::VP8_STATUS_OK {
            return None;
        }
        let data = WebPData {
            bytes: bytes.as_ptr(),
            size: bytes.len(),
        };
        // SAFETY: `data` describes `bytes`, which the demuxer borrows for 'a and only reads; 0 demands the
        // whole file; the state is not asked for; the version is that of the bindings.
        let demuxer = unsafe { WebPDemuxInternal(&data, 0, null_mut(), WebPGetDemuxABIVersion()) };
        Some(Self {
            demuxer: NonNull::new(demuxer)?,
            bytes: PhantomData,
        })
    }

    /// Canvas size in pixels.
    pub fn size(&self) -> (u32, u32) {
        // SAFETY: the demuxer is alive.
        let get = |what| unsafe { WebPDemuxGetI(self.demuxer.as_ptr(), what) };
        (
            get(WebPFormatFeature::WEBP_FF_CANVAS_WIDTH),
            get(WebPFormatFeature::WEBP_FF_CANVAS_HEIGHT),
        )
    }

    /// Decodes the first frame to its place on `canvas`, rows top to bottom of [`CANVAS_BYTES`] a pixel, which
    /// must have been zeros; nothing when libwebp fails.
    pub fn first_frame(&self, canvas: &mut [u8]) -> Option<()> {
        let frame = self.frame()?;
        let place = |v: i32| usize::try_from(v).ok();
        let (x, y) = (place(frame.0.x_offset)?, place(frame.0.y_offset)?);
        let (width, height) = (place(frame.0.width)?, place(frame.0.height)?);
        let stride = usize::try_from(self.size().0).ok()? * CANVAS_BYTES;
        let target = canvas.get_mut(y * stride + x * CANVAS_BYTES..)?;
        if width * CANVAS_BYTES > stride.checked_sub(x * CANVAS_BYTES)? {
            return None;
        }
        let mut config = MaybeUninit::<WebPDecoderConfig>::zeroed();
        // SAFETY: `config` has room for the struct, which the call fills.
        if !unsafe { WebPInitDecoderConfig(config.as_mut_ptr()) } {
            return None;
        }
        // SAFETY: initialised by the call.
        let mut config = unsafe { config.assume_init() };
        config.output.colorspace = WEBP_CSP_MODE::MODE_RGBA;
        config.output.is_external_memory = 1;
        config.output.u.RGBA.rgba = target.as_mut_ptr();
        config.output.u.RGBA.stride = i32::try_from(stride).ok()?;
        config.output.u.RGBA.size = target.len().min(height.checked_mul(stride)?);
        let data = frame.0.fragment;
        // SAFETY: `data` lies within the file's bytes, which outlive the demuxer. The output is `target`, in use
        // for nothing else; libwebp checks that the picture fits its size and stride before it writes.
        let status = unsafe { WebPDecode(data.bytes, data.size, &mut config) };
        (status == VP8StatusCode::VP8_STATUS_OK).then_some(())
    }

    fn frame(&self) -> Option<Frame> {
        let mut frame = MaybeUninit::<WebPIterator>::zeroed();
        // SAFETY: the demuxer is alive, and `frame` has room for the struct; frames count from 1.
        let found = unsafe { WebPDemuxGetFrame(self.demuxer.as_ptr(), 1, frame.as_mut_ptr()) };
        // SAFETY: filled by the call, when it found the frame.
        (found != 0).then(|| Frame(unsafe { frame.assume_init() }))
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        // SAFETY: filled by `WebPDemuxGetFrame` and released here alone.
        unsafe { WebPDemuxReleaseIterator(&mut self.0) };
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        // SAFETY: it came from `WebPDemuxInternal` and is deleted here alone; no frame outlives a method.
        unsafe { WebPDemuxDelete(self.demuxer.as_ptr()) };
    }
}
