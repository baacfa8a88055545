//! The SIMD passes against the portable loops.

use proptest::prelude::*;

use super::{Kernel, Plan, Rect};
use crate::{Interpolation, PassOrder};

/// A window of `output`, from four fractions of it.
fn window(output: (u32, u32), at: (f64, f64), part: (f64, f64)) -> Rect {
    let span = |size: u32, at: f64, part: f64| {
        let len = ((f64::from(size) * part) as u32).clamp(1, size);
        ((f64::from(size - len) * at) as u32, len)
    };
    let ((x, width), (y, height)) = (span(output.0, at.0, part.0), span(output.1, at.1, part.1));
    Rect {
        x,
        y,
        width,
        height,
    }
}

fn pixels(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // Extremes are where clamping and overflow would show.
        match state >> 30 {
            0 => 0,
            1 => 255,
            _ => (state >> 20) as u8,
        }
    };
    std::iter::repeat_with(next).take(len).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_kernel_gives_the_portable_bytes(
        input in (1u32..200, 1u32..200),
        output in (1u32..120, 1u32..120),
        at in (0.0..1.0, 0.0..1.0),
        part in (0.0..1.5, 0.0..1.5),
        filter in proptest::sample::select(Interpolation::ALL),
        order in proptest::sample::select(PassOrder::ALL),
        channels in proptest::sample::select(&[1usize, 3]),
        seed: u32,
    ) {
        let window = window(output, at, part);
        let plan = Plan::new(filter, order, input, output, window);
        let data = pixels(input.0 as usize * input.1 as usize * channels, seed);
        let whole = Rect { x: 0, y: 0, width: input.0, height: input.1 };
        let portable = plan.run(&data, whole, channels, Kernel::Portable).unwrap();
        prop_assert_eq!(portable.len(), window.width as usize * window.height as usize * channels);
        prop_assert_eq!(&plan.run(&data, whole, channels, Kernel::Auto).unwrap(), &portable);
        // The window alone is the window of the whole.
        let all = Plan::new(filter, order, input, output, Rect { x: 0, y: 0, width: output.0, height: output.1 });
        let all = all.run(&data, whole, channels, Kernel::Portable).unwrap();
        let stride = output.0 as usize * channels;
        let row = window.x as usize * channels..(window.x + window.width) as usize * channels;
        let cut: Vec<u8> = all.chunks_exact(stride)
            .skip(window.y as usize).take(window.height as usize)
            .flat_map(|line| line[row.clone()].iter().copied()).collect();
        prop_assert_eq!(&cut, &portable);
        // The needed part of the source is enough.
        let area = plan.source;
        let stride = input.0 as usize * channels;
        let columns = area.x as usize * channels..(area.x + area.width) as usize * channels;
        let needed: Vec<u8> = data.chunks_exact(stride)
            .skip(area.y as usize).take(area.height as usize)
            .flat_map(|line| line[columns.clone()].iter().copied()).collect();
        prop_assert_eq!(&plan.run(&needed, area, channels, Kernel::Auto).unwrap(), &portable);
    }
}
