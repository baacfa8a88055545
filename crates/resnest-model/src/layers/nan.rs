//! ReLU and maxima that pass NaN on, as PyTorch's do.
//!
//! candle's are `max(x, 0)` and comparisons, in which NaN is never the larger: damaged weights would give a confident
//! answer.

use candle_core::cpu_backend::{Map1, unary_map};
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor, WithDType};

/// `torch.relu`, on any device.
pub(crate) fn relu(x: &Tensor) -> Result<Tensor> {
    if x.device().is_cpu() {
        return x.apply_op1(Relu);
    }
    x.lt(0.0)?.where_cond(&x.zeros_like()?, x)
}

struct Relu;

impl Map1 for Relu {
    fn f<T: WithDType>(&self, values: &[T], layout: &Layout) -> Result<Vec<T>> {
        let zero = T::zero();
        let relu = |x| if x < zero { zero } else { x };
        Ok(unary_map(values, layout, relu))
    }
}

impl CustomOp1 for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((self.map(storage, layout)?, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let passes = x.gt(0.0)?.to_dtype(x.dtype())?;
        Ok(Some((grad * passes)?))
    }
}

/// What `maximum`, one of candle's pools or reductions, makes of `x`; NaN where one is among the values.
pub(crate) fn largest(x: &Tensor, maximum: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let largest = maximum(x)?;
    let is_nan = x.ne(x)?.to_dtype(x.dtype())?; // NaN alone differs from itself
    let nan = (largest.zeros_like()? + f64::NAN)?;
    maximum(&is_nan)?.gt(0.0)?.where_cond(&nan, &largest)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, IndexOp};

    use super::*;

    const SPECIAL: [f32; 6] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -1.0, -0.0, 2.5];

    fn values(x: &Tensor) -> Vec<f32> {
        let x = x.to_dtype(DType::F32).unwrap().flatten_all().unwrap();
        x.to_vec1().unwrap()
    }

    /// Recorded from PyTorch: `torch.tensor([nan, inf, -inf, -1, -0., 2.5]).relu()`.
    #[test]
    fn relu_is_pytorchs_in_every_type() {
        for dtype in [DType::F32, DType::F64, DType::F16, DType::BF16] {
            let x = Tensor::new(&SPECIAL, &Device::Cpu).unwrap();
            let y = values(&relu(&x.to_dtype(dtype).unwrap()).unwrap());
            assert!(y[0].is_nan(), "{dtype:?}: {y:?}");
            assert_eq!(y[1..], [f32::INFINITY, 0.0, 0.0, 0.0, 2.5], "{dtype:?}");
        }
        // Of a view with gaps too.
        let x = Tensor::new(&[[1.0f32, f32::NAN], [-2.0, 3.0]], &Device::Cpu).unwrap();
        let y = values(&relu(&x.t().unwrap()).unwrap());
        assert!(y[2].is_nan());
        assert_eq!([y[0], y[1], y[3]], [1.0, 0.0, 3.0]);
    }

    #[test]
    fn a_relus_gradient_is_that_of_its_positive_values() {
        let x = candle_core::Var::new(&[-1.0f32, 2.0], &Device::Cpu).unwrap();
        let y = (relu(&x).unwrap() * 3.0).unwrap().sum_all().unwrap();
        let grads = y.backward().unwrap();
        assert_eq!(values(grads.get(&x).unwrap()), [0.0, 3.0]);
    }

    /// Wherever the NaN is: first in its window, in the middle or last.
    #[test]
    fn a_maximum_over_a_nan_is_nan() {
        for at in 0..9 {
            let mut x: Vec<f32> = (0..18).map(|v| v as f32 - 9.0).collect();
            x[at] = f32::NAN;
            x[17] = f32::INFINITY;
            let x = Tensor::from_vec(x, (1, 2, 3, 3), &Device::Cpu).unwrap();
            let pooled = largest(&x, |x| x.max_pool2d_with_stride(3, 1)).unwrap();
            let reduced = largest(&x, |x| x.flatten_from(2)?.max(2)).unwrap();
            for y in [pooled.i((0, .., 0, 0)).unwrap(), reduced.i(0).unwrap()] {
                let y = values(&y);
                assert!(y[0].is_nan() && y[1] == f32::INFINITY, "{at}: {y:?}");
            }
        }
    }
}
