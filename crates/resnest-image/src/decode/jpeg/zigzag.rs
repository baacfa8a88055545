//! T.81 figure A.6: where the k-th coefficient of a block stands in it.

/// Row-major position of each zigzag index. Runs of damaged data lead up to 15 past the end; libjpeg
/// lets all of those hit the last coefficient. The rest of the table spares a check.
pub(super) static NATURAL: [u8; 128] = natural();

const fn natural() -> [u8; 128] {
    let mut order = [63; 128];
    let (mut x, mut y, mut k) = (0u8, 0u8, 0);
    while k < 64 {
        order[k] = 8 * y + x;
        // Even diagonals run up and right, odd ones down and left.
        let up = (x + y).is_multiple_of(2);
        if up && x == 7 || !up && y < 7 && x == 0 {
            y += 1;
        } else if up && y == 0 || !up && y == 7 {
            x += 1;
        } else if up {
            x += 1;
            y -= 1;
        } else {
            x -= 1;
            y += 1;
        }
        k += 1;
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_a_path_over_all_positions() {
        let start = [0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5];
        assert_eq!(NATURAL[..16], start);
        let mut seen = NATURAL[..64].to_vec();
        seen.sort_unstable();
        assert!(seen.iter().enumerate().all(|(i, &at)| i == usize::from(at)));
        assert_eq!(
            NATURAL[48..64],
            start
                .map(|at| 63 - at)
                .iter()
                .rev()
                .copied()
                .collect::<Vec<_>>()[..]
        );
    }
}
