//! The arguments of `edgectl adapt`.

use std::path::PathBuf;

use clap::Args;

/// `edgectl adapt`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgectl adapt --model global.safetensors --data mine.csv --out adapted.safetensors
  edgectl adapt --model global.safetensors --data mine.csv --replay D --out adapted.safetensors

Trains on the labelled windows of --data, beside as many of --replay: rows from before, so that what
was known is not forgotten. The rate is the same in every step, and not that of the model's job,
which is 0 once the planned rounds are over. Every fifth stretch of windows is not trained on: the
new model has to be better on those of --data, and may lose one in a hundred of those of --replay,
or else it is not written. Rows marked as test are left out. A run does the same by itself with
labels that come back: [adapt] in the file of its --config.")]
pub struct AdaptArgs {
    /// The model
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,
    /// Files or folders with labelled rows as they are now
    #[arg(long, value_name = "PATH", num_args = 1.., required = true)]
    pub data: Vec<PathBuf>,
    /// Files or folders with labelled rows as they were before
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub replay: Vec<PathBuf>,
    /// Where to write the adapted model, which is also an update of it; replaces a plain file that is
    /// none of the inputs
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Name of this node in the update [default: that of the data]
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// Learning rate of every step
    #[arg(long, value_name = "LR", default_value_t = 1e-3)]
    pub lr: f32,
    /// Steps
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..))]
    pub steps: u64,
    /// Windows in a step, half of them of --replay
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u16).range(2..=4096))]
    pub batch: u16,
    /// What is random is a function of it
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}
