//! The five filters of a PNG row, undone in place.

/// Undoes `filter` (0..=4) on `row`, given the row above and the bytes of a pixel, at least 1; false for any other
/// filter.
pub(super) fn undo(filter: u8, row: &mut [u8], above: &[u8], pixel: usize) -> bool {
    match filter {
        0 => {}
        2 => {
            for (v, &up) in row.iter_mut().zip(above) {
                *v = v.wrapping_add(up);
            }
        }
        1 | 3 | 4 => match pixel {
            1 => undo_sized::<1>(filter, row, above),
            2 => undo_sized::<2>(filter, row, above),
            3 => undo_sized::<3>(filter, row, above),
            4 => undo_sized::<4>(filter, row, above),
            6 => undo_sized::<6>(filter, row, above),
            _ => undo_sized::<8>(filter, row, above),
        },
        _ => return false,
    }
    true
}

fn undo_sized<const N: usize>(filter: u8, row: &mut [u8], above: &[u8]) {
    match filter {
        1 => walk::<N>(row, above, |left, _, _| left),
        3 => walk::<N>(row, above, |left, up, _| {
            ((u16::from(left) + u16::from(up)) / 2) as u8
        }),
        _ if N == 3 || N == 4 => undo_paeth::<N>(row, above),
        _ => walk::<N>(row, above, paeth),
    }
}

/// Adds to each byte what `predict` makes of the bytes left of it, above, and left above; those outside are 0.
#[inline(always)]
fn walk<const N: usize>(row: &mut [u8], above: &[u8], predict: impl Fn(u8, u8, u8) -> u8) {
    let (mut left, mut left_above) = ([0; N], [0; N]);
    let pixels = row.as_chunks_mut::<N>().0;
    for (pixel, up) in pixels.iter_mut().zip(above.as_chunks::<N>().0) {
        for i in 0..N {
            pixel[i] = pixel[i].wrapping_add(predict(left[i], up[i], left_above[i]));
        }
        (left, left_above) = (*pixel, *up);
    }
}

/// [`paeth`] for 3 or 4 bytes a pixel, in lanes that a compiler makes vectors of.
fn undo_paeth<const N: usize>(row: &mut [u8], above: &[u8]) {
    let wide = |pixel: &[u8; N]| {
        let mut lanes = [0i16; 4];
        for (lane, &v) in lanes.iter_mut().zip(pixel) {
            *lane = i16::from(v);
        }
        lanes
    };
    let (mut a, mut c) = ([0i16; 4], [0i16; 4]);
    let pixels = row.as_chunks_mut::<N>().0;
    for (pixel, up) in pixels.iter_mut().zip(above.as_chunks::<N>().0) {
        let (b, mut x) = (wide(up), wide(pixel));
        for i in 0..4 {
            let (low, high, place) = (a[i].min(b[i]), a[i].max(b[i]), 3 * c[i] - a[i] - b[i]);
            let nearest = if high <= place { low } else { c[i] };
            let nearest = if place <= low { high } else { nearest };
            x[i] = (x[i] + nearest) & 255;
        }
        for (v, lane) in pixel.iter_mut().zip(x) {
            *v = lane as u8;
        }
        (a, c) = (x, b);
    }
}

/// Whichever of the three is nearest to left + above - left above; the earlier of equals.
///
/// Without branches, which noise mispredicts: with the two sorted to low and high, the corner lies nearest only while
/// 3 · corner - left - above is strictly between them, and past either it is the one on the other side.
#[inline(always)]
fn paeth(left: u8, up: u8, corner: u8) -> u8 {
    let (a, b, c) = (i16::from(left), i16::from(up), i16::from(corner));
    let (low, high, place) = (a.min(b), a.max(b), 3 * c - a - b);
    let nearest = if high <= place { low } else { c };
    // One of the three, so a byte.
    (if place <= low { high } else { nearest }) as u8
}

#[cfg(test)]
mod tests {
    use super::{paeth, undo_paeth, walk};

    /// The PNG specification's words, with its order of ties.
    fn specified(a: u8, b: u8, c: u8) -> u8 {
        let [x, y, z] = [a, b, c].map(i32::from);
        let p = x + y - z;
        let by_distance = [(a, x), (b, y), (c, z)];
        let nearest = by_distance.iter().min_by_key(|(_, v)| (p - v).abs());
        nearest.map_or(0, |(v, _)| *v)
    }

    #[test]
    fn paeth_is_the_specifications_for_all_bytes() {
        let all = || 0..=255u8;
        for a in all() {
            for b in all() {
                let wrong = all().find(|&c| paeth(a, b, c) != specified(a, b, c));
                assert_eq!(wrong, None, "{a} {b}");
            }
        }
    }

    fn both<const N: usize>(row: &[u8], above: &[u8]) {
        let (mut lanes, mut plain) = (row.to_vec(), row.to_vec());
        undo_paeth::<N>(&mut lanes, above);
        walk::<N>(&mut plain, above, paeth);
        assert_eq!(lanes, plain);
    }

    #[test]
    fn lanes_are_as_bytes() {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        for pixels in 0..200 {
            let mut bytes = || (0..pixels * 12).map(|_| next()).collect::<Vec<_>>();
            let (row, above) = (bytes(), bytes());
            both::<3>(&row, &above);
            both::<4>(&row, &above);
        }
    }
}
