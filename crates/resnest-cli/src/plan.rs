//! `resnest info --plan`: how each layer would be computed, and what its packed weights take.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use resnest::model::{Algorithm, Error, FuseOptions, InputScale, Isa, PlannedLayer, plan};
use resnest::{Precision, ResNetConfig, precision_name};
use serde_json::{Value, json};

use super::args::{PrecisionChoice, at_least_one, layer_algorithm};

/// For what `info --plan` plans.
#[derive(Debug, Clone, Args)]
pub struct PlanArgs {
    /// Images in a batch, for --plan
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = at_least_one, requires = "plan")]
    pub batch_size: usize,
    /// How exact convolutions are, for --plan
    #[arg(long, value_enum, default_value = "auto", requires = "plan")]
    pub precision: PrecisionChoice,
    /// Another algorithm for a layer than the cost model's, such as layer1.0.conv2.conv=direct, for --plan (repeatable)
    #[arg(long, value_name = "LAYER=NAME", value_parser = layer_algorithm, requires = "plan")]
    pub algorithm: Vec<(String, Algorithm)>,
}

/// The plan of a network for this CPU.
pub struct Plan {
    layers: Vec<PlannedLayer>,
    isa: &'static str,
    precision: Precision,
    input_size: (usize, usize),
    batch_size: usize,
}

impl Plan {
    /// Plans for images of `input_size` (height, width); `inputs` are those of a quantised checkpoint.
    pub fn new(
        config: &ResNetConfig,
        input_size: (usize, usize),
        inputs: Option<&Arc<BTreeMap<String, InputScale>>>,
        args: &PlanArgs,
    ) -> Result<Self, Error> {
        let isa = Isa::detect().map_err(candle_core::Error::from)?;
        let unasked = match inputs {
            Some(_) => Precision::Int8,
            None => Precision::default(),
        };
        let precision = args.precision.asked().unwrap_or(unasked);
        let mut options = FuseOptions::default();
        options.precision = precision;
        options.quantization = inputs.map(Arc::clone).unwrap_or_default();
        options.input_size = input_size;
        options.batch = args.batch_size;
        options.isa = Some(isa);
        options.algorithms = BTreeMap::from_iter(args.algorithm.iter().cloned());
        Ok(Self {
            layers: plan(config, &options)?,
            isa: isa.kind().name(),
            precision,
            input_size,
            batch_size: args.batch_size,
        })
    }

    fn bytes(&self) -> usize {
        self.layers.iter().map(|layer| layer.bytes).sum()
    }

    /// A line that says for what, a table, a line with the sum.
    pub fn text(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["layer", "operation", "input", "algorithm", "packed KB"]);
        for layer in &self.layers {
            table.add_row([
                layer.path.clone(),
                layer.spec.clone(),
                format!("{}x{}", layer.input_size.0, layer.input_size.1),
                layer.algorithm.name().to_owned(),
                format!("{:.1}", layer.bytes as f64 / 1e3),
            ]);
        }
        for index in [2, 4] {
            if let Some(column) = table.column_mut(index) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        format!(
            "  planned for {}, {}, {}x{}, batch {}\n{}\n  packed weights {} bytes",
            self.isa,
            precision_name(Some(self.precision)),
            self.input_size.0,
            self.input_size.1,
            self.batch_size,
            table.trim_fmt(),
            self.bytes()
        )
    }

    /// The same for programs.
    pub fn object(&self) -> Value {
        let layer = |layer: &PlannedLayer| {
            json!({
                "path": layer.path,
                "operation": layer.spec,
                "input_size": [layer.input_size.0, layer.input_size.1],
                "algorithm": layer.algorithm.name(),
                "bytes": layer.bytes,
            })
        };
        json!({
            "isa": self.isa,
            "precision": precision_name(Some(self.precision)),
            "input_size": [self.input_size.0, self.input_size.1],
            "batch_size": self.batch_size,
            "bytes": self.bytes(),
            "layers": self.layers.iter().map(layer).collect::<Vec<_>>(),
        })
    }
}
