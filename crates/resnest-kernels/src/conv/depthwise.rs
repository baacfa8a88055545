//! Depthwise convolution: one input channel for each output channel, vectorised over channels.

use super::{Finish, Geometry, share_of, sum_columns};
use crate::arch::relu;
use crate::arch::window::Window;
use crate::shape::ConvSpec;
use crate::share::SharedMut;
use crate::threads::parallel_for;

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

    pub fn run(
        &self,
        g: &Geometry,
        x: &[f32],
        out: &SharedMut,
        finish: Finish,
        sums: Option<&mut [f32]>,
    ) {
        let rows = g.output.n * g.output.h;
        let tasks = rows.min(16);
        parallel_for(tasks, g.macs(), &|task| {
            let mut window = Window::default();
            for row in share_of(rows, 1, task, tasks) {
                self.run_row(g, x, out, finish, row, &mut window);
            }
        });
        if let Some(sums) = sums {
            // SAFETY: all tasks have ended and have written everything.
            sum_columns(g, unsafe { out.written(0, g.output.len()) }, sums);
        }
    }

    fn run_row(
        &self,
        g: &Geometry,
        x: &[f32],
        out: &SharedMut,
        finish: Finish,
        row: usize,
        window: &mut Window,
    ) {
        let (kernel, dilation) = (g.spec.kernel, g.spec.dilation);
        let (h, w, c) = (g.input.h, g.input.w, g.input.c);
        for pixel in row * g.output.w..(row + 1) * g.output.w {
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
            let at = pixel * c;
            // SAFETY: each row of the output belongs to one task; written, it is one of values.
            let out = unsafe {
                window.dot(g.isa, x, &self.weights, &self.bias, (out, at, c));
                out.slice(at, c)
            };
            if let Some(residual) = finish.residual {
                out.iter_mut()
                    .zip(&residual[at..])
                    .for_each(|(o, r)| *o += r);
            }
            if finish.relu {
                out.iter_mut().for_each(|o| *o = relu(*o));
            }
        }
    }
}
