//! The one way to apply a convolution.

use super::geometry::Geometry;
use super::operands::{
    ConvInput, ConvOutput, Epilogue, MapChannels, Source, TileEpilogue, WeightedSplits,
};
use super::packed::{Packed, PackedConv};
use super::sums::sum_columns;
use crate::arch::dot::Rounding;
use crate::error::{Error, check_len};
use crate::layout::copy_channels;
use crate::memory::buffer::with_scratch;
use crate::memory::map::Map;
use crate::memory::share::SharedMut;
use crate::shape::{Channels, Nhwc};
use crate::tuning::SPLIT_PIXELS_FROM;

impl PackedConv {
    /// Convolves `input` and writes the result, of the shape [`ConvSpec::output`](crate::ConvSpec::output), to
    /// `output`. Returns the new map of [`ConvOutput::New`], an empty one for the others.
    ///
    /// ```
    /// use resnest_kernels::{Algorithm, ConvInput, ConvOutput, ConvSpec, Epilogue, Isa, Nhwc, PackedConv};
    ///
    /// let spec = ConvSpec::new(2, 1, 1); // 1x1, 2 channels to 1
    /// let conv = PackedConv::new(Isa::detect()?, spec, &[1.0, 2.0], Some(&[0.5]), Algorithm::Direct)?;
    /// let x = ConvInput::Map(&[1.0, 2.0, -3.0, 1.0], Nhwc::new(1, 1, 2, 2)); // two pixels
    /// let y = conv.run(x, ConvOutput::New, Epilogue::relu())?;
    /// assert_eq!(y, [5.5, 0.0]);
    /// # Ok::<(), resnest_kernels::Error>(())
    /// ```
    ///
    /// # Errors
    /// When a slice or a shape does not fit, and for an output that this convolution cannot write
    /// ([`Self::adds_in_place`]).
    pub fn run(
        &self,
        input: ConvInput,
        output: ConvOutput,
        epilogue: Epilogue,
    ) -> Result<Map, Error> {
        let all = Channels::all;
        match input {
            ConvInput::Map(x, shape) => self.run_map((x, all(shape.c)), shape, output, epilogue),
            ConvInput::Channels { map, shape, first } => {
                let read = Nhwc {
                    c: self.spec().in_channels,
                    ..shape
                };
                let channels = Channels { first, of: shape.c };
                self.run_map((map, channels), read, output, epilogue)
            }
            ConvInput::Words(x, shape) => {
                let format = self.word_format();
                let format = format.ok_or_else(|| Error::spec("input", NO_WORDS))?;
                let g = self.geometry(shape, format.pixel_words(), self.spec().out_channels)?;
                check_len("input", x.len(), shape.pixels() * format.pixel_words())?;
                self.write(Source::Words(x), g, output, epilogue)
            }
            ConvInput::WeightedSplits(splits) => {
                splits.check()?;
                if self.makes_weighted_sums(splits.shape) {
                    let g =
                        self.geometry(splits.shape, splits.shape.c, self.spec().out_channels)?;
                    return self.write(Source::WeightedSplits(splits), g, output, epilogue);
                }
                self.run_stored(splits, output, epilogue)
            }
        }
    }

    /// Whether weighted sums are made as they are read: each pixel by one task.
    fn makes_weighted_sums(&self, input: Nhwc) -> bool {
        let spec = self.spec();
        let pointwise = (spec.kernel, spec.stride, spec.padding, spec.groups) == (1, 1, 0, 1);
        let direct = matches!(self.packed, Packed::Direct(_) | Packed::Dot(_));
        pointwise && direct && input.pixels() >= SPLIT_PIXELS_FROM
    }

    /// Convolves weighted sums that are all made first.
    fn run_stored(
        &self,
        splits: WeightedSplits,
        output: ConvOutput,
        epilogue: Epilogue,
    ) -> Result<Map, Error> {
        let shape = splits.shape;
        with_scratch(shape.len(), |sums| {
            splits.sum(self.isa(), sums);
            self.run(ConvInput::Map(sums, shape), output, epilogue)
        })
    }

    /// Convolves the channels `from` of a map, which are a map of shape `input`.
    fn run_map(
        &self,
        (x, from): (&[f32], Channels),
        input: Nhwc,
        output: ConvOutput,
        epilogue: Epilogue,
    ) -> Result<Map, Error> {
        let g = self.geometry(input, from.of, self.spec().out_channels)?;
        from.check("input", input.c, input.pixels(), x.len())?;
        let x = &x[from.first.min(x.len())..];
        self.write(Source::Map(x), g, output, epilogue)
    }

    /// Writes to the output; `g` is of one without gaps.
    fn write(
        &self,
        source: Source,
        mut g: Geometry,
        output: ConvOutput,
        mut epilogue: Epilogue,
    ) -> Result<Map, Error> {
        match output {
            ConvOutput::New => {
                if let Some(residual) = epilogue.residual {
                    check_len("residual", residual.len(), g.output.len())?;
                }
                self.packed.run_to_new(source, &g, epilogue)
            }
            ConvOutput::Channels(MapChannels { mut map, first, of }) => {
                Channels { first, of }.check("output", g.output.c, g.output.pixels(), map.len())?;
                if let Some(residual) = &mut epilogue.residual {
                    check_len("residual", residual.len(), map.len())?;
                    *residual = &residual[first.min(map.len())..];
                }
                g.out_pixel = of;
                let mut out = map.after(first.min(map.len()));
                self.packed
                    .run(source, &g, &mut out, How::default(), epilogue)?;
                Ok(Map::default())
            }
            ConvOutput::For(format) => {
                if !self.writes_words(format) {
                    return Err(Error::spec("output", NO_WORDS));
                }
                if epilogue.residual.is_some() || epilogue.sums.is_some() {
                    return Err(Error::spec("output", "words have no residual and no sums"));
                }
                g.out_pixel = format.pixel_words();
                let rounding = Some(format.rounding);
                // SAFETY: every pixel's words are written: they hold whole panels, and nothing else.
                unsafe {
                    Map::written_by(g.output.pixels() * g.out_pixel, |out| {
                        self.packed.run(
                            source,
                            &g,
                            out,
                            How {
                                rounding,
                                ..How::default()
                            },
                            epilogue,
                        )
                    })
                }
            }
            ConvOutput::AddTo(out) => {
                check_len("output", out.len(), g.output.len())?;
                if !self.adds_in_place() || epilogue.residual.is_some() {
                    let problem = "only a direct convolution with its sums in one block adds to its output, \
                         and no second residual";
                    return Err(Error::spec("output", problem));
                }
                let mut out = SharedMut::new(out);
                let how = How {
                    accumulate: true,
                    ..How::default()
                };
                self.packed.run(source, &g, &mut out, how, epilogue)?;
                Ok(Map::default())
            }
        }
    }
}

/// How an output is written, if not as the sums of f32.
#[derive(Clone, Copy, Default)]
struct How {
    /// Added to what `out` holds, which direct convolutions of one block can.
    accumulate: bool,
    /// As words, rounded so.
    rounding: Option<Rounding>,
}

/// Where words meet a convolution that knows none.
const NO_WORDS: &str =
    "words go from one convolution of bf16 or of integers to another of the same";

impl Packed {
    /// Writes a new map.
    ///
    /// # Errors
    /// Those of [`Self::run`].
    pub(super) fn run_to_new(
        &self,
        source: Source,
        g: &Geometry,
        epilogue: Epilogue,
    ) -> Result<Map, Error> {
        // SAFETY: every algorithm writes each pixel of each output channel.
        unsafe {
            Map::written_by(g.output.len(), |out| {
                self.run(source, g, out, How::default(), epilogue)
            })
        }
    }

    /// Applies the algorithm.
    ///
    /// # Errors
    /// For sums of the wrong length, and where an algorithm cannot read or write what it should.
    fn run(
        &self,
        source: Source,
        g: &Geometry,
        out: &mut SharedMut,
        how: How,
        mut epilogue: Epilogue,
    ) -> Result<(), Error> {
        if let Some(sums) = epilogue.sums.as_deref_mut() {
            check_len("sums", sums.len(), g.output.n * g.output.c)?;
            sums.fill(0.0);
        }
        if g.output.is_empty() {
            return Ok(());
        }
        let tile = TileEpilogue {
            relu: epilogue.relu,
            residual: epilogue.residual,
            accumulate: how.accumulate,
            rounding: how.rounding,
        };
        match (self, source) {
            (Packed::Dot(dot), _) => dot.run(g, source, out, tile, epilogue.sums),
            (_, Source::Words(_)) => return Err(Error::spec("input", NO_WORDS)),
            (Packed::Direct(direct), _) => direct.run(g, source, out, tile, epilogue.sums),
            (_, Source::WeightedSplits(_)) => {
                let problem = "only direct 1x1 convolutions read weighted sums";
                return Err(Error::spec("algorithm", problem));
            }
            (Packed::Winograd(winograd), Source::Map(x)) => {
                winograd.run(g, x, out, tile, epilogue.sums);
            }
            (Packed::Depthwise(_) | Packed::Narrow(_), Source::Map(x)) if !g.is_dense() => {
                return self.run_by_copies(x, g, out, epilogue);
            }
            (Packed::Depthwise(depthwise), Source::Map(x)) => {
                depthwise.run(g, x, out, tile);
                add_up(g, out, epilogue.sums);
            }
            (Packed::Narrow(narrow), Source::Map(x)) => {
                narrow.run(g, x, out, tile);
                add_up(g, out, epilogue.sums);
            }
        }
        Ok(())
    }

    /// For algorithms that know no gaps between pixels.
    fn run_by_copies(
        &self,
        x: &[f32],
        g: &Geometry,
        out: &mut SharedMut,
        epilogue: Epilogue,
    ) -> Result<(), Error> {
        if epilogue.residual.is_some() {
            let problem = "this convolution adds none to some channels of a map";
            return Err(Error::spec("residual", problem));
        }
        let (input, output) = (g.input, g.output);
        let dense = Geometry {
            x_pixel: input.c,
            out_pixel: output.c,
            ..*g
        };
        with_scratch(input.len(), |dense_x| {
            copy_channels(
                (x, g.x_pixel),
                input,
                (&mut SharedMut::new(dense_x), input.c),
            );
            with_scratch(output.len(), |dense_out| {
                let shared = &mut SharedMut::new(dense_out);
                self.run(
                    Source::Map(dense_x),
                    &dense,
                    shared,
                    How::default(),
                    epilogue,
                )?;
                copy_channels((dense_out, output.c), output, (out, g.out_pixel));
                Ok(())
            })
        })
    }
}

/// The sums of an output without gaps that has been written.
fn add_up(g: &Geometry, out: &mut SharedMut, sums: Option<&mut [f32]>) {
    if let Some(sums) = sums {
        // SAFETY: all tasks have ended and have written everything.
        sum_columns(g, unsafe { out.written(0, g.output.len()) }, sums);
    }
}
