//! The arguments of `edgectl demo`.

#[cfg(feature = "http")]
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

/// `edgectl demo`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgectl demo
  edgectl demo --out demo --http 127.0.0.1:8080
  edgectl demo --config job.toml --data people --person anna.csv

What is shown, in two minutes at most: a small model of other people answers for one whom it never
saw; then this person's sensor is worn on the other arm, which nobody says. That is found, the
model is adjusted to classes that are told a little later, tried beside the one that answers, and
takes its place. At last a model with a permuted head is put there, and refused. All of it is done
by train, calibrate, run and replay, as the last lines show.

Three in ten of the others are not trained on: the model is calibrated on them. The first part of
every series of the person is known from before, and must not be forgotten. The rest is played again
and again: once as it is, then mirrored. Of the last part no classes are ever told: by these windows
the adapted model is measured. The exit code is 0 only if all was seen.")]
pub struct DemoArgs {
    /// A folder with a file of each person
    #[arg(long, value_name = "DIR", default_value = "data/watch")]
    pub data: PathBuf,
    /// The job file that says what the model is
    #[arg(long, value_name = "JOB.toml", default_value = "examples/watch.toml")]
    pub config: PathBuf,
    /// The file of the person whose recording is played; the model is trained on all others
    #[arg(long, value_name = "FILE", default_value = "subject_06.csv")]
    pub person: PathBuf,
    /// Where the page is; the system chooses a port for 0
    #[cfg(feature = "http")]
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    pub http: SocketAddr,
    /// How many times as fast as it was recorded it is played
    #[arg(long, value_name = "FACTOR", default_value_t = 2.0)]
    pub speed: f64,
    /// Rows a second of the recording
    #[arg(long, value_name = "HZ", default_value_t = 25.0)]
    pub hz: f64,
    /// Passes of the training over the other people's windows
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub epochs: u32,
    /// Keep models, settings and events in this folder, which must be new or empty [default: nothing is kept]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Give up after so many seconds
    #[arg(long, value_name = "N", default_value_t = 115, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// Do not open the page in a browser; without a display none is opened
    #[arg(long)]
    pub no_open: bool,
}
