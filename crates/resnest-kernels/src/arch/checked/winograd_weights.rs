//! Winograd's transform of the weights on an instruction set. Its loops are safe ones: there is nothing to check.

use crate::arch::isa::Isa;
pub(crate) use crate::arch::kernels::winograd_weights::Weights;

impl Weights<'_> {
    /// Writes them to `u`.
    pub fn transform(&mut self, isa: Isa) {
        // SAFETY: the Isa proves the CPU has it; the loops are safe ones.
        unsafe { (isa.kernels().winograd_weights)(self) }
    }
}
