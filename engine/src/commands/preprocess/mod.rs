//! `edgectl preprocess`: what a model sees of data, how it is fitted, and what the data is.

mod apply;
mod describe;
mod fit;
#[cfg(feature = "plot")]
mod plot;
mod steps;
mod windows;

use anyhow::Context;

use crate::cli::{PreprocessArgs, PreprocessCommand};
use crate::output::Output;

pub(super) fn run(args: &PreprocessArgs, output: Output) -> anyhow::Result<()> {
    match &args.command {
        Some(PreprocessCommand::Apply(args)) => apply::run(args, output),
        Some(PreprocessCommand::Fit(args)) => fit::run(args, output),
        Some(PreprocessCommand::Describe(args)) => describe::run(args, output),
        Some(PreprocessCommand::Windows(args)) => windows::run(args, output),
        None => {
            let args = args.apply.as_ref();
            apply::run(args.context("give --model, --data and --out; see --help")?, output)
        }
    }
}
