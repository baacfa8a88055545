//! Shapes: of activations and of convolutions.

use std::fmt;

use crate::error::{Error, check_len};

/// The shape of a channels-last activation; memory is `[n][h][w][c]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Nhwc {
    /// Images.
    pub n: usize,
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
    /// Channels.
    pub c: usize,
}

impl Nhwc {
    /// The shape with these sides.
    pub fn new(n: usize, h: usize, w: usize, c: usize) -> Self {
        Nhwc { n, h, w, c }
    }

    /// Values in all.
    pub fn len(self) -> usize {
        self.n * self.h * self.w * self.c
    }

    /// Whether there is no value.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Pixels in all images.
    pub fn pixels(self) -> usize {
        self.n * self.h * self.w
    }
}

/// Some neighbouring channels of every pixel of a map: a map of its own, with gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Channels {
    pub first: usize,
    /// Channels of the whole map: from one pixel to the next.
    pub of: usize,
}

impl Channels {
    /// All `of` of them.
    pub fn all(of: usize) -> Self {
        Channels { first: 0, of }
    }

    /// Fails unless there are `count` channels and the map holds `pixels` pixels in `len` values.
    pub fn check(
        self,
        name: &'static str,
        count: usize,
        pixels: usize,
        len: usize,
    ) -> Result<(), Error> {
        if self.first + count > self.of {
            let problem = format!("{} has no {count} channels from {} on", self.of, self.first);
            return Err(Error::spec(name, problem));
        }
        check_len(name, len, pixels * self.of)
    }
}

/// A square 2-D convolution, in PyTorch's terms; weights are `[out][in / groups][k][k]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvSpec {
    /// Input channels, of all groups.
    pub in_channels: usize,
    /// Output channels, of all groups.
    pub out_channels: usize,
    /// Side of the kernel.
    pub kernel: usize,
    /// Step between output pixels.
    pub stride: usize,
    /// Zeros on each side.
    pub padding: usize,
    /// Distance between taps.
    pub dilation: usize,
    /// Groups.
    pub groups: usize,
}

/// `conv 3x3 stride 2 groups 8`: what a convolution usually has, one group and no stride, is left out.
impl fmt::Display for ConvSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conv {0}x{0}", self.kernel)?;
        for (name, value) in [
            ("stride", self.stride),
            ("dilation", self.dilation),
            ("groups", self.groups),
        ] {
            if value != 1 {
                write!(f, " {name} {value}")?;
            }
        }
        Ok(())
    }
}

impl ConvSpec {
    /// Stride 1, dilation 1, one group, "same" padding for odd kernels.
    pub fn new(in_channels: usize, out_channels: usize, kernel: usize) -> Self {
        ConvSpec {
            in_channels,
            out_channels,
            kernel,
            stride: 1,
            padding: kernel.saturating_sub(1) / 2,
            dilation: 1,
            groups: 1,
        }
    }

    /// With another stride.
    pub fn stride(mut self, stride: usize) -> Self {
        self.stride = stride;
        self
    }

    /// With another padding.
    pub fn padding(mut self, padding: usize) -> Self {
        self.padding = padding;
        self
    }

    /// With another dilation; the padding stays.
    pub fn dilation(mut self, dilation: usize) -> Self {
        self.dilation = dilation;
        self
    }

    /// With another number of groups.
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// Input channels of one group.
    pub fn group_in(&self) -> usize {
        self.in_channels / self.groups
    }

    /// Output channels of one group.
    pub fn group_out(&self) -> usize {
        self.out_channels / self.groups
    }

    /// Taps of the kernel.
    pub fn taps(&self) -> usize {
        self.kernel * self.kernel
    }

    /// Values in the weights.
    pub fn weight_len(&self) -> usize {
        self.out_channels * self.group_in() * self.taps()
    }

    /// Multiplications and additions pairs for this input.
    pub fn macs(&self, input: Nhwc) -> Result<usize, Error> {
        Ok(self.output(input)?.pixels() * self.weight_len())
    }

    /// Fails, naming the field, unless such a convolution exists.
    pub fn validate(&self) -> Result<(), Error> {
        for (field, value) in [
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
            ("kernel", self.kernel),
            ("stride", self.stride),
            ("dilation", self.dilation),
            ("groups", self.groups),
        ] {
            if value == 0 {
                return Err(Error::spec(field, "must be at least 1"));
            }
        }
        for (field, value) in [
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
        ] {
            if !value.is_multiple_of(self.groups) {
                let problem = format!("{value} is not a multiple of groups = {}", self.groups);
                return Err(Error::spec(field, problem));
            }
        }
        Ok(())
    }

    /// The output's shape for an input.
    ///
    /// # Errors
    /// When the channels differ or the kernel is larger than the padded input.
    pub fn output(&self, input: Nhwc) -> Result<Nhwc, Error> {
        if input.c != self.in_channels {
            let problem = format!(
                "the input has {}, the convolution {}",
                input.c, self.in_channels
            );
            return Err(Error::spec("in_channels", problem));
        }
        Ok(Nhwc {
            n: input.n,
            h: self.output_side(input.h)?,
            w: self.output_side(input.w)?,
            c: self.out_channels,
        })
    }

    fn output_side(&self, side: usize) -> Result<usize, Error> {
        let reach = self.dilation * (self.kernel - 1) + 1;
        (side + 2 * self.padding)
            .checked_sub(reach)
            .map(|room| room / self.stride + 1)
            .ok_or_else(|| {
                let problem = format!(
                    "reaches over {reach} pixels of a side of {side} padded by {}",
                    self.padding
                );
                Error::spec("kernel", problem)
            })
    }
}
