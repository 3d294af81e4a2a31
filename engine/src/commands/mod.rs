//! The subcommands, one a file: arguments in, result out.

mod adapt;
mod aggregate;
mod attacks;
mod calibrate;
#[cfg(feature = "store")]
mod center;
#[cfg(feature = "store")]
mod center_report;
mod chosen;
mod compared;
mod demo;
mod eval;
mod explain;
mod folds;
mod fresh;
mod init;
mod inspect;
#[cfg(feature = "store")]
mod keys;
#[cfg(feature = "store")]
mod node;
mod node_values;
mod overrides;
mod predict;
mod preprocess;
#[cfg(feature = "store")]
mod presign;
mod promote;
#[cfg(feature = "store")]
mod region;
mod replay;
mod rollback;
mod round_bar;
mod run;
#[cfg(feature = "store")]
mod shown_rounds;
mod simulate;
mod status;
#[cfg(feature = "store")]
mod stores;
mod targets;
mod train;
mod tune;

use std::num::NonZero;

use anyhow::Context;

use crate::cli::{Cli, Command};
use crate::interrupt::watch_signals;
use crate::outcome::Outcome;
use crate::output::Output;

/// Runs a subcommand. A signal ends those that have nothing to save at once.
///
/// # Errors
/// If it fails; the message says what, where, and what to do.
pub fn run(cli: Cli) -> anyhow::Result<Outcome> {
    watch_signals();
    let output = Output::new(&cli.common);
    let cores = || std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = cli.common.threads.map_or_else(cores, usize::from);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .context("cannot start the threads; try a smaller --threads")?;
    let run = || {
        match cli.command {
            Command::Train(args) => return train::run(&args, threads, output),
            Command::Simulate(args) => return simulate::run(&args, threads, output),
            Command::Tune(args) => return tune::run(&args, output),
            Command::Demo(args) => return demo::run(&args, threads, output),
            Command::Init(args) => init::run(&args, output),
            Command::Aggregate(args) => aggregate::run(&args, output),
            Command::Eval(args) => eval::run(&args, threads, output),
            Command::Predict(args) => predict::run(&args, threads, output),
            Command::Calibrate(args) => calibrate::run(&args, output),
            Command::Run(args) => run::run_live(&args, output),
            Command::Replay(args) => replay::run(&args, output),
            Command::Adapt(args) => adapt::run(&args, threads, output),
            Command::Preprocess(args) => preprocess::run(&args, output),
            Command::Inspect(args) => inspect::run(&args, output),
            #[cfg(feature = "store")]
            Command::Center(args) => match &args.parent {
                Some(parent) => region::run(&args, parent, output),
                None => center::run(&args, threads, output),
            },
            #[cfg(feature = "store")]
            Command::Node(args) => node::run(&args, threads, output),
            #[cfg(feature = "store")]
            Command::Keys(command) => keys::run(&command, output),
            #[cfg(feature = "store")]
            Command::Presign(args) => presign::run(&args, output),
            #[cfg(feature = "store")]
            Command::Store(command) => stores::run(&command, output),
            Command::Status(args) => status::run(&args, output),
            Command::Promote(args) => promote::run(&args.models, output),
            Command::Rollback(args) => rollback::run(&args.models, output),
            Command::Bench(args) => crate::bench::run(args, threads, output),
        }?;
        Ok(Outcome::Done)
    };
    pool.install(run)
}
