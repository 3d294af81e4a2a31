//! The `edgectl` command: parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use edgectl::cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match edgectl::commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            edgectl::output::error(&error);
            ExitCode::FAILURE
        }
    }
}
