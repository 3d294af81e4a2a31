//! Arguments of `edgectl tune`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

/// `edgectl tune`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgectl tune --config job.toml --out best.toml --trials 3 --budget 10m
  edgectl tune --config job.toml --out best.toml --trials 2 --max-parameters 50000
  edgectl tune --config job.toml --out best.toml --trials 2 --max-latency 20ms")]
pub struct TuneArgs {
    /// The job file to begin with: what it reads and how it cuts windows stays
    #[arg(long, value_name = "JOB.toml")]
    pub config: PathBuf,
    /// Files or folders; rows marked as test are not looked at [default: the job's path]
    #[arg(long, value_name = "PATH", num_args = 1..)]
    pub data: Vec<PathBuf>,
    /// Where to write the job file with the settings that were found, without the comments of the old one; replaces a
    /// plain file that is none of the inputs. What was measured is kept beside it, as FILE.tune
    #[arg(long, value_name = "FILE.toml")]
    pub out: PathBuf,
    /// How many settings are tried; they and what is found follow from this number, the seed, the job and the rows
    #[arg(long, value_name = "N", default_value_t = 60,
          value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=100_000))]
    pub trials: usize,
    /// Stop after so long, with the best so far (for example 90s, 10m): about half of it is for trying, the rest for
    /// comparing the best with the job, whose own training on all parts must fit into it
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub budget: Option<Duration>,
    /// Most parameters of the model
    #[arg(long, value_name = "N")]
    pub max_parameters: Option<usize>,
    /// Longest time for the answer to one window on one thread of this machine (for example 2ms)
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub max_latency: Option<Duration>,
    /// Seed of what is tried
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Go on from what an earlier run has measured; with more trials, what a run with so many finds
    #[arg(long)]
    pub resume: bool,
}
