//! Arguments of `edgectl preprocess`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `edgectl preprocess`
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "\
Examples:
  edgectl preprocess describe --data data/watch
  edgectl preprocess --model global.safetensors --data data/watch/subject_03.csv --out scaled.csv
  edgectl preprocess fit --config job.toml --data mine.csv --out stats-mine.safetensors
  edgectl aggregate stats-*.safetensors --out stats.safetensors
  edgectl init --config job.toml --stats stats.safetensors --out global.safetensors")]
pub struct PreprocessArgs {
    /// What to do; without it, apply.
    #[command(subcommand)]
    pub command: Option<PreprocessCommand>,
    /// Those of apply.
    #[command(flatten)]
    pub apply: Option<ApplyArgs>,
}

/// `edgectl preprocess …`
#[derive(Debug, Subcommand)]
pub enum PreprocessCommand {
    /// Tell what training rows are like, so that all nodes scale alike and none shows its rows
    Fit(FitArgs),
    /// Write data as a model sees it
    Apply(ApplyArgs),
    /// Say what is understood of data, whatever its format
    Describe(DescribeArgs),
    /// Write the windows that a job trains and tests on, for other programs
    Windows(WindowsArgs),
}

/// `edgectl preprocess apply`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgectl preprocess apply --model global.safetensors --data mine.csv --out scaled.csv
  edgectl preprocess apply --config job.toml --stats stats.safetensors --data mine.csv --out scaled.csv")]
#[group(requires_all = ["out"])]
pub struct ApplyArgs {
    /// The model whose fitted preprocessing to apply
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "config",
        required_unless_present = "config"
    )]
    pub model: Option<PathBuf>,
    /// The job whose steps to apply, fitted on --stats, else on the training rows of the data
    #[arg(long, value_name = "JOB.toml")]
    pub config: Option<PathBuf>,
    /// Merged statistics to fit the job's steps on; of a model, those of the node's training rows, for steps
    /// with fit = "node" that have no values in it
    #[arg(long, value_name = "FILE")]
    pub stats: Option<PathBuf>,
    /// Files or folders [default: the job's path]
    #[arg(long, value_name = "PATH", num_args = 1.., required_unless_present = "config")]
    pub data: Vec<PathBuf>,
    /// Where to write the rows, as a long CSV that train, eval and predict read with --preprocessed;
    /// replaces a plain file that is none of the inputs
    #[arg(long, value_name = "FILE.csv")]
    pub out: PathBuf,
}

/// `edgectl preprocess fit`
#[derive(Debug, Args)]
#[command(after_help = "\
What leaves the node: names of channels and classes; counts, means, deviations and ranges; where a step
needs them quantiles (never more than a quarter of the values) and how channels vary together. Of a
handful of rows this is nearly the rows themselves.

Examples:
  edgectl preprocess fit --config job.toml --data mine.csv --out stats-mine.safetensors
  edgectl aggregate stats-*.safetensors --out stats.safetensors
  edgectl preprocess fit --model global.safetensors --data mine.csv --out mine.safetensors
  edgectl eval --model global.safetensors --stats mine.safetensors --data new.csv")]
pub struct FitArgs {
    /// The job whose [[preprocess]] steps are to be fitted, but those with fit = "node"
    #[arg(
        long,
        value_name = "JOB.toml",
        conflicts_with = "model",
        required_unless_present = "model"
    )]
    pub config: Option<PathBuf>,
    /// The model whose steps with fit = "node" are to be fitted, for eval, predict and apply with --stats
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// Files or folders [default: the job's path]
    #[arg(long, value_name = "PATH", num_args = 1.., required_unless_present = "config")]
    pub data: Vec<PathBuf>,
    /// Merged statistics of the round before, where steps need several rounds
    #[arg(long, value_name = "FILE")]
    pub stats: Option<PathBuf>,
    /// The node's name [default: by its data]
    #[arg(long)]
    pub node: Option<String>,
    /// Where to write the statistics; replaces a plain file that is none of the inputs
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// `edgectl preprocess describe`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgectl preprocess describe --data data/watch
  edgectl preprocess describe --config examples/watch.toml --json
  edgectl preprocess describe --config examples/watch.toml --plot watch.svg")]
pub struct DescribeArgs {
    /// Files or folders [default: the job's path]
    #[arg(long, value_name = "PATH", num_args = 1.., required_unless_present = "config")]
    pub data: Vec<PathBuf>,
    /// The job that says how to read them
    #[arg(long, value_name = "JOB.toml")]
    pub config: Option<PathBuf>,
    /// Draw the first series, raw and after the job's steps, with spectra and the balance of the classes;
    /// replaces a plain file that is none of the inputs
    #[arg(long, value_name = "FILE.svg|FILE.png")]
    pub plot: Option<PathBuf>,
}

/// `edgectl preprocess windows`
#[derive(Debug, Args)]
#[command(after_help = "\
The file is a safetensors file with train.x, train.lengths, train.y and the same of test: x is [windows, steps,
channels], scaled as a model takes it and padded with zeros behind the lengths; y are places in the classes,
which its metadata names. PyTorch reads it with safetensors.torch.load_file.

Example:
  edgectl preprocess windows --config examples/gunpoint.toml --out gunpoint.safetensors")]
pub struct WindowsArgs {
    /// The job that says how to read, scale and cut
    #[arg(long, value_name = "JOB.toml")]
    pub config: PathBuf,
    /// Files or folders [default: the job's path]
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub data: Vec<PathBuf>,
    /// Where to write the windows; replaces a plain file that is none of the inputs
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}
