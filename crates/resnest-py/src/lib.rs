//! The Rust half of the Python package `resnest_rs`: it converts and releases the GIL, no more.
//!
//! What users see is in `python/resnest_rs`, in Python with its types; this module, `resnest_rs._resnest`, is what that is
//! made of. `input.rs` and `arrow.rs` take images in whatever form they come, `job.rs` says what is asked of them, `engine.rs`
//! is the classifier and `run.rs` the way of many images through it, `network.rs` and `transform.rs` are timm's `create_model`
//! and `create_transform`.
#![deny(unsafe_code)]

#[allow(
    unsafe_code,
    reason = "Arrow's C data interface: capsules hold addresses of structs"
)]
mod arrow;
mod command;
mod engine;
mod errors;
mod input;
mod job;
mod names;
mod network;
mod run;
mod threads;
mod transform;

use pyo3::prelude::*;

/// Every part of it may be used without the GIL: free-threaded builds keep theirs off.
#[pymodule(gil_used = false)]
fn _resnest(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<engine::Engine>()?;
    module.add_class::<engine::Map>()?;
    module.add_class::<network::Network>()?;
    module.add_class::<run::Stream>()?;
    module.add_class::<transform::Transform>()?;
    module.add_function(wrap_pyfunction!(arrow::predictions_stream, module)?)?;
    module.add_function(wrap_pyfunction!(command::command, module)?)?;
    module.add_function(wrap_pyfunction!(names::model_names, module)?)?;
    module.add_function(wrap_pyfunction!(names::architectures, module)?)?;
    module.add_function(wrap_pyfunction!(threads::default_threads, module)?)
}
