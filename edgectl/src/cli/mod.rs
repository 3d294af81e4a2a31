//! The command line; the doc comments are the manual.

mod bench;

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use attn_core::Precision;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::job::LearningRate;

pub use bench::{
    AttentionShape, BenchCommand, GemmShape, InferShape, ModelShape, OptimizerShape, TrainShape,
};

/// Train small attention models where the data is, and merge them at a center.
#[derive(Debug, Parser)]
#[command(name = "edgectl", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  edgectl simulate                                      the job in examples/watch.toml, all nodes and rounds
  edgectl init --config job.toml --data D --out global.safetensors
  edgectl train --init global.safetensors --data mine.csv --out node.safetensors
  edgectl aggregate node-*.safetensors --base global.safetensors --out global.safetensors")]
pub struct Cli {
    /// What every subcommand takes.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every subcommand.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Print one JSON object on stdout, and nothing else there
    #[arg(long, global = true)]
    pub json: bool,
    /// No progress on stderr
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Threads to use; results do not depend on it [default: all cores]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a fresh model that fits the data's channels, classes and windows
    Init(InitArgs),
    /// Train on a node's own files
    Train(TrainArgs),
    /// Merge weight files into one
    Aggregate(AggregateArgs),
    /// Measure a model on held-out data
    Eval(EvalArgs),
    /// Write a model's answers for files
    Predict(PredictArgs),
    /// Run nodes, center and rounds in one process
    Simulate(SimulateArgs),
    /// Write data as a model sees it
    Preprocess(PreprocessArgs),
    /// Show what a weight file holds
    Inspect(InspectArgs),
    /// Measure what this machine sustains
    #[command(subcommand)]
    Bench(BenchCommand),
}

/// `edgectl init`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  edgectl init --config examples/watch.toml --data data/watch --out global.safetensors")]
pub struct InitArgs {
    /// The job file
    #[arg(long, value_name = "JOB.toml")]
    pub config: PathBuf,
    /// Files or folders; preprocessing is fitted on their training rows [default: the job's path]
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub data: Vec<PathBuf>,
    /// Where to write the model
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Seed of the weights [default: the job's]
    #[arg(long)]
    pub seed: Option<u64>,
}

/// `edgectl train`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgectl train --init global.safetensors --data subject_01.csv --out node-01.safetensors
  edgectl train --config examples/gunpoint.toml --data data/gunpoint --out gunpoint.safetensors
  edgectl train --init global.safetensors --data mine.csv --out node.safetensors --time-budget 10m
  edgectl train --init global.safetensors --data mine.csv --out node.safetensors --resume
  edgectl train --config job.toml --data mine.csv --out model.safetensors --lr auto
  edgectl train --init global.safetensors --data mine.csv --out node.safetensors \\
      --trainable 'blocks.*.attn.*'")]
pub struct TrainArgs {
    /// Files or folders; rows marked as test are left out [default: the job's path]
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub data: Vec<PathBuf>,
    /// Where to write the trained weights
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// The model to start from; without it, a fresh one
    #[arg(long, value_name = "FILE")]
    pub init: Option<PathBuf>,
    /// The job file; with --init only its train section counts [default: what the model brings]
    #[arg(long, value_name = "JOB.toml")]
    pub config: Option<PathBuf>,
    /// Name of this node in the update [default: that of the data]
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// Passes over the training windows
    #[arg(long, value_name = "N")]
    pub epochs: Option<u32>,
    /// Windows in a step
    #[arg(long, value_name = "N")]
    pub batch: Option<usize>,
    /// Learning rate: a number, or auto for a range test on the training rows (up to 30 s)
    #[arg(long, value_name = "LR|auto", allow_hyphen_values = true)]
    pub lr: Option<LearningRate>,
    /// sgd, adam, amsgrad, adamw, nadam, radam, adagrad, rmsprop, yogi, lion, lamb or
    /// schedule-free-adamw, with published defaults unless the job says more about it
    #[arg(long, value_name = "NAME")]
    pub optimizer: Option<optim::OptimizerConfig>,
    /// Train and ship only parameters whose name matches, for example 'blocks.*.attn.*'
    #[arg(long, value_name = "PATTERN,…", value_delimiter = ',')]
    pub trainable: Option<Vec<String>>,
    /// Seed of everything random
    #[arg(long)]
    pub seed: Option<u64>,
    /// Stop after so long, with what was learned saved (for example 90s, 10m)
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub time_budget: Option<Duration>,
    /// Go on from the state that an earlier run left beside its output
    #[arg(long)]
    pub resume: bool,
}

/// `edgectl aggregate`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgectl aggregate node-*.safetensors --base global.safetensors --out global.safetensors
  edgectl aggregate a.safetensors b.safetensors --weights 0.7,0.3 --out merged.safetensors
  edgectl aggregate node-*.safetensors --base global.safetensors --out global.safetensors \\
      --strategy fedadam:lr=0.03 --quorum 5
  edgectl aggregate node-*.safetensors --base global.safetensors --out global.safetensors \\
      --reduce centred-clipping --bucket 2 --server sgd:momentum=0.9 --quarantine refused
  edgectl aggregate tuned-*.safetensors --base model.safetensors --strategy ties:density=0.2 \\
      --out merged.safetensors
  edgectl aggregate a/model.safetensors.index.json b/model.safetensors.index.json \\
      --out c/model.safetensors.index.json --shard-size 2GB")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct AggregateArgs {
    /// The weight files to merge; of models in several files, their index
    #[arg(value_name = "UPDATE", required = true)]
    pub updates: Vec<PathBuf>,
    /// Where to write the merged weights; may be the base. A name that ends in
    /// .safetensors.index.json gives several files
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// The model that the updates started from; others are refused
    #[arg(long, value_name = "FILE")]
    pub base: Option<PathBuf>,
    /// A published pair of reducer and server step, with options as fedadam:lr=0.1 [default: fedavg]
    ///
    /// fedavg, weighted, sgd, fedsgd, fedavgm, fedadagrad, fedadam, fedyogi, fedadamw, fedlion,
    /// fednova, fedbuff, fedasync, scaffold, feddyn, median, trimmed-mean, krum, multi-krum, bulyan,
    /// geometric-median, centred-clipping, norm-clipped-mean, linear, ties, dare, slerp; or job for
    /// what the federation section of the job says that made the base
    #[arg(long, value_name = "NAME[:KEY=VALUE,…]")]
    pub strategy: Option<String>,
    /// How updates become one, whatever the strategy says
    ///
    /// `mean, norm-clipped-mean[:max_norm=X], median, trimmed-mean[:trim=0.2], krum[:byzantine=F],
    /// multi-krum[:byzantine=F,keep=N], bulyan[:byzantine=F], geometric-median[:steps=N,smoothing=X],
    /// centred-clipping[:radius=X,steps=5], nova, buffered[:exponent=0.5],
    /// async[:alpha=0.6,exponent=0.5], ties[:density=0.2,scale=1], dare[:density=0.5,scale=1,seed=0],
    /// slerp[:t=0.5]`
    #[arg(long, value_name = "NAME[:KEY=VALUE,…]", value_parser = aggregate::Reducer::from_str)]
    pub reduce: Option<aggregate::Reducer>,
    /// How the center moves, whatever the strategy says
    ///
    /// `replace, sgd[:lr=1,momentum=0,nesterov=false], adagrad[:lr=0.1,tau=1e-3],
    /// adam[:lr=0.03,beta1=0.9,beta2=0.99,tau=1e-3,bias_correction=false], yogi, adamw, lion,
    /// dyn:alpha=X,population=N`
    #[arg(long, value_name = "NAME[:KEY=VALUE,…]", value_parser = aggregate::ServerStep::from_str)]
    pub server: Option<aggregate::ServerStep>,
    /// Average so many updates at random before the reducer sees them
    #[arg(long, value_name = "SIZE")]
    pub bucket: Option<usize>,
    /// Seed of the buckets, another one in every round [default: the round of the base, 0 where it
    /// has none]
    #[arg(long, requires = "bucket", value_name = "N")]
    pub bucket_seed: Option<u64>,
    /// One weight per file, in their order [default: the number of examples in each checkpoint]
    #[arg(long, value_name = "W,W,…", value_delimiter = ',', allow_hyphen_values = true)]
    pub weights: Option<Vec<f64>>,
    /// All updates weigh the same
    #[arg(long, conflicts_with = "weights")]
    pub uniform: bool,
    /// Merged updates weigh as many as the updates in them, which they state themselves
    #[arg(long, conflicts_with_all = ["weights", "uniform"])]
    pub by_count: bool,
    /// Learning rate of the strategy's server step
    #[arg(long)]
    pub lr: Option<f32>,
    /// Momentum of the strategy's server step [sgd and fedavgm; default: 0.9]
    #[arg(long)]
    pub momentum: Option<f32>,
    /// Float tensors that keep the base's values, as in `FedBN`; for example 'blocks.*.norm*'
    #[arg(long, value_name = "PATTERN,…", value_delimiter = ',')]
    pub keep_local: Option<Vec<String>>,
    /// Earlier models that late updates may have started from (fedbuff)
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub older_base: Vec<PathBuf>,
    /// Refuse updates whose base is older by more versions
    #[arg(long, value_name = "N")]
    pub max_age: Option<u64>,
    /// Refuse updates whose change is longer than the median by more deviations than that; off for
    /// any length [default: 10]
    #[arg(long, value_name = "N|off", value_parser = deviations)]
    pub max_deviation: Option<Deviations>,
    /// How many updates must be left, at least
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub quorum: usize,
    /// Move refused updates to this folder, but for models in several files
    #[arg(long, value_name = "DIR")]
    pub quarantine: Option<PathBuf>,
    /// Clip every change to this norm and blur the mean, so that it does not tell who took part
    #[arg(long, value_name = "NORM", requires = "noise_multiplier", conflicts_with = "weights")]
    pub clip_norm: Option<f64>,
    /// Deviation of the noise on the sum of changes, in units of the norm
    #[arg(long, value_name = "Z", requires = "clip_norm")]
    pub noise_multiplier: Option<f64>,
    /// Let the norm follow this quantile of the changes' norms
    #[arg(long, value_name = "SHARE", requires = "clip_norm")]
    pub clip_quantile: Option<f64>,
    /// Probability of each node to be in a round, for the stated privacy
    #[arg(long, value_name = "Q", requires = "clip_norm", default_value_t = 1.0)]
    pub sampling_rate: f64,
    /// The delta for which epsilon is stated
    #[arg(long, value_name = "D", requires = "clip_norm", default_value_t = 1e-5)]
    pub delta: f64,
    /// Noise from a seed instead of secret numbers, for experiments: who knows it can undo it
    #[arg(long, value_name = "N", requires = "clip_norm")]
    pub insecure_seed: Option<u64>,
    /// Nodes there are in all, for scaffold
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub population: Option<u32>,
    /// Largest file of a model in several files, for example 2GB
    #[arg(long, value_name = "SIZE", value_parser = byte_size)]
    pub shard_size: Option<u64>,
    /// Refuse to merge at all if an update holds NaN or infinity, or moved too far
    #[arg(long)]
    pub strict: bool,
    /// Leave out updates that are damaged, of another shape or base, or of a node that sent two
    #[arg(long, conflicts_with = "strict")]
    pub keep_going: bool,
}

/// How many deviations from the median norm are too many.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Deviations(pub Option<f64>);

fn deviations(text: &str) -> Result<Deviations, String> {
    if text == "off" {
        return Ok(Deviations(None));
    }
    match text.parse() {
        Ok(n) if n > 0.0 => Ok(Deviations(Some(n))),
        _ => Err("expected a number above 0, or off".to_owned()),
    }
}

/// `2GB`, `500MB`, `1GiB` or a number of bytes.
fn byte_size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err(format!("unknown unit {unit:?}; use KB, MB, GB, KiB, MiB or GiB")),
    };
    let number: u64 = number.parse().map_err(|_| "expected a size such as 2GB".to_owned())?;
    match number.checked_mul(factor) {
        Some(size) if size > 0 => Ok(size),
        _ => Err("expected a size above 0 such as 2GB".to_owned()),
    }
}

/// `edgectl eval`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  edgectl eval --model global.safetensors --data data/watch --json")]
pub struct EvalArgs {
    /// The model
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,
    /// Files or folders; rows marked as test count, all rows if none is marked
    #[arg(long, value_name = "PATH", num_args = 1.., required = true)]
    pub data: Vec<PathBuf>,
    /// All rows count, whatever their mark
    #[arg(long)]
    pub all: bool,
    /// How weights are kept: what a smaller model costs in accuracy
    #[arg(long, value_enum, default_value_t = PrecisionArg::F32)]
    pub precision: PrecisionArg,
}

/// How weights are kept for answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PrecisionArg {
    /// 4 bytes a weight, exact
    F32,
    /// 2 bytes a weight
    Bf16,
    /// 1 byte a weight
    Int8,
}

impl From<PrecisionArg> for Precision {
    fn from(arg: PrecisionArg) -> Self {
        match arg {
            PrecisionArg::F32 => Self::F32,
            PrecisionArg::Bf16 => Self::Bf16,
            PrecisionArg::Int8 => Self::Int8,
        }
    }
}

/// `edgectl predict`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  edgectl predict --model global.safetensors --data data/watch/subject_03.csv --out predictions.csv")]
pub struct PredictArgs {
    /// The model
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,
    /// Files or folders; every window is answered
    #[arg(long, value_name = "PATH", num_args = 1.., required = true)]
    pub data: Vec<PathBuf>,
    /// Where to write the answers, as CSV
    #[arg(long, value_name = "FILE.csv")]
    pub out: PathBuf,
    /// Also write windows, lengths and logits, to compare with other frameworks
    #[arg(long, value_name = "FILE.safetensors")]
    pub tensors: Option<PathBuf>,
}

/// `edgectl simulate`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgectl simulate
  edgectl simulate --config examples/watch.toml --centralised
  edgectl simulate --holdout subject_09,subject_10
  edgectl simulate --attack all --attackers 2 --rounds 10
  edgectl simulate --attack sign-flip,alie --reduce centred-clipping --bucket 2")]
pub struct SimulateArgs {
    /// The job file
    #[arg(long, value_name = "JOB.toml", default_value = "examples/watch.toml")]
    pub config: PathBuf,
    /// Files or folders; each file or each value of the node column is a node [default: the job's path]
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub data: Vec<PathBuf>,
    /// Folder for the weight files and the report [default: runs/NAME OF THE JOB]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Also train one model on all nodes' rows, and run plain federated averaging, to compare
    #[arg(long)]
    pub centralised: bool,
    /// Nodes that never train; the final model is tested on all their rows
    #[arg(long, value_name = "NODE,…", value_delimiter = ',')]
    pub holdout: Option<Vec<String>>,
    /// Rounds [default: the job's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: Option<u32>,
    /// How updates become one [default: the job's]; see aggregate --help
    #[arg(long, value_name = "NAME[:KEY=VALUE,…]", value_parser = aggregate::Reducer::from_str)]
    pub reduce: Option<aggregate::Reducer>,
    /// How the center moves [default: the job's]; see aggregate --help
    #[arg(long, value_name = "NAME[:KEY=VALUE,…]", value_parser = aggregate::ServerStep::from_str)]
    pub server: Option<aggregate::ServerStep>,
    /// Average so many updates at random before the reducer sees them [default: the job's]
    #[arg(long, value_name = "SIZE", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub bucket: Option<usize>,
    /// Refuse updates whose change is longer than the median by more deviations than that; off for
    /// any length [default: the job's]
    #[arg(long, value_name = "N|off", value_parser = deviations)]
    pub max_deviation: Option<Deviations>,
    /// Let some nodes attack, and show what becomes of the accuracy: sign-flip, gaussian,
    /// label-flip, alie, ipm, nan or all; without --reduce, by every rule
    #[arg(long, value_name = "ATTACK,…", value_delimiter = ',')]
    pub attack: Vec<String>,
    /// How many nodes attack [default: a fifth]
    #[arg(long, value_name = "N", requires = "attack")]
    pub attackers: Option<usize>,
    /// Epochs of each round [default: the job's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub epochs: Option<u32>,
    /// Seed of everything random [default: the job's]
    #[arg(long)]
    pub seed: Option<u64>,
}

/// `edgectl preprocess`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  edgectl preprocess --model global.safetensors --data data/watch/subject_03.csv --out scaled.csv")]
pub struct PreprocessArgs {
    /// The model whose fitted preprocessing to apply
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,
    /// Files or folders
    #[arg(long, value_name = "PATH", num_args = 1.., required = true)]
    pub data: Vec<PathBuf>,
    /// Where to write the rows, as a long CSV
    #[arg(long, value_name = "FILE.csv")]
    pub out: PathBuf,
}

/// `edgectl inspect`
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  edgectl inspect global.safetensors")]
pub struct InspectArgs {
    /// Any safetensors file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
