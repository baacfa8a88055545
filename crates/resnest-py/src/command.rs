//! The command, from a process that is Python.

use pyo3::prelude::*;

/// Runs `resnest` with these arguments, the first of them the program's name; its exit status.
#[pyfunction]
pub fn command(py: Python<'_>, arguments: Vec<String>) -> u8 {
    py.detach(|| resnest_cli::run_with(arguments))
}
