//! The `edgectl` command: parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use edgectl::cli::Cli;
use edgectl::outcome::Outcome;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = edgectl::commands::run(cli).unwrap_or_else(|error| {
        edgectl::output::error(&error);
        Outcome::of_error(&error)
    });
    outcome.into()
}
