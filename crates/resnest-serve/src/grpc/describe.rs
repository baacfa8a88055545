//! What there is and what it has done, as messages.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use super::generated::model_metadata_response::TensorMetadata as Tensor;
use super::generated::repository_index_response::ModelIndex;
use super::generated::{
    self, InferBatchStatistics, InferStatistics, ModelConfig, ModelInput, ModelMetadataResponse,
    ModelOutput, ModelStatistics, ModelTransactionPolicy, StatisticDuration,
};
use crate::http::repository::stand_in_words;
use crate::infer::metadata::{self, PLATFORM, SERVER, TensorMetadata};
use crate::infer::tensor::DataType;
use crate::models::{Model, Stand, VERSION};

/// A model's inputs and outputs.
pub(super) fn metadata(model: &Model) -> ModelMetadataResponse {
    let tensor = |tensor: TensorMetadata| Tensor {
        name: tensor.name.to_owned(),
        datatype: tensor.datatype.name().to_owned(),
        shape: tensor.shape,
    };
    ModelMetadataResponse {
        name: model.name.clone(),
        versions: vec![VERSION.to_owned()],
        platform: PLATFORM.to_owned(),
        inputs: metadata::inputs(model).into_iter().map(tensor).collect(),
        outputs: metadata::outputs(model).into_iter().map(tensor).collect(),
        properties: BTreeMap::new(),
    }
}

/// The same in Triton's terms. As over HTTP, `max_batch_size` is 0 and shapes have the number of images.
pub(super) fn config(model: &Model) -> ModelConfig {
    let input = |tensor: TensorMetadata| ModelInput {
        name: tensor.name.to_owned(),
        data_type: data_type(tensor.datatype).into(),
        dims: tensor.shape,
        optional: true,
        ..ModelInput::default()
    };
    let output = |tensor: TensorMetadata| ModelOutput {
        name: tensor.name.to_owned(),
        data_type: data_type(tensor.datatype).into(),
        dims: tensor.shape,
        ..ModelOutput::default()
    };
    ModelConfig {
        name: model.name.clone(),
        platform: PLATFORM.to_owned(),
        backend: SERVER.to_owned(),
        input: metadata::inputs(model).into_iter().map(input).collect(),
        output: metadata::outputs(model).into_iter().map(output).collect(),
        model_transaction_policy: Some(ModelTransactionPolicy::default()),
        ..ModelConfig::default()
    }
}

fn data_type(datatype: DataType) -> generated::DataType {
    match datatype {
        DataType::Bytes => generated::DataType::TypeString,
        DataType::Uint8 => generated::DataType::TypeUint8,
        DataType::Fp32 => generated::DataType::TypeFp32,
    }
}

/// What a model has done since it was loaded.
pub(super) fn statistics(model: &Model) -> ModelStatistics {
    let totals = model.metrics.totals();
    let well = totals.well;
    let last = totals
        .last
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let batches = totals
        .batches
        .iter()
        .map(|(&size, &(count, took))| InferBatchStatistics {
            batch_size: size as u64,
            compute_input: sum(count, Duration::ZERO),
            compute_infer: sum(count, took),
            compute_output: sum(count, Duration::ZERO),
        });
    ModelStatistics {
        name: model.name.clone(),
        version: VERSION.to_owned(),
        last_inference: last.map_or(0, |time| {
            u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
        }),
        inference_count: well,
        execution_count: totals.batches.values().map(|(count, _)| count).sum(),
        inference_stats: Some(InferStatistics {
            success: sum(well, totals.queue + totals.decode + totals.inference),
            fail: sum(totals.failed, Duration::ZERO),
            queue: sum(well, totals.queue),
            compute_input: sum(well, totals.decode),
            compute_infer: sum(well, totals.inference),
            // perf_analyzer wants one for each request, even of no length.
            compute_output: sum(well, Duration::ZERO),
            cache_hit: none(),
            cache_miss: none(),
        }),
        batch_stats: batches.collect(),
        memory_usage: Vec::new(),
    }
}

fn sum(count: u64, time: Duration) -> Option<StatisticDuration> {
    let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    Some(StatisticDuration { count, ns })
}

fn none() -> Option<StatisticDuration> {
    sum(0, Duration::ZERO)
}

/// How it stands with a model.
pub(super) fn indexed(name: String, stand: Stand) -> ModelIndex {
    let (state, reason) = stand_in_words(stand);
    ModelIndex {
        name,
        version: VERSION.to_owned(),
        state: state.to_owned(),
        reason,
    }
}
