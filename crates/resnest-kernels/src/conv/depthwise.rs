//! Depthwise convolution: one input channel for each output channel, vectorised over channels.

use super::geometry::Geometry;
use super::operands::TileEpilogue;
use super::origin::Origin;
use crate::arch::checked::rows::Window;
use crate::arch::vector::relu;
use crate::error::Error;
use crate::memory::buffer::Aligned;
use crate::memory::rows::{RowLayout, for_each_share};
use crate::memory::share::SharedMut;
use crate::shape::ConvSpec;

/// Tasks of a layer.
const TASKS: usize = 16;

/// Weights as `[tap][channel]`.
pub(crate) struct Depthwise {
    weights: Aligned,
    bias: Aligned,
}

impl Depthwise {
    /// # Errors
    /// Those of [`Origin::buffer`].
    pub fn pack(spec: &ConvSpec, origin: &mut Origin) -> Result<Self, Error> {
        let (channels, taps) = (spec.out_channels, spec.taps());
        let mut packed = Depthwise {
            weights: origin.buffer(taps * channels)?,
            bias: origin.buffer(channels)?,
        };
        if let Some(read) = origin.read() {
            for (i, value) in packed.weights.as_mut_slice().iter_mut().enumerate() {
                *value = read.weight[i % channels * taps + i / channels];
            }
            if let Some(bias) = read.bias {
                packed.bias.as_mut_slice().copy_from_slice(bias);
            }
        }
        Ok(packed)
    }

    /// What is held, in the order of packing.
    pub fn buffers(&self) -> [&Aligned; 2] {
        [&self.weights, &self.bias]
    }

    /// Writes all channels of all pixels, which follow one another without a gap.
    pub fn run(&self, g: &Geometry, x: &[f32], out: &mut SharedMut, epilogue: TileEpilogue) {
        let layout = RowLayout::dense(g.output.n * g.output.h, g.output.w * g.output.c);
        for_each_share(out, layout, TASKS, g.macs(), |rows| {
            let mut window = Window::default();
            for (row, out) in rows {
                self.run_row(g, x, row, out, epilogue, &mut window);
            }
        });
    }

    fn run_row(
        &self,
        g: &Geometry,
        x: &[f32],
        row: usize,
        out: &mut [f32],
        epilogue: TileEpilogue,
        window: &mut Window,
    ) {
        let (kernel, dilation) = (g.spec.kernel, g.spec.dilation);
        let (h, w, c) = (g.input.h, g.input.w, g.input.c);
        for (pixel, out) in (row * g.output.w..).zip(out.chunks_exact_mut(c)) {
            let (image, top, left) = g.window(pixel);
            window.clear();
            for tap in 0..kernel * kernel {
                // Coordinates above or left of the image wrap to huge ones.
                let y = (top + (tap / kernel * dilation) as isize) as usize;
                let x = (left + (tap % kernel * dilation) as isize) as usize;
                if y < h && x < w {
                    window.push(((image * h + y) * w + x) * c, tap);
                }
            }
            window.dot(g.isa, x, self.weights.as_slice(), self.bias.as_slice(), out);
            if let Some(residual) = epilogue.residual {
                let residual = &residual[pixel * c..];
                out.iter_mut().zip(residual).for_each(|(o, r)| *o += r);
            }
            if epilogue.relu {
                out.iter_mut().for_each(|o| *o = relu(*o));
            }
        }
    }
}
