//! Rules for numbers of channels and for padding: timm's [`layers/helpers.py`] and [`layers/padding.py`].
//!
//! [`layers/helpers.py`]: https://github.com/huggingface/pytorch-image-models/blob/main/timm/layers/helpers.py
//! [`layers/padding.py`]: https://github.com/huggingface/pytorch-image-models/blob/main/timm/layers/padding.py

/// `make_divisible`: the nearest multiple of `divisor`, at least `min_value`, and not less than the
/// share `round_limit` of `v`.
pub(crate) fn make_divisible(v: f64, divisor: usize, min_value: usize, round_limit: f64) -> usize {
    let half_up = (v + divisor as f64 / 2.0) as usize;
    let rounded = (half_up / divisor * divisor).max(min_value);
    if (rounded as f64) < round_limit * v {
        rounded + divisor
    } else {
        rounded
    }
}

/// Channels inside a block: `int(planes * base_width / 64) * cardinality`. The product is truncated
/// before the groups multiply it.
pub(crate) fn group_width(planes: usize, base_width: usize, cardinality: usize) -> usize {
    ((planes as f64 * (base_width as f64 / 64.0)) as usize).saturating_mul(cardinality)
}

/// `get_padding`: zeros on each side of a convolution, so that stride 1 keeps the size.
pub(crate) fn get_padding(kernel: usize, stride: usize, dilation: usize) -> usize {
    (stride - 1 + dilation * (kernel - 1)) / 2
}
