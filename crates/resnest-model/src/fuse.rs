//! From the network as it was read to the network as it runs fast: norms folded into the convolutions before them, an
//! algorithm chosen for every layer by its shape, weights packed once.
//!
//! One explicit step, [`ResNet::fuse`](crate::ResNet::fuse), or part of building the network,
//! [`ResNet::fused`](crate::ResNet::fused). Each layer packs its own weights and drops the originals before the next
//! layer of its block begins. Blocks are written without regard to it: `layers/conv_bn_act.rs` and the attentions look
//! at whether a layer holds tensors or packed weights, and choose.
//!
//! The algorithms are Winograd's beside the direct one: Lavin and Gray, *Fast Algorithms for Convolutional Neural
//! Networks*, [arXiv:1509.09308].
//!
//! [arXiv:1509.09308]: https://arxiv.org/abs/1509.09308

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{CpuStorage, DType, Device, Storage, Tensor};
use resnest_kernels::{
    Algorithm, ConvSpec, InputScale, Isa, Nhwc, PackedConv, Precision, all_finite, choose,
    choose_int8, cost, parallel_map,
};

use crate::error::{Error, Result};
use crate::store::PackedStore;
use crate::trace::{LayerInput, LayerInputs};

/// What a network is fused for.
///
/// Sizes are hints from which algorithms are chosen: any other size and batch runs too, and gives
/// what it would give however often and on however many threads it is run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FuseOptions {
    /// How exact results must be: `Exact` computes every convolution by its definition, `Fast`
    /// (the default) uses Winograd's algorithms where they are faster.
    pub precision: Precision,
    /// Height and width of the images to come.
    pub input_size: (usize, usize),
    /// Images in a batch.
    pub batch: usize,
    /// The instruction set of the convolutions; `None` takes the best of this CPU, or the one that
    /// `RESNEST_ISA` names.
    pub isa: Option<Isa>,
    /// Layers to compute otherwise than the cost model and `precision` would have it, under the
    /// names of [`ResNet::plan`](crate::ResNet::plan). Winograd's algorithms take 3x3 convolutions
    /// whose stride divides their dilation: stride 1, and stride 2 at dilation 2; F(2x2) and F(4x4) also
    /// those of stride 2 without dilation.
    pub algorithms: BTreeMap<String, Algorithm>,
    /// How the inputs of layers are quantised, under the names of [`ResNet::plan`](crate::ResNet::plan): with
    /// [`Precision::Int8`] these layers compute in integers, the others as `Fast`. `resnest quantize` makes it.
    pub quantization: Arc<BTreeMap<String, InputScale>>,
}

impl Default for FuseOptions {
    /// `Fast`, for single images of 224x224.
    fn default() -> Self {
        Self {
            precision: Precision::default(),
            input_size: (224, 224),
            batch: 1,
            isa: None,
            algorithms: BTreeMap::new(),
            quantization: Arc::default(),
        }
    }
}

/// Fewer input channels than any layer but the first has.
const FEW_CHANNELS: usize = 8;

/// The classifier's name, in all networks but some of the legacy ones.
const HEAD: &str = "fc";

/// How one layer of a fused network is computed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedLayer {
    /// The module, under the checkpoint's name.
    pub path: String,
    /// What it computes, in words: `conv 3x3 groups 2, 64 -> 128`.
    pub spec: String,
    /// Height and width of its input, for which the algorithm was chosen.
    pub input_size: (usize, usize),
    /// How.
    pub algorithm: Algorithm,
    /// Bytes of packed weights.
    pub bytes: usize,
}

/// Weight and bias of a convolution, norms folded in.
pub(crate) type Folded = (Vec<f32>, Option<Vec<f32>>);

/// Packs layer after layer, or takes it as it was packed before, and lists what it packed.
#[derive(Debug)]
pub(crate) struct Fuser {
    choices: Arc<Choices>,
    store: Option<Arc<dyn PackedStore>>,
    plan: Vec<PlannedLayer>,
}

/// How every layer of a network will be packed: settled by its configuration and [`FuseOptions`] before any weight is
/// read ([`ResNet::fuse_choices`](crate::ResNet::fuse_choices)).
#[derive(Clone, Debug)]
pub struct FuseChoices(Arc<Choices>);

impl FuseChoices {
    /// `inputs` is what enters the layers when images have the size of `options`.
    ///
    /// # Errors
    /// For a choice of algorithm that names none of them, or one that cannot compute the layer.
    pub(crate) fn new(options: &FuseOptions, inputs: LayerInputs) -> Result<Self> {
        for (path, algorithm) in &options.algorithms {
            check_choice(path, *algorithm, inputs.get(path))?;
        }
        let isa = match options.isa {
            Some(isa) => isa,
            None => Isa::detect().map_err(Error::Isa)?,
        };
        Ok(Self(Arc::new(Choices {
            isa,
            precision: options.precision,
            batch: options.batch.max(1),
            inputs,
            algorithms: options.algorithms.clone(),
            quantization: Arc::clone(&options.quantization),
        })))
    }

    /// All that packed weights depend on besides the weights themselves, as text: the instruction set, then each layer with its
    /// shape and algorithm, in the order of their names. Equal texts of one version of this crate mean the same packed
    /// format.
    pub fn describe(&self) -> String {
        let choices = &self.0;
        let [bf16, int8] = choices.isa.low_precision();
        let mut text = format!("{} {bf16} {int8}\n", choices.isa.kind().name());
        let by_name: BTreeMap<_, _> = choices.inputs.iter().collect();
        for (path, layer) in by_name {
            let (spec, algorithm) = (&layer.spec, choices.algorithm(path, &layer.spec));
            text += &format!("{path} {spec:?} {algorithm:?}\n");
        }
        text
    }
}

/// What decides how a layer is packed.
#[derive(Debug)]
struct Choices {
    isa: Isa,
    precision: Precision,
    batch: usize,
    /// What enters the layers when images have the expected size.
    inputs: LayerInputs,
    /// Layers whose algorithm the caller has chosen.
    algorithms: BTreeMap<String, Algorithm>,
    /// Layers whose inputs were calibrated.
    quantization: Arc<BTreeMap<String, InputScale>>,
}

impl Fuser {
    /// With a `store`, layers that it has are taken from there, and it gets those that are packed.
    pub(crate) fn new(choices: &FuseChoices, store: Option<Arc<dyn PackedStore>>) -> Self {
        Self {
            choices: Arc::clone(&choices.0),
            store,
            plan: Vec::new(),
        }
    }

    /// Makes and packs `parts` parts of the network on the kernels' threads; the plan lists them in order. The last ones
    /// are made first: they are the largest, and what packing needs for a while is free again before all is packed.
    pub(crate) fn each<T: Send>(
        &mut self,
        parts: usize,
        make: impl Fn(usize, &mut Fuser) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        let (choices, store) = (&self.choices, &self.store);
        let mut made = parallel_map(parts, |index| {
            let mut fuser = Fuser {
                choices: Arc::clone(choices),
                store: store.clone(),
                plan: Vec::new(),
            };
            Ok((make(parts - 1 - index, &mut fuser)?, fuser.plan))
        });
        made.reverse();
        let noted = |part: Result<(T, _)>| {
            let (part, plan) = part?;
            self.plan.extend(plan);
            Ok(part)
        };
        made.into_iter().map(noted).collect()
    }

    /// What was packed, in the order of the network.
    pub(crate) fn into_plan(self) -> Vec<PlannedLayer> {
        self.plan
    }

    /// Packs a convolution; `weights` is asked for them unless they were packed before.
    pub(crate) fn pack(
        &mut self,
        path: &str,
        spec: ConvSpec,
        weights: impl FnOnce() -> Result<Folded>,
    ) -> Result<PackedConv> {
        let algorithm = self.algorithm(path, &spec);
        let kernel = self.layer(path, spec, algorithm, weights)?;
        self.note(path, &spec, "", algorithm, kernel.bytes());
        Ok(kernel)
    }

    /// The algorithm chosen for a layer.
    pub(crate) fn algorithm(&self, path: &str, spec: &ConvSpec) -> Algorithm {
        self.choices.algorithm(path, spec)
    }

    /// The same as [`pack`](Self::pack) for this algorithm, and for the caller to note.
    pub(crate) fn layer(
        &self,
        path: &str,
        spec: ConvSpec,
        algorithm: Algorithm,
        weights: impl FnOnce() -> Result<Folded>,
    ) -> Result<PackedConv> {
        let isa = self.choices.isa;
        let refused = |error| Error::pack(path, error);
        if let Some(store) = &self.store
            && let Some(layer) = store.packed(path)?
        {
            return PackedConv::mapped(isa, spec, algorithm, layer).map_err(refused);
        }
        let (weight, bias) = weights()?;
        let kernel = PackedConv::new(isa, spec, &weight, bias.as_deref(), algorithm);
        let kernel = kernel.map_err(refused)?;
        if let Some(store) = &self.store {
            store.keep(path, &kernel);
        }
        Ok(kernel)
    }

    /// Packs a depthwise convolution whose weights no checkpoint holds: it is not in the plan.
    pub(crate) fn pack_constant(
        &mut self,
        path: &str,
        spec: ConvSpec,
        weight: &[f32],
    ) -> Result<PackedConv> {
        PackedConv::new(self.choices.isa, spec, weight, None, Algorithm::Direct)
            .map_err(|error| Error::pack(path, error))
    }

    /// Adds a layer to the plan.
    pub(crate) fn note(
        &mut self,
        path: &str,
        spec: &ConvSpec,
        suffix: &str,
        algorithm: Algorithm,
        bytes: usize,
    ) {
        let (from, to) = (spec.in_channels, spec.out_channels);
        self.plan.push(PlannedLayer {
            path: path.to_owned(),
            spec: format!("{}, {from} -> {to}{suffix}", spec),
            input_size: self.choices.input_size(path),
            algorithm,
            bytes,
        });
    }
}

impl Choices {
    fn algorithm(&self, path: &str, spec: &ConvSpec) -> Algorithm {
        if let Some(algorithm) = self.algorithms.get(path) {
            return *algorithm;
        }
        let (h, w) = self.input_size(path);
        let input = Nhwc::new(self.batch, h, w, spec.in_channels);
        if self.precision == Precision::Int8
            && let Some(scale) = self.quantization.get(path)
            && let Some(integers) = choose_int8(spec, input, *scale)
        {
            return without_f4_bf16_in_stem(path, spec, input, integers);
        }
        // The head and the small layers of attentions decide by few values: they stay f32.
        let precision = match self.precision {
            Precision::Bf16 if (h, w) == (1, 1) => Precision::Fast,
            // Beside integers bf16 is exact enough for the first layer, which reads an image of 8 bits a value, and for the
            // head, whose weights are read once.
            Precision::Int8 if spec.in_channels < FEW_CHANNELS || path == HEAD => Precision::Bf16,
            precision => precision,
        };
        without_f4_bf16_in_stem(path, spec, input, choose(spec, input, precision))
    }

    fn input_size(&self, path: &str) -> (usize, usize) {
        self.inputs
            .get(path)
            .map_or((1, 1), |layer| layer.input_size)
    }
}

/// Another algorithm where a deep stem would have F(4x4) in bf16: it put a resnest269e's first map 3.1 times as far from f64
/// as PyTorch's autocast.
fn without_f4_bf16_in_stem(
    path: &str,
    spec: &ConvSpec,
    input: Nhwc,
    algorithm: Algorithm,
) -> Algorithm {
    let in_stem = ["conv1.", "layer0."]
        .iter()
        .any(|stem| path.starts_with(stem));
    if algorithm != Algorithm::WinogradF4Bf16 || !in_stem {
        return algorithm;
    }
    let others = [
        choose(spec, input, Precision::Fast),
        Algorithm::DirectBf16,
        Algorithm::WinogradF2Bf16,
    ];
    let cost = |algorithm: &Algorithm| cost(spec, input, *algorithm);
    let least = others
        .into_iter()
        .min_by(|a, b| cost(a).total_cmp(&cost(b)));
    least.unwrap_or(Algorithm::DirectBf16)
}

fn check_choice(path: &str, algorithm: Algorithm, layer: Option<&LayerInput>) -> Result<()> {
    let reason = match layer {
        None => "no layer has this name; those of `plan` do".to_owned(),
        Some(layer) if !algorithm.supports(&layer.spec) => format!(
            "{} cannot compute a {}; it needs {}",
            algorithm.name(),
            layer.spec,
            algorithm.needs()
        ),
        Some(_) => return Ok(()),
    };
    Err(Error::fuse(path, reason))
}

/// Whether kernels can take over from tensors of this type on this device.
pub(crate) fn check_fusable(path: &str, dtype: DType, device: &Device) -> Result<()> {
    if dtype == DType::F32 && device.is_cpu() {
        return Ok(());
    }
    let reason = format!(
        "the kernels compute in f32 on the CPU, the weights are {dtype:?} on {:?}; load the model with dtype F32 on Device::Cpu, or run it unfused",
        device.location()
    );
    Err(Error::fuse(path, reason))
}

/// The error of a layer with a value that is not finite: every answer would be NaN.
pub(crate) fn not_finite(path: &str, tensor: &str, problem: &str) -> Error {
    let reason = format!(
        "`{tensor}`, {problem}; the checkpoint is damaged or its training diverged: get another copy"
    );
    Error::fuse(path, reason)
}

/// Fails unless all values of a layer's `weight` and `bias` are finite numbers.
pub(crate) fn check_finite(path: &str, [weight, bias]: [&[f32]; 2]) -> Result<()> {
    let (name, values) = match (all_finite(weight), all_finite(bias)) {
        (true, true) => return Ok(()),
        (true, false) => ("bias", bias),
        _ => ("weight", weight),
    };
    let first = values.iter().enumerate().find(|(_, v)| !v.is_finite());
    let (at, value) = first.unwrap_or((0, &f32::NAN));
    let problem = format!("value {at}: {value} is no finite number");
    Err(not_finite(path, &format!("{path}.{name}"), &problem))
}

/// Lends `f` the elements of a CPU f32 tensor in order, without a copy if they lie so.
pub(crate) fn with_values<R, E: From<candle_core::Error>>(
    tensor: &Tensor,
    f: impl FnOnce(&[f32]) -> std::result::Result<R, E>,
) -> std::result::Result<R, E> {
    {
        let (storage, layout) = tensor.storage_and_layout();
        if let (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) =
            (&*storage, layout.contiguous_offsets())
            && let Some(values) = values.get(start..end)
        {
            return f(values);
        }
    }
    f(&tensor.flatten_all()?.to_vec1::<f32>()?)
}

/// The elements of a CPU f32 tensor in order.
pub(crate) fn to_vec(tensor: &Tensor) -> candle_core::Result<Vec<f32>> {
    with_values(tensor, |values| Ok(values.to_vec()))
}
