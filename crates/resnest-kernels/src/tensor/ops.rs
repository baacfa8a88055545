//! The candle layer: tensors are logical (N, C, H, W), their memory channels-last.
//!
//! Every operation takes any layout (other layouts than channels-last are copied first) and
//! returns a channels-last view, on which all other candle operations work too. Tensors must be
//! f32 on the CPU; anything else is candle's error.

use crate::arch::Isa;
use crate::attention::PackedSplitAttention;
use crate::conv::{Epilogue, PackedConv};
use crate::error::Error;
use crate::gate::{GateEpilogue, gate_in_place};
use crate::layout::{Strides, join, to_nhwc};
use crate::map::Map;
use crate::pool::{GlobalPool, PoolSpec, global_pool, pool2d};
use crate::shape::Nhwc;
use crate::splits::SplitConvs;
use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, DType, Device, InplaceOp2, Layout, Result, Shape, Storage,
    StorageRef, Tensor, bail,
};
use std::ops::Deref;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Channels-last values: where they were, or a copy.
enum Values<'a> {
    Borrowed(&'a [f32]),
    Copied(Map),
}

impl Deref for Values<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Values::Borrowed(values) => values,
            Values::Copied(map) => map,
        }
    }
}

/// Where the values of a logical (N, C, H, W) tensor lie, and its shape.
fn strides(layout: &Layout) -> Result<(Strides, Nhwc)> {
    let (n, c, h, w) = layout.shape().dims4()?;
    let mut strides = Strides {
        offset: layout.start_offset(),
        nchw: [0; 4],
    };
    strides.nchw.copy_from_slice(layout.stride());
    Ok((strides, Nhwc::new(n, h, w, c)))
}

/// The channels-last values of a CPU f32 storage, to be changed.
fn nhwc_mut<'a>(storage: &'a mut CpuStorage, layout: &Layout) -> Result<(&'a mut [f32], Nhwc)> {
    let (strides, shape) = strides(layout)?;
    let CpuStorage::F32(values) = storage else {
        bail!("the fused kernels compute in f32; convert the tensor with to_dtype(DType::F32)");
    };
    if !strides.is_channels_last(shape) {
        bail!("only channels-last memory is written in place");
    }
    match values.get_mut(strides.offset..strides.offset + shape.len()) {
        Some(values) => Ok((values, shape)),
        None => bail!("the layout reaches beyond its storage"),
    }
}

/// Reads a CPU f32 storage as channels-last values, copying only if it is something else.
fn nhwc<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<(Values<'a>, Nhwc)> {
    let (strides, shape) = strides(layout)?;
    let CpuStorage::F32(values) = storage else {
        bail!("the fused kernels compute in f32; convert the tensor with to_dtype(DType::F32)");
    };
    let values = if strides.is_channels_last(shape) {
        match values.get(strides.offset..strides.offset + shape.len()) {
            Some(values) => Values::Borrowed(values),
            None => bail!("the layout reaches beyond its storage"),
        }
    } else {
        Values::Copied(to_nhwc(values, strides, shape)?)
    };
    Ok((values, shape))
}

/// Where an operation's map lies in the vector that it returns, and its shape: candle's operations
/// return no more than a storage.
#[derive(Default)]
struct Place(OnceLock<(usize, Nhwc)>);

impl Place {
    /// Notes where a map lies and gives its vector away.
    fn note(&self, map: Map, shape: Nhwc) -> Vec<f32> {
        let (values, start) = map.into_parts();
        self.0.get_or_init(|| (start, shape));
        values
    }

    /// The same as a one-dimensional storage.
    fn store(&self, map: Map, shape: Nhwc) -> (CpuStorage, Shape) {
        let values = self.note(map, shape);
        let len = Shape::from(values.len());
        (CpuStorage::F32(values), len)
    }

    /// The map in that vector, as a logical (N, C, H, W) view.
    fn view(&self, stored: &Tensor) -> Result<Tensor> {
        let Some((start, shape)) = self.0.get() else {
            bail!("the operation did not run on the CPU");
        };
        stored
            .narrow(0, *start, shape.len())?
            .reshape((shape.n, shape.h, shape.w, shape.c))?
            .permute((0, 3, 1, 2))
    }
}

/// An operation on one channels-last activation.
struct Op1<'a, F> {
    name: &'static str,
    place: &'a Place,
    f: F,
}

impl<F> CustomOp1 for Op1<'_, F>
where
    F: Fn(&[f32], Nhwc) -> std::result::Result<(Map, Nhwc), Error> + Send + Sync,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (x, shape) = nhwc(storage, layout)?;
        let (map, shape) = (self.f)(&x, shape)?;
        Ok(self.place.store(map, shape))
    }
}

/// An operation on an activation and a residual of the result's shape.
struct Op2<'a, F> {
    name: &'static str,
    place: &'a Place,
    f: F,
}

impl<F> CustomOp2 for Op2<'_, F>
where
    F: Fn(&[f32], Nhwc, Option<&[f32]>) -> std::result::Result<(Map, Nhwc), Error> + Send + Sync,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        residual: &CpuStorage,
        residual_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, input) = nhwc(x, x_layout)?;
        let (residual, residual_shape) = nhwc(residual, residual_layout)?;
        let (map, output) = (self.f)(&x, input, Some(&residual))?;
        if residual_shape != output {
            bail!("the residual has shape {residual_shape:?}, the result {output:?}");
        }
        Ok(self.place.store(map, output))
    }
}

fn apply2<F>(x: &Tensor, residual: &Tensor, name: &'static str, f: F) -> Result<Tensor>
where
    F: Fn(&[f32], Nhwc, Option<&[f32]>) -> std::result::Result<(Map, Nhwc), Error> + Send + Sync,
{
    let place = Place::default();
    let op = Op2 {
        name,
        place: &place,
        f,
    };
    place.view(&x.apply_op2_no_bwd(residual, &op)?)
}

fn apply<F>(x: &Tensor, name: &'static str, f: F) -> Result<Tensor>
where
    F: Fn(&[f32], Nhwc) -> std::result::Result<(Map, Nhwc), Error> + Send + Sync,
{
    let place = Place::default();
    let op = Op1 {
        name,
        place: &place,
        f,
    };
    place.view(&x.apply_op1_no_bwd(&op)?)
}

/// An operation that adds to a map where it lies: input, its shape, map, its shape.
struct Onto<F> {
    name: &'static str,
    f: F,
}

impl<F> InplaceOp2 for Onto<F>
where
    F: Fn(&[f32], Nhwc, &mut [f32], Nhwc) -> std::result::Result<(), Error>,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(
        &self,
        map: &mut CpuStorage,
        map_layout: &Layout,
        x: &CpuStorage,
        x_layout: &Layout,
    ) -> Result<()> {
        let (x, input) = nhwc(x, x_layout)?;
        let (map, shape) = nhwc_mut(map, map_layout)?;
        Ok((self.f)(&x, input, map, shape)?)
    }
}

/// Which memory a tensor lies in: tensors of the same have one lock.
fn memory(x: &Tensor) -> *const Storage {
    &*x.storage_and_layout().0
}

/// The storages of tensors, each locked once and in the order of their memory. A thread that locks one
/// again while another waits to write it would wait for ever, and so would two that lock two of them in
/// different orders.
struct Locked<'a> {
    /// By the memory of each tensor, which one of `guards` holds it.
    places: Vec<usize>,
    guards: Vec<StorageRef<'a>>,
}

impl<'a> Locked<'a> {
    fn new(tensors: &[&'a Tensor]) -> Self {
        let memories: Vec<_> = tensors.iter().map(|x| memory(x)).collect();
        let mut order: Vec<_> = (0..tensors.len()).collect();
        order.sort_by_key(|&index| memories[index]);
        let (mut places, mut guards) = (vec![0; tensors.len()], Vec::new());
        let mut before = None;
        for index in order {
            if before != Some(memories[index]) {
                guards.push(tensors[index].storage_and_layout().0);
                before = Some(memories[index]);
            }
            places[index] = guards.len() - 1;
        }
        Locked { places, guards }
    }

    /// The storages in the tensors' order.
    fn storages(&self) -> impl Iterator<Item = Result<&CpuStorage>> {
        self.places.iter().map(|&place| match &*self.guards[place] {
            Storage::Cpu(storage) => Ok(storage),
            _ => bail!("the fused kernels compute on the CPU; move the tensor with to_device"),
        })
    }
}

/// Whether `map` can be written where it lies while `x` is read.
fn is_apart(map: &Tensor, x: &Tensor) -> Result<bool> {
    let (strides, shape) = strides(map.layout())?;
    let is_f32 = map.dtype() == DType::F32 && map.device().is_cpu();
    Ok(is_f32 && strides.is_channels_last(shape) && memory(map) != memory(x))
}

/// Fails unless a residual has the shape of the result.
fn check_residual(residual: Nhwc, output: Nhwc) -> std::result::Result<(), Error> {
    if residual == output {
        return Ok(());
    }
    let problem = format!("has shape {residual:?}, the result {output:?}");
    Err(Error::spec("residual", problem))
}

impl PackedConv {
    /// Convolves a logical (N, C, H, W) tensor; adds `residual` if there is one, then ReLU if
    /// `relu`.
    ///
    /// # Errors
    /// When shapes do not fit or a tensor is not f32 on the CPU.
    pub fn forward(&self, x: &Tensor, residual: Option<&Tensor>, relu: bool) -> Result<Tensor> {
        let run = |x: &[f32], input: Nhwc, residual: Option<&[f32]>| {
            let epilogue = Epilogue {
                relu,
                residual,
                sums: None,
            };
            Ok((self.run(x, input, epilogue)?, self.spec().output(input)?))
        };
        match residual {
            Some(residual) => apply2(x, residual, "resnest-conv-add", run),
            None => apply(x, "resnest-conv", |x, input| run(x, input, None)),
        }
    }

    /// `next` of this convolution of a logical (N, C, H, W) tensor, each with ReLU if told: what both would
    /// give one after the other, for convolutions of which this one [`leads_to`](Self::leads_to) the next.
    ///
    /// # Errors
    /// When shapes do not fit or the tensor is not f32 on the CPU.
    pub fn forward_before(&self, next: &Self, x: &Tensor, relu: [bool; 2]) -> Result<Tensor> {
        apply(x, "resnest-conv-conv", |x, input| {
            let output = next.spec().output(self.spec().output(input)?)?;
            Ok((self.run_before(next, x, input, relu)?, output))
        })
    }

    /// [`forward`](Self::forward) with a residual that nobody else holds: the result is written over it where it can be,
    /// which saves the memory of a map and the time to read it.
    ///
    /// `residual` must be the only tensor of its memory: a map that an operation has just put out.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn forward_onto(&self, x: &Tensor, residual: Tensor, relu: bool) -> Result<Tensor> {
        if !self.adds_in_place() || !is_apart(&residual, x)? {
            return self.forward(x, Some(&residual), relu);
        }
        let f = |x: &[f32], input: Nhwc, out: &mut [f32], shape: Nhwc| {
            check_residual(shape, self.spec().output(input)?)?;
            self.run_onto(x, input, out, relu)
        };
        let name = "resnest-conv-onto";
        residual.inplace_op2(x, &Onto { name, f })?;
        Ok(residual)
    }

    /// [`forward`](Self::forward) without a residual, and the mean of the result over height and width, (N, C), made
    /// from sums that the kernels take as they write.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn forward_with_means(&self, x: &Tensor, relu: bool) -> Result<(Tensor, Tensor)> {
        let means = Mutex::new(Vec::new());
        let y = apply(x, "resnest-conv-means", |x, input| {
            let output = self.spec().output(input)?;
            let mut sums = vec![0.0; output.n * output.c];
            let epilogue = Epilogue {
                relu,
                residual: None,
                sums: Some(&mut sums),
            };
            let y = self.run(x, input, epilogue)?;
            let scale = 1.0 / (output.h * output.w) as f32;
            sums.iter_mut().for_each(|sum| *sum *= scale);
            *means.lock().unwrap_or_else(PoisonError::into_inner) = sums;
            Ok((y, output))
        })?;
        let (n, c, ..) = y.dims4()?;
        let means = means.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok((y, Tensor::from_vec(means, (n, c), &Device::Cpu)?))
    }

    /// A linear layer (a 1x1 convolution of one group) on (N, in) rows: (N, out).
    ///
    /// # Errors
    /// When shapes do not fit or the tensor is not f32 on the CPU.
    pub fn forward_rows(&self, x: &Tensor) -> Result<Tensor> {
        let (n, c) = x.dims2()?;
        let x = x.reshape((n, c, 1, 1))?;
        self.forward(&x, None, false)?
            .reshape((n, self.spec().out_channels))
    }
}

impl PackedSplitAttention {
    /// timm's `SplitAttn.forward` on a logical (N, C, H, W) tensor.
    ///
    /// # Errors
    /// When shapes do not fit or the tensor is not f32 on the CPU.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        apply(x, "resnest-split-attention", |x, input| {
            Ok((self.run(x, input)?, self.output(input)?))
        })
    }

    /// The weights alone that `forward` gives the splits: (N, C, H, W) => (N, radix, channels).
    /// Costs as much as `forward`.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn attention(&self, x: &Tensor) -> Result<Tensor> {
        let weights = apply(x, "resnest-attention", |x, input| {
            let width = self.output(input)?.c * self.radix();
            Ok((
                self.run_attention(x, input)?.into(),
                Nhwc::new(input.n, 1, 1, width),
            ))
        })?;
        let (n, width, ..) = weights.dims4()?;
        weights.reshape((n, self.radix(), width / self.radix()))
    }

    /// The same followed by the convolution `next` (plus `residual`, then ReLU if `relu`), in one
    /// operation: cheaper than the two, with the same values.
    ///
    /// # Errors
    /// When shapes do not fit or a tensor is not f32 on the CPU.
    pub fn forward_then(
        &self,
        x: &Tensor,
        next: &PackedConv,
        residual: Option<&Tensor>,
        relu: bool,
    ) -> Result<Tensor> {
        let run = |x: &[f32], input: Nhwc, residual: Option<&[f32]>| {
            let output = next.spec().output(self.output(input)?)?;
            let epilogue = Epilogue {
                relu,
                residual,
                sums: None,
            };
            Ok((self.run_then(x, input, next, epilogue)?, output))
        };
        match residual {
            Some(residual) => apply2(x, residual, "resnest-attention-conv", run),
            None => apply(x, "resnest-attention-conv", |x, input| run(x, input, None)),
        }
    }

    /// The same with a residual that nobody else holds; see [`PackedConv::forward_onto`].
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn forward_then_onto(
        &self,
        x: &Tensor,
        next: &PackedConv,
        residual: Tensor,
        relu: bool,
    ) -> Result<Tensor> {
        if !next.adds_in_place() || !is_apart(&residual, x)? {
            return self.forward_then(x, next, Some(&residual), relu);
        }
        let f = |x: &[f32], input: Nhwc, out: &mut [f32], shape: Nhwc| {
            check_residual(shape, next.spec().output(self.output(input)?)?)?;
            self.run_then_onto(x, input, next, out, relu)
        };
        let name = "resnest-attention-conv-onto";
        residual.inplace_op2(x, &Onto { name, f })?;
        Ok(residual)
    }
}

impl SplitConvs<'_> {
    /// The convolutions over the splits of a logical (N, splits·width, H, W) tensor, side by side.
    ///
    /// # Errors
    /// When shapes do not fit or the tensor is not f32 on the CPU.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        apply(x, "resnest-splits", |x, input| {
            Ok((self.run(x, input)?, self.output(input)?))
        })
    }
}

impl PoolSpec {
    /// Pools a logical (N, C, H, W) tensor.
    ///
    /// # Errors
    /// When shapes do not fit or the tensor is not f32 on the CPU.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let isa = Isa::detect()?;
        apply(x, "resnest-pool", |x, input| {
            Ok((pool2d(isa, x, input, *self)?, self.output(input)?))
        })
    }
}

impl GlobalPool {
    /// Pools a logical (N, C, H, W) tensor to (N, C).
    ///
    /// # Errors
    /// When the images are empty or the tensor is not f32 on the CPU.
    pub fn forward(self, x: &Tensor) -> Result<Tensor> {
        let isa = Isa::detect()?;
        let pooled = apply(x, "resnest-global-pool", |x, input| {
            Ok((
                global_pool(isa, x, input, self)?.into(),
                Nhwc::new(input.n, 1, 1, input.c),
            ))
        })?;
        pooled.flatten_from(1)
    }
}

/// `Σ parts[p] · gates[:, p]`, plus `residual` if there is one, then ReLU if `relu`. Parts and residual
/// are logical (N, C, H, W) tensors, `gates` is (N, parts, C).
///
/// # Errors
/// When shapes do not fit or a tensor is not f32 on the CPU.
pub fn gated_sum(
    parts: &[&Tensor],
    gates: &Tensor,
    residual: Option<&Tensor>,
    relu: bool,
) -> Result<Tensor> {
    let gates = gates.flatten_all()?.to_vec1::<f32>()?;
    let maps: Vec<&Tensor> = parts.iter().copied().chain(residual).collect();
    let locked = Locked::new(&maps);
    let mut values = Vec::with_capacity(maps.len());
    let mut shape = None;
    for (storage, map) in locked.storages().zip(&maps) {
        let (map, of) = nhwc(storage?, map.layout())?;
        if *shape.get_or_insert(of) != of {
            bail!("the maps have the shapes {shape:?} and {of:?}");
        }
        values.push(map);
    }
    let Some(shape) = shape else {
        bail!("there is nothing to weigh");
    };
    let mut slices: Vec<&[f32]> = values.iter().map(|map| &**map).collect();
    let residual = slices.split_off(parts.len()).pop();
    let epilogue = GateEpilogue { residual, relu };
    let sum = crate::gate::gated_sum(&slices, &gates, shape, epilogue)?;
    let place = Place::default();
    let values = place.note(sum, shape);
    let len = values.len();
    place.view(&Tensor::from_vec(values, len, &Device::Cpu)?)
}

/// `x · gates + residual`, then ReLU, in place.
struct Gate {
    gates: Vec<f32>,
}

impl InplaceOp2 for Gate {
    fn name(&self) -> &'static str {
        "resnest-gate"
    }

    fn cpu_fwd(
        &self,
        x: &mut CpuStorage,
        x_layout: &Layout,
        residual: &CpuStorage,
        residual_layout: &Layout,
    ) -> Result<()> {
        let (values, shape) = nhwc_mut(x, x_layout)?;
        let (residual, residual_shape) = nhwc(residual, residual_layout)?;
        if residual_shape != shape {
            bail!("the residual has shape {residual_shape:?}, the map {shape:?}");
        }
        let epilogue = GateEpilogue {
            residual: Some(&residual),
            relu: true,
        };
        gate_in_place(Isa::detect()?, values, &self.gates, shape, epilogue)?;
        Ok(())
    }
}

/// `relu(x · gates + residual)` written over `x`, which must be the only tensor of its memory: a map
/// that an operation has just put out. Maps are logical (N, C, H, W) tensors, `gates` is (N, C).
///
/// A residual in the memory of `x` is read as it was: the result then is a map of its own.
///
/// # Errors
/// When shapes do not fit or a tensor is not f32 on the CPU.
pub fn gate_add_relu(x: Tensor, gates: &Tensor, residual: &Tensor) -> Result<Tensor> {
    let mut x = to_channels_last(&x)?;
    if memory(&x) == memory(residual) {
        x = copy(&x)?;
    }
    let gates = gates.flatten_all()?.to_vec1::<f32>()?;
    x.inplace_op2(residual, &Gate { gates })?;
    Ok(x)
}

/// The same values in channels-last memory of their own.
fn copy(x: &Tensor) -> Result<Tensor> {
    apply(x, "resnest-channels-last", |x, shape| {
        Ok((x.to_vec().into(), shape))
    })
}

/// The same logical (N, C, H, W) values in channels-last memory; no copy if they are already.
///
/// # Errors
/// When the tensor does not have four dimensions or is not f32 on the CPU.
pub fn to_channels_last(x: &Tensor) -> Result<Tensor> {
    let (strides, shape) = strides(x.layout())?;
    match strides.is_channels_last(shape) {
        true => Ok(x.clone()),
        false => copy(x),
    }
}

/// The images of logical (N, C, H, W) tensors one after the other, in channels-last memory; copied on
/// [`current_threads`](crate::current_threads) threads, where candle's `cat` has one.
///
/// # Errors
/// When there is no tensor, one has other channels or sides than the first, or is not f32 on the CPU.
pub fn join_images(parts: &[Tensor]) -> Result<Tensor> {
    let parts = parts.iter().map(to_channels_last);
    let parts = parts.collect::<Result<Vec<_>>>()?;
    let Some((_, mut shape)) = parts.first().map(|x| strides(x.layout())).transpose()? else {
        bail!("there are no images to join");
    };
    shape.n = 0;
    let parts: Vec<_> = parts.iter().collect();
    let locked = Locked::new(&parts);
    let mut maps = Vec::with_capacity(parts.len());
    for (storage, part) in locked.storages().zip(&parts) {
        let (map, part) = nhwc(storage?, part.layout())?;
        if (part.h, part.w, part.c) != (shape.h, shape.w, shape.c) {
            bail!("images of shape {part:?} do not join those of {shape:?}");
        }
        shape.n += part.n;
        maps.push(map);
    }
    let maps: Vec<&[f32]> = maps.iter().map(|map| &**map).collect();
    let place = Place::default();
    let values = place.note(join(&maps)?, shape);
    let len = values.len();
    place.view(&Tensor::from_vec(values, len, &Device::Cpu)?)
}

/// The same values in contiguous (N, C, H, W) memory.
///
/// # Errors
/// When the tensor does not have four dimensions.
pub fn from_channels_last(x: &Tensor) -> Result<Tensor> {
    x.dims4()?;
    x.contiguous()
}
