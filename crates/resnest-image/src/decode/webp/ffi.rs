//! libwebp's animation decoder, as far as the first frame needs it.
//!
//! It is the C library itself because nothing else gives its pixels: image-webp blends the first frame
//! of an animation, checks flags that libwebp takes for hints, and goes on elsewhere in damaged data.
//! The crate `webp` wraps the same functions, but decodes every frame and has no error for a frame that
//! fails. `libwebp-sys` bundles libwebp 1.6.0, which is also Pillow 13's.

#![expect(
    unsafe_code,
    reason = "libwebp is C; the only calls into it are the four below"
)]

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::{NonNull, null, null_mut};

use libwebp_sys::{
    WebPAnimDecoder, WebPAnimDecoderDelete, WebPAnimDecoderGetInfo, WebPAnimDecoderGetNext,
    WebPAnimDecoderNew, WebPData,
};

/// Bytes a pixel of the canvas: red, green, blue, alpha.
pub(super) const CANVAS_BYTES: usize = 4;

/// A decoder over a file's bytes, which must stay as they are while it lives.
pub(super) struct AnimDecoder<'a> {
    decoder: NonNull<WebPAnimDecoder>,
    /// Canvas size in pixels.
    pub width: u32,
    pub height: u32,
    bytes: PhantomData<&'a [u8]>,
}

impl<'a> AnimDecoder<'a> {
    /// Parses the container and makes two canvases; nothing when libwebp refuses the file, or has no
    /// memory for them.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let data = WebPData {
            bytes: bytes.as_ptr(),
            size: bytes.len(),
        };
        // SAFETY: `data` describes `bytes`, which the decoder borrows for 'a and only reads; a null
        // pointer for the options asks for the defaults (RGBA, no threads).
        let decoder = NonNull::new(unsafe { WebPAnimDecoderNew(&data, null()) })?;
        let mut this = Self {
            decoder,
            width: 0,
            height: 0,
            bytes: PhantomData,
        };
        let mut info = MaybeUninit::zeroed();
        // SAFETY: the decoder is alive, and `info` has room for the struct that is written.
        let known = unsafe { WebPAnimDecoderGetInfo(decoder.as_ptr(), info.as_mut_ptr()) };
        // SAFETY: the struct is integers only, for which zeros are a value.
        let info = unsafe { info.assume_init() };
        (this.width, this.height) = (info.canvas_width, info.canvas_height);
        (known != 0).then_some(this)
    }

    /// Decodes the next frame; the whole canvas, rows top to bottom, or nothing when libwebp fails.
    pub fn next_frame(&mut self) -> Option<&[u8]> {
        let (mut canvas, mut timestamp) = (null_mut(), 0);
        // SAFETY: the decoder is alive and borrowed for itself alone; both pointers are to locals.
        let done =
            unsafe { WebPAnimDecoderGetNext(self.decoder.as_ptr(), &mut canvas, &mut timestamp) };
        if done == 0 || canvas.is_null() {
            return None;
        }
        let len = self.width as usize * self.height as usize * CANVAS_BYTES;
        // SAFETY: on success `canvas` is the decoder's own buffer of width · height · 4 bytes, made
        // zeroed by `calloc`; it lives until the next call or the end of the decoder, and the result's
        // borrow of `self` allows neither before.
        Some(unsafe { std::slice::from_raw_parts(canvas, len) })
    }
}

impl Drop for AnimDecoder<'_> {
    fn drop(&mut self) {
        // SAFETY: the decoder came from `WebPAnimDecoderNew` and is deleted here alone.
        unsafe { WebPAnimDecoderDelete(self.decoder.as_ptr()) };
    }
}
