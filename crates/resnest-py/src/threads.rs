//! How many threads, where nobody says.

use pyo3::prelude::*;

use crate::errors::bad_option;

/// What RESNEST_NUM_THREADS says, else OMP_NUM_THREADS (which Ray and Spark set for their workers), else as many as the
/// process has CPUs, by its affinity and its cgroup's quota.
///
/// # Errors
/// `ModelError` for a RESNEST_NUM_THREADS that is no number above 0. Another's variable is not ours to refuse.
#[pyfunction]
pub fn default_threads(py: Python<'_>) -> PyResult<usize> {
    let positive = |text: &str| text.trim().parse::<usize>().ok().filter(|&n| n > 0);
    if let Ok(text) = std::env::var("RESNEST_NUM_THREADS")
        && !text.is_empty()
    {
        return positive(&text).ok_or_else(|| {
            let problem = format!("RESNEST_NUM_THREADS is {text:?}: it must be a number above 0");
            bad_option(py, problem)
        });
    }
    // OpenMP's is a list, a number for each level of nesting.
    let openmp = std::env::var("OMP_NUM_THREADS").ok();
    let openmp = openmp.and_then(|list| positive(list.split(',').next()?));
    let cpus = || std::thread::available_parallelism().map_or(1, usize::from);
    Ok(openmp.unwrap_or_else(cpus))
}
