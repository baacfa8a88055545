//! The options of `resnest explain`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use resnest::explain::{ColorMap, OverlayStyle};

use crate::args::{
    ComputeArgs, ModelArgs, ReadArgs, TableFormat, TransformArgs, at_least_one, parse,
};

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Image files, folders (searched throughout), glob patterns, or - for one image on standard input
    #[arg(required = true, value_name = "IMAGE")]
    pub inputs: Vec<OsString>,
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub compute: ComputeArgs,
    #[command(flatten)]
    pub reading: ReadArgs,
    /// Map this class: an index, a name such as n02123045, or words of its description (repeatable)
    #[arg(long = "class", value_name = "CLASS", conflicts_with = "topk")]
    pub classes: Vec<String>,
    /// Map so many of the best classes
    #[arg(long, default_value_t = 1, value_name = "K", value_parser = at_least_one)]
    pub topk: usize,
    /// Folder for overlays (.png), maps (.npy) and the picture of the splits (.svg); made if need be
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub out: PathBuf,
    /// Leave the split attention out
    #[arg(long)]
    pub no_splits: bool,
    #[command(flatten)]
    pub style: StyleArgs,
    /// For people, or an array with one object per image
    #[arg(long, value_enum, default_value_t)]
    pub format: TableFormat,
    #[command(flatten)]
    pub transform: TransformArgs,
}

/// How an overlay looks.
#[derive(Debug, Clone, Args)]
pub struct StyleArgs {
    /// Colours of the map: turbo, viridis, inferno, magma or plasma
    #[arg(long, value_name = "NAME", default_value = "turbo", value_parser = parse::<ColorMap>)]
    pub colormap: ColorMap,
    /// How much of the photo the colours cover where the map is greatest, 0 to 1
    #[arg(long, value_name = "SHARE", default_value = "0.6", value_parser = opacity)]
    pub opacity: f32,
}

fn opacity(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(opacity) if (0.0..=1.0).contains(&opacity) => Ok(opacity),
        _ => Err("must be a number from 0 to 1".into()),
    }
}

impl StyleArgs {
    /// As the library takes it.
    pub fn style(&self) -> OverlayStyle {
        let mut style = OverlayStyle::default();
        style.color_map = self.colormap;
        style.opacity = self.opacity;
        style
    }
}
