//! Estimates of coefficients that a progressive file has not sent (`jdcoefct.c`; T.81 K.8 over 5x5 blocks).

use super::FORMAT;
use super::coefficients::Coefficients;
use super::frame::{Component, Frame};
use super::markers::ScanHeader;
use super::sequential::Block;
use super::zigzag::NATURAL;
use crate::{Error, Result};

/// Zigzag indices that are estimated, DC included.
const ESTIMATED: usize = 10;

/// Nothing of the coefficient is known.
const UNKNOWN: i8 = -1;

/// What is known of each coefficient of a component: the lowest bit sent, or [`UNKNOWN`].
#[derive(Debug, Clone, Copy)]
struct Known {
    now: [i8; 64],
    /// Before the component's last scan.
    before: [i8; 64],
}

/// What the scans so far have sent.
#[derive(Debug)]
pub(super) struct Progress {
    known: Vec<Known>,
    scans: usize,
    /// The last row of MCUs that some scan's data reached, the last scan's if it reached any.
    pub last_good_row: usize,
}

impl Progress {
    pub fn new(frame: &Frame) -> Self {
        let none = Known {
            now: [UNKNOWN; 64],
            before: [UNKNOWN; 64],
        };
        Self {
            known: vec![none; frame.components.len()],
            scans: 0,
            last_good_row: 0,
        }
    }

    /// Takes note of a scan about to be read.
    ///
    /// # Errors
    /// A band or an approximation that no progressive scan may have.
    pub fn begin(&mut self, header: &ScanHeader) -> Result<()> {
        let (start, end) = (header.spectral_start, header.spectral_end);
        let (high, low) = (header.approx_high, header.approx_low);
        let band_is_right = match start {
            0 => end == 0,
            _ => start <= end && end < 64 && header.components.len() == 1,
        };
        if !band_is_right || high != 0 && low + 1 != high || low > 13 {
            let what = format!("a progressive scan of {start} to {end}, bits {high} to {low}");
            return Err(Error::corrupt(FORMAT, what));
        }
        self.scans += 1;
        for &index in &header.components {
            let known = &mut self.known[index];
            for k in usize::from(start.min(1))..=usize::from(end.max(9)) {
                known.before[k] = if self.scans > 1 { known.now[k] } else { 0 };
            }
            known.now[usize::from(start)..=usize::from(end)].fill(low as i8);
        }
        Ok(())
    }

    /// Whether blocks are to be smoothed: DC is known of all components and some low AC is not.
    pub fn smoothing(&self, frame: &Frame) -> Option<Smoothing> {
        let mut useful = false;
        for (known, component) in self.known.iter().zip(&frame.components) {
            let quant = component.quant?;
            if NATURAL[..ESTIMATED]
                .iter()
                .any(|&at| quant[usize::from(at)] == 0)
            {
                return None;
            }
            if known.now[0] == UNKNOWN {
                return None;
            }
            useful |= known.now[1..ESTIMATED].iter().any(|&low| low != 0);
        }
        let first = |known: &[i8; 64]| std::array::from_fn(|k| known[k]);
        let before = |known: &Known| match self.scans {
            ..=1 => [UNKNOWN; ESTIMATED],
            _ => first(&known.before),
        };
        useful.then(|| Smoothing {
            now: self.known.iter().map(|known| first(&known.now)).collect(),
            before: self.known.iter().map(before).collect(),
            last_good_row: self.last_good_row,
        })
    }
}

/// Weights of the 25 blocks' DC values, by row.
type Weights = [[i32; 5]; 5];

const fn transposed(weights: Weights) -> Weights {
    let mut out = [[0; 5]; 5];
    let mut i = 0;
    while i < 25 {
        out[i % 5][i / 5] = weights[i / 5][i % 5];
        i += 1;
    }
    out
}

const NONE: [i32; 5] = [0; 5];

/// With DC alone: zigzag index, and weights in 256ths.
const FROM_DC: [(usize, Weights); ESTIMATED] = {
    let side = [-3, 13, 0, -13, 3];
    let outer = [-1, -1, 0, 1, 1];
    let k1 = [outer, side, [-3, 38, 0, -38, 3], side, outer];
    let side = [0, 2, -5, 2, 0];
    let k5 = [NONE, side, [1, 7, -14, 7, 1], side, NONE];
    let k4 = [
        [-1, 0, 0, 0, 1],
        [0, 9, 0, -9, 0],
        NONE,
        [0, -9, 0, 9, 0],
        [1, 0, 0, 0, -1],
    ];
    let side = [0, 1, 0, -1, 0];
    let k6 = [NONE, side, [0, 2, 0, -2, 0], side, NONE];
    let k7 = [NONE, [0, 1, -3, 1, 0], NONE, [0, -1, 3, -1, 0], NONE];
    let outer = [-2, -6, -8, -6, -2];
    let side = [-6, 6, 42, 6, -6];
    let k0 = [outer, side, [-8, 42, 152, 42, -8], side, outer];
    [
        (1, k1),
        (2, transposed(k1)),
        (3, transposed(k5)),
        (4, k4),
        (5, k5),
        (6, k6),
        (7, k7),
        (8, transposed(k7)),
        (9, transposed(k6)),
        (0, k0),
    ]
};

/// With some AC coefficients: the first five are estimated, DC is kept.
const BESIDE_AC: [(usize, Weights); 5] = {
    let k1 = [NONE, NONE, [-7, 50, 0, -50, 7], NONE, NONE];
    let k5 = [NONE, NONE, [-1, 13, -24, 13, -1], NONE, NONE];
    let k4 = [
        [0, -1, 0, 1, 0],
        [-1, 10, 0, -10, 1],
        NONE,
        [1, -10, 0, 10, -1],
        [0, 1, 0, -1, 0],
    ];
    [
        (1, k1),
        (2, transposed(k1)),
        (3, transposed(k5)),
        (4, k4),
        (5, k5),
    ]
};

/// How a frame's blocks are smoothed.
#[derive(Debug)]
pub(super) struct Smoothing {
    now: Vec<[i8; ESTIMATED]>,
    before: Vec<[i8; ESTIMATED]>,
    last_good_row: usize,
}

impl Smoothing {
    /// Smooths row `row` of the `rows` blocks of a component in the `mcu_row`-th row of MCUs of `mcu_rows`;
    /// gives each block with its column.
    pub fn row(
        &self,
        coefficients: &Coefficients,
        (index, component): (usize, &Component),
        (mcu_row, mcu_rows): (usize, usize),
        (row, rows): (usize, usize),
        mut each: impl FnMut(usize, &Block),
    ) {
        let Some(quant) = component.quant else { return };
        let known = match mcu_row > self.last_good_row {
            true => &self.before[index],
            false => &self.now[index],
        };
        // Where the neighbours end is reckoned in rows of this height, as libjpeg does.
        let (here, end) = (mcu_row * rows + row, rows * mcu_rows);
        let at = mcu_row * component.v + row;
        let above = if here > 0 { at - 1 } else { at };
        let above2 = if here > 1 { at - 2 } else { above };
        let below = if here + 1 < end { at + 1 } else { at };
        let below2 = if here + 2 < end { at + 2 } else { below };
        let lines = [above2, above, at, below, below2].map(|row| coefficients.row(index, row));
        let last = component.blocks_wide - 1;
        let mut window = [[0i32; 5]; 5];
        for (x, block) in lines[2].iter().enumerate().take(component.blocks_wide) {
            for (out, line) in window.iter_mut().zip(lines) {
                for (i, value) in out.iter_mut().enumerate() {
                    let column = (x + i).saturating_sub(2).min(last);
                    *value = line[column][0].into();
                }
            }
            let mut block = *block;
            smooth(&mut block, &window, known, &quant);
            each(x, &block);
        }
    }
}

fn smooth(block: &mut Block, window: &Weights, known: &[i8; ESTIMATED], quant: &[u16; 64]) {
    let from_dc = known[1..].iter().all(|&low| low == UNKNOWN);
    let estimates: &[(usize, Weights)] = if from_dc { &FROM_DC } else { &BESIDE_AC };
    for (k, weights) in estimates {
        let at = usize::from(NATURAL[*k]);
        let low = known[*k];
        if *k > 0 && (low == 0 || block[at] != 0) {
            continue;
        }
        let pairs = weights.as_flattened().iter().zip(window.as_flattened());
        let sum: i32 = pairs.map(|(weight, dc)| weight * dc).sum();
        let sum = i64::from(quant[0]) * i64::from(sum);
        let step = i64::from(quant[at]);
        let mut estimate = ((step << 7) + sum.abs()) / (step << 8);
        if *k > 0 && low > 0 {
            // More would have been sent.
            estimate = estimate.min((1 << low) - 1);
        }
        block[at] = (estimate * sum.signum()) as i16;
    }
}
