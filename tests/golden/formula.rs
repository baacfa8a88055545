//! Weights and images from a formula, so that full-size references store none; the twin of
//! `formula.py`.
//!
//! Every step is an integer operation or a single IEEE operation, so the two agree bit for bit.

use std::collections::HashMap;

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};

/// 64-bit FNV-1a of a tensor's name: the seed of its values.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |value, byte| {
        (value ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3)
    })
}

/// `count` values in [-1, 1): the top 24 bits of splitmix64, exact in f32.
pub fn uniform(name: &str, count: usize) -> impl Iterator<Item = f32> {
    let mut state = fnv1a(name);
    (0..count).map(move |_| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        ((z >> 40) as f32 - 8_388_608.0) * (1.0 / 8_388_608.0)
    })
}

/// A normalised image (1, chans, height, width): patches of 32 pixels in flat colours, and noise on
/// them.
pub fn image(chans: usize, height: usize, width: usize) -> Result<Tensor> {
    let cells: Vec<f32> = uniform("image.cells", chans * 32 * 32).collect();
    let values: Vec<f32> = uniform("image.noise", chans * height * width)
        .enumerate()
        .map(|(i, noise)| {
            let (c, y, x) = (i / (height * width), i / width % height, i % width);
            1.5 * cells[(c * 32 + y / 32) * 32 + x / 32] + 0.5 * noise
        })
        .collect();
    Tensor::from_vec(values, (1, chans, height, width), &Device::Cpu)
}

/// The tensors of a network, computed as they are asked for.
pub struct Formula {
    /// A norm's name → mean and variance of what enters it.
    pub norms: HashMap<String, (f32, f32)>,
    /// Scale of the classifier.
    pub head_scale: f32,
    /// How the names of the norms end that end a block.
    pub last_norms: Vec<String>,
}

impl Formula {
    /// For benches: every norm sees what a norm wants to see, mean 0 and variance 1.
    #[allow(
        dead_code,
        reason = "shared with the benches by #[path], where only this is used"
    )]
    pub fn standard() -> Self {
        Self {
            norms: HashMap::new(),
            head_scale: 0.1,
            last_norms: vec![".bn3".to_owned()],
        }
    }

    #[allow(
        dead_code,
        reason = "shared by #[path]; the family keeps what it has computed"
    )]
    pub fn var_builder(self) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self), DType::F32, Device::Cpu)
    }

    fn values(&self, name: &str, dims: &[usize]) -> Vec<f32> {
        let u = uniform(name, dims.iter().product());
        let (module, field) = name.rsplit_once('.').unwrap_or(("", name));
        let (mean, var) = self.norms.get(module).copied().unwrap_or((0.0, 1.0));
        if ["fc.weight", "last_linear.weight"].contains(&name) {
            return u.map(|u| u * self.head_scale).collect();
        }
        if let [_, chans, height, width] = dims {
            let scale = (6.0 / (chans * height * width) as f64).sqrt() as f32; // He's variance 2 / fan_in
            return u.map(|u| u * scale).collect();
        }
        // A norm's weight is small at the end of a block, so that the shortcut dominates as in a
        // trained network.
        let ends = self.last_norms.iter().any(|end| module.ends_with(end));
        let weight = if ends { 0.2 } else { 1.0 };
        match field {
            "running_mean" => u.map(|_| mean).collect(),
            "running_var" => u.map(|u| var * (1.0 + 0.2 * u)).collect(),
            "bias" => u.map(|u| 0.1 * u).collect(),
            _ => u.map(|u| weight * (1.0 + 0.1 * u)).collect(),
        }
    }
}

impl SimpleBackend for Formula {
    fn get(&self, s: Shape, name: &str, _: Init, dtype: DType, dev: &Device) -> Result<Tensor> {
        Tensor::from_vec(self.values(name, s.dims()), s, dev)?.to_dtype(dtype)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        candle_core::bail!("`{name}` was asked for without its shape")
    }

    fn contains_tensor(&self, _: &str) -> bool {
        true
    }
}
