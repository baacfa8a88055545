//! The inner loops of the JPEG decoder: plain (`portable.rs`) and with AVX2 (`avx2/`).

#[cfg(target_arch = "x86_64")]
#[allow(
    unsafe_code,
    reason = "AVX2 intrinsics; the portable loops beside it are the specification"
)]
mod avx2;
mod portable;
#[cfg(test)]
mod tests;

/// The loops; which implementation runs is found once per decode. All give the same bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kernels {
    #[cfg(target_arch = "x86_64")]
    avx2: Option<avx2::Avx2>,
}

/// Calls the AVX2 loop if there is one, else the portable one.
macro_rules! dispatch {
    ($self:ident.$name:ident($($argument:expr),*)) => {{
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = &$self.avx2 {
            return avx2.$name($($argument),*);
        }
        portable::$name($($argument),*)
    }};
}

impl Kernels {
    /// The fastest that this CPU runs.
    pub fn new() -> Self {
        Self {
            #[cfg(target_arch = "x86_64")]
            avx2: avx2::Avx2::new(),
        }
    }

    /// The plain loops, on any CPU: the specification.
    #[cfg(test)]
    pub fn portable() -> Self {
        Self {
            #[cfg(target_arch = "x86_64")]
            avx2: None,
        }
    }

    /// Dequantises and inverse-transforms one block, in natural order (row-major, not zigzag), to 8 rows of
    /// 8 samples at `out[row * stride..][..8]`.
    pub fn idct_islow(
        &self,
        coefficients: &[i16; 64],
        quant: &[u16; 64],
        out: &mut [u8],
        stride: usize,
    ) {
        dispatch!(self.idct_islow(coefficients, quant, out, stride))
    }

    /// Upsamples a row of n samples to 2n ("fancy" h2v1; one or two samples are repeated).
    pub fn h2v1(&self, input: &[u8], output: &mut [u8]) {
        dispatch!(self.h2v1(input, output))
    }

    /// Makes one row of 2n samples from the nearer and the farther input row of n ("fancy" h2v2; of
    /// one or two samples the nearer are repeated).
    pub fn h2v2(&self, near: &[u8], far: &[u8], output: &mut [u8]) {
        dispatch!(self.h2v2(near, far, output))
    }

    /// Makes one row of n samples from the nearer and the farther input row ("fancy" h1v2); `upper` is the
    /// first of the two output rows of `near`, whose farther row is the one above.
    pub fn h1v2(&self, near: &[u8], far: &[u8], upper: bool, output: &mut [u8]) {
        dispatch!(self.h1v2(near, far, upper, output))
    }

    /// Converts one row of YCbCr to interleaved RGB.
    pub fn ycc_to_rgb(&self, y: &[u8], cb: &[u8], cr: &[u8], rgb: &mut [u8]) {
        dispatch!(self.ycc_to_rgb(y, cb, cr, rgb))
    }

    /// Converts one row of YCCK to interleaved CMYK, as libjpeg gives it (Pillow inverts later).
    pub fn ycck_to_cmyk(&self, y: &[u8], cb: &[u8], cr: &[u8], k: &[u8], cmyk: &mut [u8]) {
        dispatch!(self.ycck_to_cmyk(y, cb, cr, k, cmyk))
    }
}
