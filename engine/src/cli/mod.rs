//! The command line; the doc comments are the manual.

mod adapt;
mod aggregate;
mod bench;
mod demo;
#[cfg(feature = "store")]
mod fleet;
mod live;
mod models;
mod precision;
mod preprocess;
mod tune;

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::job::LearningRate;

pub use adapt::AdaptArgs;
pub use aggregate::AggregateArgs;
pub use bench::{
    AttentionShape, BenchCommand, GemmShape, InferShape, ModelShape, OptimizerShape, ReadShape,
    TrainShape,
};
pub use demo::DemoArgs;
#[cfg(feature = "store")]
pub use fleet::{
    CenterArgs, EncodingArg, KeysCommand, NodeArgs, PresignArgs, Span, StoreArgs, StoreCommand,
};
pub use live::{CalibrateArgs, ReplayArgs, RunArgs, Speed};
pub use models::{PromoteArgs, RollbackArgs, StatusArgs};
pub use precision::PrecisionArg;
pub use preprocess::{
    ApplyArgs, DescribeArgs, FitArgs, PreprocessArgs, PreprocessCommand, WindowsArgs,
};
pub use tune::TuneArgs;

/// Train small attention models where the data is, and merge them at a center.
#[derive(Debug, Parser)]
#[command(name = "edgectl", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "\
Examples:
  edgectl demo                                          a model on a node that is watched and adjusted
  edgectl simulate                                      the job in examples/watch.toml, all nodes and rounds
  edgectl init --config job.toml --data D --out global.safetensors
  edgectl train --init global.safetensors --data mine.csv --out node.safetensors
  edgectl aggregate node-*.safetensors --base global.safetensors --out global.safetensors

Exit codes:
  0    done; also if --time-budget ended it, or nobody reads its output to the end
  1    an error, told on stderr
  2    the command line cannot be read
  129  ended by SIGHUP   \\  train and simulate save and report what was done, up to the last
  130  ended by SIGINT    | step or round; a second signal ends them at once, as the first one
  143  ended by SIGTERM  /  ends every other command, whose output is then not written")]
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
    Aggregate(Box<AggregateArgs>),
    /// Measure a model on held-out data
    Eval(EvalArgs),
    /// Write a model's answers for files
    Predict(PredictArgs),
    /// Find out on held-out data what is usual of a model's answers
    Calibrate(CalibrateArgs),
    /// Answer while rows come: one line for every window, within a deadline
    Run(Box<RunArgs>),
    /// Play recordings at their pace, as if their sensors were there
    Replay(Box<ReplayArgs>),
    /// Adjust a model to labelled rows as they are now, without forgetting how they were
    Adapt(AdaptArgs),
    /// Show a model that answers, is watched and adjusted, and a bad one that is refused
    Demo(Box<DemoArgs>),
    /// Run nodes, center and rounds in one process
    Simulate(SimulateArgs),
    /// Write data as a model sees it, fit across nodes how it is scaled, or say what data is
    Preprocess(PreprocessArgs),
    /// Find better settings for a job on its training rows, and write them as a job file
    Tune(TuneArgs),
    /// Run the center of rounds between machines, over a shared store
    #[cfg(feature = "store")]
    Center(Box<CenterArgs>),
    /// Take part in rounds between machines, as one node or as many
    #[cfg(feature = "store")]
    Node(Box<NodeArgs>),
    /// Make keys, and rosters of those who may take part
    #[cfg(feature = "store")]
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Sign URLs by which a node takes part without a key of the store
    #[cfg(feature = "store")]
    Presign(PresignArgs),
    /// Check whether rounds can run on a store
    #[cfg(feature = "store")]
    #[command(subcommand)]
    Store(StoreCommand),
    /// Show the rounds of a store, or the models of a node or a run
    Status(StatusArgs),
    /// Make the candidate of a run its live model
    Promote(PromoteArgs),
    /// Go back to the model that a node or a run had before, and refuse the one it has
    Rollback(RollbackArgs),
    /// Show what a weight file holds
    Inspect(InspectArgs),
    /// Measure what this machine sustains
    #[command(subcommand)]
    Bench(BenchCommand),
}

/// `edgectl init`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgectl init --config examples/watch.toml --data data/watch --out global.safetensors
  edgectl init --config examples/watch.toml --stats stats.safetensors --out global.safetensors")]
pub struct InitArgs {
    /// The job file
    #[arg(long, value_name = "JOB.toml")]
    pub config: PathBuf,
    /// Files or folders; preprocessing is fitted on their training rows [default: the job's path]
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub data: Vec<PathBuf>,
    /// Statistics of the nodes' training rows, which `preprocess fit` wrote and aggregate merged, to fit
    /// preprocessing on; channels and classes are theirs, and no data is read
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    pub stats: Option<PathBuf>,
    /// Where to write the model; replaces a plain file that is none of the inputs
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
  edgectl train --config job.toml --data mine.csv --out model.safetensors --cv 5
  edgectl train --init global.safetensors --data mine.csv --out node.safetensors \\
      --trainable 'blocks.*.attn.*'")]
pub struct TrainArgs {
    /// Files or folders; rows marked as test are left out [default: the job's path]
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub data: Vec<PathBuf>,
    /// The data is what `edgectl preprocess` wrote for this model: its rows are scaled already
    #[arg(long)]
    pub preprocessed: bool,
    /// Where to write the trained weights; replaces a plain file that is none of the inputs but --init
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
    /// Learning rate: a number, or auto for a range test on the training rows
    #[arg(long, value_name = "LR|auto", allow_hyphen_values = true)]
    pub lr: Option<LearningRate>,
    /// sgd, adam, amsgrad, adamw, nadam, radam, adagrad, rmsprop, yogi, lion, lamb or
    /// schedule-free-adamw, with published defaults unless the job says more about it
    #[arg(long, value_name = "NAME")]
    pub optimizer: Option<optim::OptimizerConfig>,
    /// Train and ship only parameters whose name matches, for example 'blocks.*.attn.*'
    #[arg(long, value_name = "PATTERN,…", value_delimiter = ',')]
    pub trainable: Option<Vec<String>>,
    /// Hold out so much of the training rows, above 0 and at most 0.5: whole series where every class has
    /// several, else the end of every series; the weights with the least loss there are kept
    #[arg(long, value_name = "SHARE")]
    pub validation: Option<f64>,
    /// First train so many times without another part of the training rows, and show how good the
    /// answers for it are; then train on all of them
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u16).range(2..=1000),
          conflicts_with_all = ["resume", "time_budget", "stop_after_steps"])]
    pub cv: Option<u16>,
    /// Seed of everything random
    #[arg(long)]
    pub seed: Option<u64>,
    /// Stop after so long, with what was learned saved (for example 90s, 10m)
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub time_budget: Option<Duration>,
    /// Go on from the state that an earlier run left beside its output
    #[arg(long)]
    pub resume: bool,
    /// Stop after so many steps of this process: an exact place, for tests
    #[arg(long, hide = true, value_name = "N")]
    pub stop_after_steps: Option<u64>,
}

/// `edgectl eval`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgectl eval --model global.safetensors --data data/watch --json
  edgectl eval --model global.safetensors --data data/watch --plot answers.svg")]
pub struct EvalArgs {
    /// The model
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,
    /// Files or folders; rows marked as test count, all rows if none is marked
    #[arg(long, value_name = "PATH", num_args = 1.., required = true)]
    pub data: Vec<PathBuf>,
    /// The job whose tables of labels and splits tell of the data, as the model keeps no paths
    #[arg(long, value_name = "JOB.toml", conflicts_with = "preprocessed")]
    pub config: Option<PathBuf>,
    /// The data is what `edgectl preprocess` wrote for this model: its rows are scaled already
    #[arg(long)]
    pub preprocessed: bool,
    /// Statistics of the node's training rows, which `preprocess fit --model` wrote, for steps with
    /// fit = "node" that have no values in the model [default: the training rows of the data]
    #[arg(long, value_name = "FILE", conflicts_with = "preprocessed")]
    pub stats: Option<PathBuf>,
    /// All rows count, whatever their mark
    #[arg(long)]
    pub all: bool,
    /// How weights are kept: what a smaller model costs in accuracy
    #[arg(long, value_enum, default_value_t = PrecisionArg::F32)]
    pub precision: PrecisionArg,
    /// Also draw up to three windows of each class, right answers first, with what speaks for the answer and
    /// against it; SVG or PNG, replaces a plain file that is none of the inputs
    #[arg(long, value_name = "FILE.svg|png")]
    pub plot: Option<PathBuf>,
}

/// `edgectl predict`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgectl predict --model global.safetensors --data data/watch/subject_03.csv --out predictions.csv
  edgectl predict --model global.safetensors --data mine.csv --out p.csv --explain why.csv")]
pub struct PredictArgs {
    /// The model
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,
    /// Files or folders; every window is answered
    #[arg(long, value_name = "PATH", num_args = 1.., required = true)]
    pub data: Vec<PathBuf>,
    /// The data is what `edgectl preprocess` wrote for this model: its rows are scaled already
    #[arg(long)]
    pub preprocessed: bool,
    /// Statistics of the node's training rows, which `preprocess fit --model` wrote, for steps with
    /// fit = "node" that have no values in the model [default: the training rows of the data]
    #[arg(long, value_name = "FILE", conflicts_with = "preprocessed")]
    pub stats: Option<PathBuf>,
    /// Where to write the answers, as CSV; replaces a plain file that is none of the inputs
    #[arg(long, value_name = "FILE.csv")]
    pub out: PathBuf,
    /// Also write windows, lengths and logits, to compare with other frameworks
    #[arg(long, value_name = "FILE.safetensors")]
    pub tensors: Option<PathBuf>,
    /// Also write what each answer is owed to, as CSV with a row for each step of each window: of every
    /// channel how much it speaks for the answer, or below 0 against it (r_…, integrated gradients from
    /// zeros), and how much attention reaches the step (attention rollout)
    #[arg(long, value_name = "FILE.csv")]
    pub explain: Option<PathBuf>,
}

/// `edgectl simulate`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgectl simulate
  edgectl simulate --config examples/watch.toml --centralised
  edgectl simulate --holdout subject_09,subject_10
  edgectl simulate --validation 0.2 --centralised
  edgectl simulate --attack all --attackers 2 --rounds 10
  edgectl simulate --attack sign-flip,alie --reduce centred-clipping --bucket 2")]
pub struct SimulateArgs {
    /// The job file
    #[arg(long, value_name = "JOB.toml", default_value = "examples/watch.toml")]
    pub config: PathBuf,
    /// Files or folders; each file or each value of the node column is a node [default: the job's path]
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub data: Vec<PathBuf>,
    /// Folder for the weight files and the report; only what a report in it lists is replaced [default: runs/NAME OF THE JOB]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Also train one model on all nodes' rows, and run plain federated averaging, to compare
    #[arg(long)]
    pub centralised: bool,
    /// Hold out this share of every node's training rows, above 0 and at most 0.5, and measure the
    /// merged model on them after each round [default: as the job's [train.validation] says]
    #[arg(long, value_name = "SHARE", conflicts_with = "attack")]
    pub validation: Option<f64>,
    /// First run all rounds K times, each time without another of K parts of every node's training
    /// rows, and measure the last round's model on that part
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u16).range(2..=1000), conflicts_with_all = ["attack", "validation"])]
    pub cv: Option<u16>,
    /// Also write the updates of the last round, to nodes/ in that folder
    #[arg(long, conflicts_with = "attack")]
    pub keep_updates: bool,
    /// Nodes that never train; the final model is tested on all their rows
    #[arg(long, value_name = "NODE,…", value_delimiter = ',')]
    pub holdout: Option<Vec<String>>,
    /// Rounds [default: the job's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: Option<u32>,
    /// How updates become one [default: the job's]; see aggregate --help
    #[arg(long, value_name = "NAME[:KEY=VALUE,…]", value_parser = ::aggregate::Reducer::from_str)]
    pub reduce: Option<::aggregate::Reducer>,
    /// How the center moves [default: the job's]; see aggregate --help
    #[arg(long, value_name = "NAME[:KEY=VALUE,…]", value_parser = ::aggregate::ServerStep::from_str)]
    pub server: Option<::aggregate::ServerStep>,
    /// Average so many updates at random before the reducer sees them [default: the job's]
    #[arg(long, value_name = "SIZE", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub bucket: Option<usize>,
    /// Refuse updates whose change is longer than the median by more deviations than that; off for
    /// any length [default: the job's]
    #[arg(long, value_name = "N|off")]
    pub max_deviation: Option<::aggregate::Limit>,
    /// Let a claimed number of examples count at most so many medians of the claims, for each node;
    /// off for any number [default: the job's]
    #[arg(long, value_name = "N|off")]
    pub max_weight: Option<::aggregate::Limit>,
    /// Let some nodes attack, and show what becomes of the accuracy: sign-flip, gaussian,
    /// label-flip, alie, ipm, nan, inflate, impersonate or all; without --reduce, by every rule
    #[arg(long, value_name = "ATTACK,…", value_delimiter = ',', conflicts_with = "centralised")]
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
