//! Split attention (ResNeSt's paper, section 3; timm's `SplitAttn`), fused.
//!
//! Selective kernels (Li et al. 2019; timm's `SelectiveKernel`) are the same with splits from
//! convolutions of their own, and come to the same kernel.

use crate::arch::Isa;
use crate::conv::{
    Algorithm, ConvInput, ConvOutput, Epilogue, MapChannels, PackedConv, WeightedSplits,
};
use crate::error::{Error, check_len};
use crate::memory::buffer::with_scratch;
use crate::memory::map::Map;
use crate::shape::{ConvSpec, Nhwc};
use std::sync::Arc;

/// The weights of a split attention, norms folded: timm's `conv`+`bn0`, `fc1`+`bn1`, `fc2`.
#[derive(Clone, Copy, Debug)]
pub struct SplitAttentionWeights<'a> {
    /// The convolution that makes the splits, `radix * channels` outputs, radix-major.
    pub conv: ConvSpec,
    /// Splits, at least 1.
    pub radix: usize,
    /// Groups of the two small layers.
    pub cardinality: usize,
    /// Channels between them.
    pub attention_channels: usize,
    /// `[radix * channels][in / groups][k][k]`
    pub conv_weight: &'a [f32],
    /// `[radix * channels]`
    pub conv_bias: Option<&'a [f32]>,
    /// `[attention_channels][channels / cardinality]`
    pub fc1_weight: &'a [f32],
    /// `[attention_channels]`
    pub fc1_bias: Option<&'a [f32]>,
    /// `[radix * channels][attention_channels / cardinality]`
    pub fc2_weight: &'a [f32],
    /// `[radix * channels]`
    pub fc2_bias: Option<&'a [f32]>,
}

const LAYERS_DIFFER: &str = "its layers do not fit each other";

/// Channels of a split of what `conv` puts out.
fn split_channels(conv: &ConvSpec, radix: usize) -> Result<usize, Error> {
    let outputs = conv.out_channels;
    if radix == 0 || !outputs.is_multiple_of(radix) {
        let problem = format!("{radix} does not divide {outputs} channels");
        return Err(Error::spec("radix", problem));
    }
    Ok(outputs / radix)
}

/// A split attention with its weights packed.
#[derive(Clone, Debug)]
pub struct PackedSplitAttention {
    isa: Isa,
    /// One that makes all splits, or one for each.
    convs: Vec<Arc<PackedConv>>,
    /// Each of several convolutions reads channels of its own.
    split_input: bool,
    fc1: Arc<PackedConv>,
    fc2: Arc<PackedConv>,
    radix: usize,
    cardinality: usize,
}

impl PackedSplitAttention {
    /// Packs the three layers, the convolution for `algorithm`.
    ///
    /// # Errors
    /// When radix or cardinality do not divide the channels, or a slice does not fit.
    pub fn new(isa: Isa, w: SplitAttentionWeights, algorithm: Algorithm) -> Result<Self, Error> {
        let outputs = w.conv.out_channels;
        let channels = split_channels(&w.conv, w.radix)?;
        let fc1 = ConvSpec::new(channels, w.attention_channels, 1).groups(w.cardinality);
        let fc2 = ConvSpec::new(w.attention_channels, outputs, 1).groups(w.cardinality);
        let direct = Algorithm::Direct;
        let conv = PackedConv::new(isa, w.conv, w.conv_weight, w.conv_bias, algorithm)?;
        let fc1 = PackedConv::new(isa, fc1, w.fc1_weight, w.fc1_bias, direct)?;
        let fc2 = PackedConv::new(isa, fc2, w.fc2_weight, w.fc2_bias, direct)?;
        Self::of_layers(conv, w.radix, [fc1, fc2])
    }

    /// The same of layers that are packed: the convolution that makes `radix` splits, `fc1` and `fc2`, whose groups are the
    /// cardinality.
    ///
    /// # Errors
    /// When the radix does not divide the channels, or the layers do not fit each other.
    pub fn of_layers(
        conv: PackedConv,
        radix: usize,
        [fc1, fc2]: [PackedConv; 2],
    ) -> Result<Self, Error> {
        let channels = split_channels(conv.spec(), radix)?;
        let (hidden, cardinality) = (fc1.spec().out_channels, fc1.spec().groups);
        let linear = |inputs, outputs| ConvSpec::new(inputs, outputs, 1).groups(cardinality);
        if *fc1.spec() != linear(channels, hidden)
            || *fc2.spec() != linear(hidden, conv.spec().out_channels)
        {
            return Err(Error::spec("split attention", LAYERS_DIFFER));
        }
        Ok(PackedSplitAttention {
            isa: conv.isa(),
            convs: vec![Arc::new(conv)],
            split_input: false,
            fc1: Arc::new(fc1),
            fc2: Arc::new(fc2),
            radix,
            cardinality,
        })
    }

    /// A selective kernel: a split from each of the convolutions `paths`, which read the same map or,
    /// with `split_input`, neighbouring parts of its channels; timm's `fc_reduce` and `fc_select`.
    ///
    /// # Errors
    /// Without a path, and when the layers' channels do not fit each other.
    pub fn selective(
        paths: Vec<Arc<PackedConv>>,
        split_input: bool,
        [fc1, fc2]: [Arc<PackedConv>; 2],
    ) -> Result<Self, Error> {
        let Some(first) = paths.first() else {
            return Err(Error::spec("selective kernel", "there is no path"));
        };
        let (isa, radix) = (first.isa(), paths.len());
        let (ins, outs) = (first.spec().in_channels, first.spec().out_channels);
        let alike = |path: &Arc<PackedConv>| {
            (path.spec().in_channels, path.spec().out_channels) == (ins, outs)
        };
        let linear =
            |fc: &PackedConv, inputs, outputs| *fc.spec() == ConvSpec::new(inputs, outputs, 1);
        let hidden = fc1.spec().out_channels;
        if !paths.iter().all(alike)
            || !linear(&fc1, outs, hidden)
            || !linear(&fc2, hidden, radix * outs)
        {
            return Err(Error::spec("selective kernel", LAYERS_DIFFER));
        }
        Ok(PackedSplitAttention {
            isa,
            convs: paths,
            split_input,
            fc1,
            fc2,
            radix,
            cardinality: 1,
        })
    }

    /// The convolutions that make the splits: one for all, or one for each.
    pub fn convs(&self) -> impl Iterator<Item = &PackedConv> {
        self.convs.iter().map(|conv| &**conv)
    }

    /// Splits.
    pub fn radix(&self) -> usize {
        self.radix
    }

    /// Bytes of packed weights.
    pub fn bytes(&self) -> usize {
        let convs = self.convs().map(PackedConv::bytes);
        convs.sum::<usize>() + self.fc1.bytes() + self.fc2.bytes()
    }

    /// The output's shape: the convolution's, with its channels divided by the radix.
    ///
    /// # Errors
    /// When the input does not fit the convolution.
    pub fn output(&self, input: Nhwc) -> Result<Nhwc, Error> {
        let mut output = None;
        for conv in self.convs() {
            let splits = conv.spec().output(self.path_input(input))?;
            if *output.get_or_insert(splits) != splits {
                let problem = format!("{splits:?} beside {output:?}");
                return Err(Error::spec("splits", problem));
            }
        }
        let splits = output.ok_or_else(|| Error::spec("splits", "there is no convolution"))?;
        Ok(Nhwc {
            c: splits.c * self.convs.len() / self.radix,
            ..splits
        })
    }

    /// What one convolution sees of the input.
    fn path_input(&self, input: Nhwc) -> Nhwc {
        let parts = if self.split_input {
            self.convs.len()
        } else {
            1
        };
        Nhwc {
            // Channels that do not divide stay, for the convolution to refuse.
            c: if input.c.is_multiple_of(parts) {
                input.c / parts
            } else {
                input.c
            },
            ..input
        }
    }

    /// (N, H, W, in) => (N, H', W', channels)
    ///
    /// # Errors
    /// When `x` does not have the given shape or the shape does not fit.
    pub fn run(&self, x: &[f32], input: Nhwc) -> Result<Map, Error> {
        self.run_input(ConvInput::Map(x, input))
    }

    /// The same of a map or, where one convolution makes all splits, of [`ConvInput::Words`] for it.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub fn run_input(&self, x: ConvInput) -> Result<Map, Error> {
        self.with_splits(x, |weighted| Ok(weighted.summed(self.isa)))
    }

    /// [`run_input`](Self::run_input) as the input of the convolution `next`: where it pays, the weighted sums are made as `next` reads
    /// them and never stored as a whole. Output, epilogue and result are those of [`PackedConv::run`].
    ///
    /// # Errors
    /// When a slice or a shape does not fit, and those of [`PackedConv::run`].
    pub fn run_then(
        &self,
        x: ConvInput,
        next: &PackedConv,
        output: ConvOutput,
        epilogue: Epilogue,
    ) -> Result<Map, Error> {
        self.with_splits(x, |weighted| {
            next.run(ConvInput::WeightedSplits(weighted), output, epilogue)
        })
    }

    /// The weights of each split's channels, `[n][radix][channels]`.
    ///
    /// # Errors
    /// When `x` does not have the given shape or the shape does not fit.
    pub fn run_attention(&self, x: ConvInput) -> Result<Vec<f32>, Error> {
        self.with_splits(x, |weighted| Ok(weighted.attention.to_vec()))
    }

    /// Makes splits and attention and hands them to `f`.
    fn with_splits<R>(
        &self,
        x: ConvInput,
        f: impl FnOnce(WeightedSplits) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let input = match x {
            ConvInput::Map(x, input) => {
                check_len("input", x.len(), input.len())?;
                input
            }
            ConvInput::Words(_, input) if self.convs.len() == 1 => input,
            _ => {
                let problem = "is a map, or words for the one convolution that makes all splits";
                return Err(Error::spec("input", problem));
            }
        };
        let output = self.output(input)?;
        with_scratch(output.len() * self.radix, |splits| {
            let attention = if output.is_empty() {
                Vec::new()
            } else {
                self.splits_and_attention(x, output, splits)?
            };
            f(WeightedSplits {
                splits,
                attention: &attention,
                radix: self.radix,
                shape: output,
            })
        })
    }

    /// Fills `splits` (N, H', W', radix·channels) and returns the weights of each split's
    /// channels, `[n][radix][channels]`.
    fn splits_and_attention(
        &self,
        x: ConvInput,
        output: Nhwc,
        splits: &mut [f32],
    ) -> Result<Vec<f32>, Error> {
        let width = output.c * self.radix;
        let sums = self.make_splits(x, output, splits)?;
        let scale = 1.0 / (output.h * output.w) as f32;
        let mut means = Vec::with_capacity(output.n * output.c);
        for image in sums.chunks_exact(width) {
            means.extend((0..output.c).map(|c| {
                let sum: f32 = image[c..].iter().step_by(output.c).sum();
                sum * scale
            }));
        }
        let logits = self.small_layers(&means, output)?;
        Ok(self.radix_softmax(&logits, width))
    }

    /// Fills `splits`; returns the sums over all pixels of each image's channels of them.
    fn make_splits(
        &self,
        x: ConvInput,
        output: Nhwc,
        splits: &mut [f32],
    ) -> Result<Vec<f32>, Error> {
        let width = output.c * self.radix;
        let mut sums = vec![0.0; output.n * width];
        for (index, conv) in self.convs().enumerate() {
            let outs = conv.spec().out_channels;
            let path = if self.split_input { index } else { 0 };
            let x = match x {
                ConvInput::Map(map, shape) => ConvInput::Channels {
                    map,
                    shape,
                    first: path * self.path_input(shape).c,
                },
                other => other,
            };
            let first = index * outs;
            let to = ConvOutput::Channels(MapChannels::new(splits, first, width));
            let mut own = vec![0.0; output.n * outs];
            let epilogue = Epilogue {
                relu: true,
                residual: None,
                sums: Some(&mut own),
            };
            conv.run(x, to, epilogue)?;
            for (sums, own) in sums.chunks_exact_mut(width).zip(own.chunks_exact(outs)) {
                sums[first..first + outs].copy_from_slice(own);
            }
        }
        Ok(sums)
    }

    /// fc1, ReLU, fc2: `[n][channels]` => `[n][cardinality][radix][channels / cardinality]`.
    fn small_layers(&self, means: &[f32], output: Nhwc) -> Result<Map, Error> {
        let shape = Nhwc::new(output.n, 1, 1, output.c);
        let hidden_shape = self.fc1.spec().output(shape)?;
        let means = ConvInput::Map(means, shape);
        let hidden = self.fc1.run(means, ConvOutput::New, Epilogue::relu())?;
        let hidden = ConvInput::Map(&hidden, hidden_shape);
        self.fc2.run(hidden, ConvOutput::New, Epilogue::default())
    }

    /// Softmax over the splits (a sigmoid for a single one), rearranged from the cardinality-major
    /// logits to the radix-major splits.
    fn radix_softmax(&self, logits: &[f32], width: usize) -> Vec<f32> {
        let channels = width / self.radix;
        let inner = channels / self.cardinality;
        let mut attention = vec![0.0; logits.len()];
        for (from, to) in logits
            .chunks_exact(width)
            .zip(attention.chunks_exact_mut(width))
        {
            let cardinals = from.chunks_exact(self.radix * inner);
            for (c, (logits, j)) in cardinals
                .flat_map(|logits| (0..inner).map(move |j| (logits, j)))
                .enumerate()
            {
                if self.radix == 1 {
                    to[c] = 1.0 / (1.0 + (-logits[j]).exp());
                    continue;
                }
                let logits = logits[j..].iter().step_by(inner);
                // A NaN is no maximum, but makes the total one.
                let most = logits.clone().copied().fold(f32::NEG_INFINITY, f32::max);
                let mut total = 0.0;
                for (r, logit) in logits.enumerate() {
                    let power = (logit - most).exp();
                    to[r * channels + c] = power;
                    total += power;
                }
                for r in 0..self.radix {
                    to[r * channels + c] /= total;
                }
            }
        }
        attention
    }
}
