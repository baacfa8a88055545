//! Depthwise convolution: one input channel for each output channel, vectorised over channels.

use super::geometry::Geometry;
use super::operands::TileEpilogue;
use crate::arch::checked::rows::Window;
use crate::arch::vector::relu;
use crate::memory::rows::{RowLayout, for_each_share};
use crate::memory::share::SharedMut;
use crate::shape::ConvSpec;

/// Tasks of a layer.
const TASKS: usize = 16;

/// Weights as `[tap][channel]`.
pub(crate) struct Depthwise {
    weights: Vec<f32>,
    bias: Vec<f32>,
}

impl Depthwise {
    pub fn pack(spec: &ConvSpec, weight: &[f32], bias: Option<&[f32]>) -> Self {
        let taps = spec.taps();
        let weights = (0..taps * spec.out_channels)
            .map(|i| weight[i % spec.out_channels * taps + i / spec.out_channels])
            .collect();
        let bias = bias.map_or_else(|| vec![0.0; spec.out_channels], <[f32]>::to_vec);
        Depthwise { weights, bias }
    }

    pub fn bytes(&self) -> usize {
        (self.weights.len() + self.bias.len()) * size_of::<f32>()
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
            window.dot(g.isa, x, &self.weights, &self.bias, out);
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
