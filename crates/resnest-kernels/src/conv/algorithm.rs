//! The algorithms for a convolution.

use crate::arch::dot::Element;
use crate::arch::form::Form;
use crate::quantise::InputScale;
use crate::shape::ConvSpec;
use crate::tuning::JOIN_TAPS_BELOW;

/// How a convolution is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// Every product of the definition.
    Direct,
    /// F(2x2, 3x3): 2.25 times fewer products; 3x3 whose stride divides its dilation. 3x3 of stride 2
    /// without dilation have 1.44 times fewer.
    WinogradF2,
    /// F(4x4, 3x3): 4 times fewer products, 1.78 with that stride, some more rounding.
    WinogradF4,
    /// F(5x5, 3x3): 4.6 times fewer products, half as much rounding again; stride divides dilation.
    WinogradF5,
    /// F(6x6, 3x3): 5 times fewer products, twice the rounding of F(4x4); stride divides dilation.
    WinogradF6,
    /// Every product of the definition, of factors rounded to bf16; sums in f32.
    DirectBf16,
    /// F(2x2, 3x3) with transformed inputs and weights rounded to bf16; stride divides dilation.
    WinogradF2Bf16,
    /// F(4x4, 3x3) likewise: twice the error of direct bf16 on a network's maps, four times on noise.
    WinogradF4Bf16,
    /// Every product of the definition, of 8-bit integers; sums are exact.
    DirectInt8(InputScale),
}

impl Algorithm {
    /// All that need no calibration.
    pub const ALL: [Algorithm; 8] = [
        Algorithm::Direct,
        Algorithm::WinogradF2,
        Algorithm::WinogradF4,
        Algorithm::WinogradF5,
        Algorithm::WinogradF6,
        Algorithm::DirectBf16,
        Algorithm::WinogradF2Bf16,
        Algorithm::WinogradF4Bf16,
    ];

    /// What it is called: `direct`, `winograd-f2x2`, `winograd-f4x4`, `winograd-f5x5`,
    /// `winograd-f6x6`, `direct-bf16`, `winograd-f2x2-bf16`, `winograd-f4x4-bf16`, `direct-int8`.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Direct => "direct",
            Algorithm::WinogradF2 => "winograd-f2x2",
            Algorithm::WinogradF4 => "winograd-f4x4",
            Algorithm::WinogradF5 => "winograd-f5x5",
            Algorithm::WinogradF6 => "winograd-f6x6",
            Algorithm::DirectBf16 => "direct-bf16",
            Algorithm::WinogradF2Bf16 => "winograd-f2x2-bf16",
            Algorithm::WinogradF4Bf16 => "winograd-f4x4-bf16",
            Algorithm::DirectInt8(_) => "direct-int8",
        }
    }

    /// Whether it can compute such a convolution.
    pub fn supports(self, spec: &ConvSpec) -> bool {
        match self {
            Algorithm::Direct => true,
            Algorithm::DirectBf16 => multiplies_words(spec) || joins_rows(spec),
            Algorithm::DirectInt8(_) => multiplies_words(spec),
            _ => {
                let fits = self.element().is_none() || multiplies_words(spec);
                fits && self.form(spec).is_some()
            }
        }
    }

    /// Which convolutions it can compute, in words: "a 3x3 kernel whose stride divides its dilation".
    pub fn needs(self) -> &'static str {
        match self {
            Algorithm::Direct => "any convolution",
            Algorithm::WinogradF2 | Algorithm::WinogradF4 => {
                "a 3x3 kernel whose stride divides its dilation, or of stride 2 without dilation"
            }
            Algorithm::WinogradF5 | Algorithm::WinogradF6 => {
                "a 3x3 kernel whose stride divides its dilation"
            }
            Algorithm::DirectBf16 => {
                "groups of more than 16 input channels, one group of 8 or more, or a first layer whose windows begin an even \
                 number of values apart"
            }
            Algorithm::DirectInt8(_) => {
                "groups of more than 16 input channels, or one group of 8 or more"
            }
            Algorithm::WinogradF2Bf16 | Algorithm::WinogradF4Bf16 => {
                "a 3x3 kernel whose stride divides its dilation, of groups of more than 16 input channels or one of 8 or more"
            }
        }
    }

    /// In what its factors are given, if they are not f32.
    pub(crate) fn element(self) -> Option<Element> {
        match self {
            Algorithm::DirectBf16 | Algorithm::WinogradF2Bf16 | Algorithm::WinogradF4Bf16 => {
                Some(Element::Bf16)
            }
            Algorithm::DirectInt8(_) => Some(Element::Int8),
            _ => None,
        }
    }

    /// The size of Winograd's algorithm that it would be.
    pub(crate) fn form(self, spec: &ConvSpec) -> Option<Form> {
        if spec.kernel != 3 {
            return None;
        }
        let strided = (spec.stride, spec.dilation) == (2, 1);
        match self {
            Algorithm::WinogradF2 if strided => Some(Form::S2),
            Algorithm::WinogradF4 if strided => Some(Form::S4),
            _ if !spec.dilation.is_multiple_of(spec.stride) => None,
            Algorithm::Direct | Algorithm::DirectBf16 | Algorithm::DirectInt8(_) => None,
            Algorithm::WinogradF2 => Some(Form::F2),
            Algorithm::WinogradF4 => Some(Form::F4),
            Algorithm::WinogradF5 => Some(Form::F5),
            Algorithm::WinogradF6 => Some(Form::F6),
            Algorithm::WinogradF2Bf16 => Some(Form::F2),
            Algorithm::WinogradF4Bf16 => Some(Form::B4),
        }
    }
}

/// Whether there are kernels of low precision for it: of few channels a group, words would be mostly empty.
fn multiplies_words(spec: &ConvSpec) -> bool {
    spec.group_in() >= JOIN_TAPS_BELOW && (spec.groups == 1 || spec.group_in() > 16)
}

/// Whether the taps of a row of the kernel can be read as one, as pairs of bf16: few channels, of which every window
/// begins with a pair.
pub(super) fn joins_rows(spec: &ConvSpec) -> bool {
    let few = spec.groups == 1 && spec.in_channels < JOIN_TAPS_BELOW;
    few && spec.dilation == 1 && (spec.stride * spec.in_channels).is_multiple_of(2)
}
