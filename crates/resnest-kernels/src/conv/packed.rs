//! A convolution's weights, packed for one instruction set and algorithm.

use super::algorithm::Algorithm;
use super::depthwise::Depthwise;
use super::direct::Direct;
use super::dot::DotConv;
use super::geometry::Geometry;
use super::narrow::Narrow;
use super::operands::WordFormat;
use super::origin::{Origin, ReadWeights};
use super::winograd::Winograd;
use crate::arch::Isa;
use crate::error::{Error, check_len};
use crate::memory::buffer::{Aligned, bytes_of};
use crate::memory::layer::{BUFFER_ALIGN, MappedLayer};
use crate::shape::{ConvSpec, Nhwc};
use std::io::{self, Write};

/// A convolution with its weights packed for one instruction set and algorithm.
pub struct PackedConv {
    spec: ConvSpec,
    isa: Isa,
    algorithm: Algorithm,
    pub(super) packed: Packed,
}

/// The weights as an algorithm reads them.
pub(super) enum Packed {
    Direct(Direct),
    Dot(DotConv),
    Depthwise(Depthwise),
    Narrow(Narrow),
    Winograd(Winograd),
}

impl std::fmt::Debug for PackedConv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PackedConv")
            .field("spec", &self.spec)
            .field("isa", &self.isa)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl PackedConv {
    /// Packs `weight` (`[out][in / groups][k][k]`) and `bias` (`[out]`, a folded norm included).
    ///
    /// # Errors
    /// For a specification that makes no sense and slices that do not fit it.
    pub fn new(
        isa: Isa,
        spec: ConvSpec,
        weight: &[f32],
        bias: Option<&[f32]>,
        algorithm: Algorithm,
    ) -> Result<Self, Error> {
        spec.validate()?;
        check_len("weight", weight.len(), spec.weight_len())?;
        if let Some(bias) = bias {
            check_len("bias", bias.len(), spec.out_channels)?;
        }
        let weights = ReadWeights { weight, bias };
        Self::pack(isa, spec, algorithm, Origin::Read(weights))
    }

    /// Takes a convolution of these weights as it was packed before for the same instruction set and algorithm:
    /// [`write_to`](Self::write_to) wrote it.
    ///
    /// # Errors
    /// For a specification that makes no sense, and a layer that has not its size. What its values are is not looked at.
    pub fn mapped(
        isa: Isa,
        spec: ConvSpec,
        algorithm: Algorithm,
        layer: MappedLayer,
    ) -> Result<Self, Error> {
        spec.validate()?;
        Self::pack(isa, spec, algorithm, Origin::Mapped(layer))
    }

    fn pack(
        isa: Isa,
        spec: ConvSpec,
        algorithm: Algorithm,
        mut origin: Origin,
    ) -> Result<Self, Error> {
        let from = &mut origin;
        let packed = match algorithm.form(&spec) {
            _ if !algorithm.supports(&spec) => {
                let problem = format!("{} needs {}", algorithm.name(), algorithm.needs());
                return Err(Error::spec("algorithm", problem));
            }
            Some(form) => {
                let how = (form, algorithm.element());
                Packed::Winograd(Winograd::pack(isa, &spec, how, from)?)
            }
            None if algorithm.element().is_some() => {
                Packed::Dot(DotConv::pack(isa, &spec, algorithm, from)?)
            }
            None if spec.group_in() == 1 && spec.group_out() == 1 && spec.groups > 1 => {
                Packed::Depthwise(Depthwise::pack(&spec, from)?)
            }
            None if Narrow::fits(isa, &spec) => Packed::Narrow(Narrow::pack(isa, &spec, from)?),
            None => Packed::Direct(Direct::pack(isa, &spec, from)?),
        };
        origin.end()?;
        Ok(PackedConv {
            spec,
            isa,
            algorithm,
            packed,
        })
    }

    /// Writes what [`mapped`](Self::mapped) takes: every buffer, filled up with zeros to a multiple of 64 bytes. Values
    /// have this machine's byte order.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        for buffer in self.buffers() {
            let bytes = bytes_of(buffer.as_slice());
            let filled = bytes.len().next_multiple_of(BUFFER_ALIGN);
            out.write_all(bytes)?;
            out.write_all(&[0; BUFFER_ALIGN][..filled - bytes.len()])?;
        }
        Ok(())
    }

    /// All that is packed, in the order of packing.
    fn buffers(&self) -> Vec<&Aligned> {
        match &self.packed {
            Packed::Direct(direct) => direct.buffers().into(),
            Packed::Dot(dot) => dot.buffers().into(),
            Packed::Depthwise(depthwise) => depthwise.buffers().into(),
            Packed::Narrow(narrow) => narrow.buffers().into(),
            Packed::Winograd(winograd) => winograd.buffers().into(),
        }
    }

    /// What it computes.
    pub fn spec(&self) -> &ConvSpec {
        &self.spec
    }

    /// For which instruction set it is packed.
    pub(crate) fn isa(&self) -> Isa {
        self.isa
    }

    /// How it computes it.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Bytes of packed weights.
    pub fn bytes(&self) -> usize {
        let values: usize = self.buffers().into_iter().map(Aligned::len).sum();
        values * size_of::<f32>()
    }

    /// Whether it can add to its output in place ([`ConvOutput::AddTo`](super::ConvOutput::AddTo)): direct
    /// convolutions that make each sum in one go.
    pub fn adds_in_place(&self) -> bool {
        match &self.packed {
            Packed::Direct(direct) => direct.has_one_block(),
            Packed::Dot(_) => true,
            _ => false,
        }
    }

    /// How it reads a map that another convolution has rounded for it, if it reads such: in bf16 or in integers, by the
    /// definition, with whole words of every group's channels.
    pub fn word_format(&self) -> Option<WordFormat> {
        match &self.packed {
            Packed::Dot(dot) => dot.word_format(&self.spec),
            _ => None,
        }
    }

    /// Whether it can round what it puts out as `next` would ([`ConvOutput::For`](super::ConvOutput::For)): both compute in
    /// bf16 or both in integers, by the definition.
    pub fn rounds_for(&self, next: &PackedConv) -> bool {
        let format = next.word_format();
        format.is_some_and(|format| self.writes_words(format))
    }

    /// The same of a format.
    pub(super) fn writes_words(&self, format: WordFormat) -> bool {
        match &self.packed {
            Packed::Dot(dot) => dot.writes_words(&self.spec, format),
            _ => false,
        }
    }

    /// One application, from pixel to pixel as many values as given.
    pub(super) fn geometry(
        &self,
        input: Nhwc,
        x_pixel: usize,
        out_pixel: usize,
    ) -> Result<Geometry, Error> {
        Ok(Geometry {
            isa: self.isa,
            spec: self.spec,
            input,
            output: self.spec.output(input)?,
            x_pixel,
            out_pixel,
            x_plane: 0,
            out_plane: 0,
        })
    }
}
