//! How activations become 8-bit integers.

use std::hash::{Hash, Hasher};

/// How the input of a convolution is quantised: `x` is taken for `(q - zero_point) * scale`, where `q` is
/// `round(x * (1 / scale)) + zero_point`, to the nearest even, between 0 and 255.
#[derive(Clone, Copy, Debug)]
pub struct InputScale {
    /// One step of `q`; finite and above zero.
    pub scale: f32,
    /// What 0.0 becomes.
    pub zero_point: u8,
}

impl InputScale {
    /// The same bits, which are to be compared and hashed.
    fn bits(self) -> (u32, u8) {
        (self.scale.to_bits(), self.zero_point)
    }

    /// Whether one step of it is a number that inputs can be divided by.
    pub fn is_valid(self) -> bool {
        self.scale > 0.0 && self.scale.is_finite() && self.scale.recip().is_finite()
    }
}

impl PartialEq for InputScale {
    fn eq(&self, other: &Self) -> bool {
        self.bits() == other.bits()
    }
}

impl Eq for InputScale {}

impl Hash for InputScale {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bits().hash(state);
    }
}
