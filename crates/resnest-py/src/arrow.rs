//! Columns of other libraries in, tables of predictions out, by Arrow's C data interface in Python's capsules
//! (<https://arrow.apache.org/docs/format/CDataInterface/PyCapsuleInterface.html>).

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Arc;

use arrow_array::builder::{Float32Builder, Int32Builder, ListBuilder, StringBuilder};
use arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi};
use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::{
    Array, ArrayRef, BinaryArray, BinaryViewArray, FixedSizeBinaryArray, LargeBinaryArray,
    LargeStringArray, RecordBatch, RecordBatchIterator, StringArray, StringViewArray, make_array,
};
use arrow_schema::{ArrowError, DataType, Field, Schema};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyTuple};

use crate::input::Input;

/// One row of a column of encoded images, where it lies.
#[derive(Debug, Clone)]
pub struct Cell {
    column: Arc<Column>,
    row: usize,
}

#[derive(Debug)]
enum Column {
    Binary(BinaryArray),
    Large(LargeBinaryArray),
    View(BinaryViewArray),
    Fixed(FixedSizeBinaryArray),
}

impl Cell {
    pub fn bytes(&self) -> &[u8] {
        match &*self.column {
            Column::Binary(array) => array.value(self.row),
            Column::Large(array) => array.value(self.row),
            Column::View(array) => array.value(self.row),
            Column::Fixed(array) => array.value(self.row),
        }
    }
}

/// The images of an object that speaks Arrow, an array or a chunked one; `None` for any other object.
///
/// # Errors
/// `TypeError` for a column of another type than bytes or paths.
pub fn cells(object: &Bound<'_, PyAny>) -> PyResult<Option<Vec<Input>>> {
    let arrays = if object.hasattr("__arrow_c_stream__")? {
        from_stream(&object.call_method0("__arrow_c_stream__")?)?
    } else if object.hasattr("__arrow_c_array__")? {
        let pair = object.call_method0("__arrow_c_array__")?;
        vec![from_pair(pair.cast::<PyTuple>()?)?]
    } else {
        return Ok(None);
    };
    let mut images = Vec::with_capacity(arrays.iter().map(|array| array.len()).sum());
    for array in &arrays {
        images.extend(rows(array)?);
    }
    Ok(Some(images))
}

/// An image for each row.
fn rows(array: &ArrayRef) -> PyResult<Vec<Input>> {
    let at = |row: usize, image: Input| match array.is_null(row) {
        true => Input::Null,
        false => image,
    };
    let paths = |path: &dyn Fn(usize) -> String| {
        let image = |row| match array.is_null(row) {
            true => Input::Null,
            false => Input::Path(path(row).into()),
        };
        Ok((0..array.len()).map(image).collect())
    };
    let any = array.as_any();
    let column = if let Some(array) = any.downcast_ref::<BinaryArray>() {
        Column::Binary(array.clone())
    } else if let Some(array) = any.downcast_ref::<LargeBinaryArray>() {
        Column::Large(array.clone())
    } else if let Some(array) = any.downcast_ref::<BinaryViewArray>() {
        Column::View(array.clone())
    } else if let Some(array) = any.downcast_ref::<FixedSizeBinaryArray>() {
        Column::Fixed(array.clone())
    } else if let Some(array) = any.downcast_ref::<StringArray>() {
        return paths(&|row| array.value(row).to_owned());
    } else if let Some(array) = any.downcast_ref::<LargeStringArray>() {
        return paths(&|row| array.value(row).to_owned());
    } else if let Some(array) = any.downcast_ref::<StringViewArray>() {
        return paths(&|row| array.value(row).to_owned());
    } else if *array.data_type() == DataType::Null {
        return Ok((0..array.len()).map(|_| Input::Null).collect());
    } else {
        return Err(PyTypeError::new_err(format!(
            "an Arrow column of type {} holds no images: give one of binary (encoded images) or of strings (paths)",
            array.data_type()
        )));
    };
    let column = Arc::new(column);
    let cell = |row| {
        let column = Arc::clone(&column);
        at(row, Input::Cell(Cell { column, row }))
    };
    Ok((0..array.len()).map(cell).collect())
}

/// What a capsule of this name points to.
fn pointer<T>(capsule: &Bound<'_, PyAny>, name: &CStr) -> PyResult<*mut T> {
    let capsule = capsule.cast::<PyCapsule>()?;
    Ok(capsule.pointer_checked(Some(name))?.as_ptr().cast())
}

fn from_pair(pair: &Bound<'_, PyTuple>) -> PyResult<ArrayRef> {
    let schema = pair.get_item(0)?;
    let schema: *mut FFI_ArrowSchema = pointer(&schema, c"arrow_schema")?;
    let array = pair.get_item(1)?;
    let array: *mut FFI_ArrowArray = pointer(&array, c"arrow_array")?;
    // SAFETY: capsules of these names point to such structs, which live as long as the capsules; the array is moved out,
    // and what stays is marked as released, as the interface asks.
    let (array, schema) = unsafe { (FFI_ArrowArray::from_raw(array), &*schema) };
    imported(array, schema)
}

fn imported(array: FFI_ArrowArray, schema: &FFI_ArrowSchema) -> PyResult<ArrayRef> {
    // SAFETY: the two came from one producer, which promises that they fit and stay until they are released.
    let data = unsafe { from_ffi(array, schema) }.map_err(|error| arrow_error(&error))?;
    // The producer's offsets are checked all the same: images are many, and their offsets few.
    data.validate_full().map_err(|error| arrow_error(&error))?;
    Ok(make_array(data))
}

/// Arrow's C stream, by its specification (arrow-array's struct keeps its functions to itself, and its reader takes tables
/// alone): <https://arrow.apache.org/docs/format/CStreamInterface.html>.
#[repr(C)]
struct CStream {
    get_schema: Option<unsafe extern "C" fn(*mut CStream, *mut FFI_ArrowSchema) -> c_int>,
    get_next: Option<unsafe extern "C" fn(*mut CStream, *mut FFI_ArrowArray) -> c_int>,
    get_last_error: Option<unsafe extern "C" fn(*mut CStream) -> *const c_char>,
    /// Null once the stream was released, or moved.
    release: Option<unsafe extern "C" fn(*mut CStream)>,
    private_data: *mut c_void,
}

impl CStream {
    /// What the producer says went wrong, if `status` is not 0.
    fn check(&mut self, status: c_int) -> PyResult<()> {
        if status == 0 {
            return Ok(());
        }
        let said = match self.get_last_error {
            // SAFETY: the producer's own function and stream, after a call that failed.
            Some(said) => unsafe { said(self) },
            None => std::ptr::null(),
        };
        let said = match said.is_null() {
            true => "no reason given".into(),
            // SAFETY: a string of C, which stays until the next call.
            false => unsafe { CStr::from_ptr(said) }.to_string_lossy(),
        };
        Err(PyValueError::new_err(format!(
            "the Arrow stream failed to give its next chunk: {said}"
        )))
    }
}

fn from_stream(capsule: &Bound<'_, PyAny>) -> PyResult<Vec<ArrayRef>> {
    let stream: *mut CStream = pointer(capsule, c"arrow_array_stream")?;
    // SAFETY: a capsule of this name points to such a struct, which lives as long as the capsule, and is ours to read and,
    // by the capsule, to release.
    let stream = unsafe { &mut *stream };
    let (Some(get_schema), Some(get_next), Some(_)) =
        (stream.get_schema, stream.get_next, stream.release)
    else {
        return Err(PyValueError::new_err("the Arrow stream was read already"));
    };
    let mut schema = FFI_ArrowSchema::empty();
    // SAFETY: the producer's own function, its own stream, and a struct for the answer.
    let status = unsafe { get_schema(stream, &mut schema) };
    stream.check(status)?;
    let mut arrays = Vec::new();
    loop {
        let mut array = FFI_ArrowArray::empty();
        // SAFETY: as above.
        let status = unsafe { get_next(stream, &mut array) };
        stream.check(status)?;
        if array.is_released() {
            return Ok(arrays);
        }
        arrays.push(imported(array, &schema)?);
    }
}

fn arrow_error(error: &ArrowError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// A stream capsule of one table of predictions, one row an image: see `Predictions.__arrow_c_stream__`.
#[pyfunction]
pub fn predictions_stream<'py>(
    py: Python<'py>,
    predictions: Vec<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyCapsule>> {
    let batch = table(&predictions)?;
    let schema = batch.schema();
    let reader = RecordBatchIterator::new([Ok(batch)], schema);
    let stream = FFI_ArrowArrayStream::new(Box::new(reader));
    PyCapsule::new_with_value(py, stream, c"arrow_array_stream")
}

fn table(predictions: &[Bound<'_, PyAny>]) -> PyResult<RecordBatch> {
    let mut indices = ListBuilder::new(Int32Builder::new());
    let mut labels = ListBuilder::new(StringBuilder::new());
    let mut probabilities = ListBuilder::new(Float32Builder::new());
    let mut logits = ListBuilder::new(Float32Builder::new());
    let mut errors = StringBuilder::new();
    for one in predictions {
        let fine = one.is_instance_of::<PyTuple>();
        if fine {
            errors.append_null();
            for class in one.try_iter()? {
                let class = class?;
                indices
                    .values()
                    .append_value(class.getattr("index")?.extract()?);
                labels
                    .values()
                    .append_value(class.getattr("label")?.extract::<String>()?);
                probabilities
                    .values()
                    .append_value(class.getattr("probability")?.extract()?);
                logits
                    .values()
                    .append_value(class.getattr("logit")?.extract()?);
            }
        } else {
            errors.append_value(one.str()?.to_string_lossy());
        }
        indices.append(fine);
        labels.append(fine);
        probabilities.append(fine);
        logits.append(fine);
    }
    let columns: [(&str, ArrayRef); 5] = [
        ("indices", Arc::new(indices.finish())),
        ("labels", Arc::new(labels.finish())),
        ("probabilities", Arc::new(probabilities.finish())),
        ("logits", Arc::new(logits.finish())),
        ("error", Arc::new(errors.finish())),
    ];
    let field =
        |(name, column): &(&str, ArrayRef)| Field::new(*name, column.data_type().clone(), true);
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    let columns = columns.map(|(_, column)| column);
    RecordBatch::try_new(Arc::new(schema), columns.into()).map_err(|error| arrow_error(&error))
}
