//! The `edgectl` command: parse, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use edgectl::cli::Cli;
use edgectl::outcome::Outcome;
use edgectl::output::{self, shown};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            // The parser quotes arguments as they stand: it is asked again for those that can be shown.
            let args = std::env::args_os();
            let args: Vec<String> =
                args.map(|arg| shown(&arg.to_string_lossy()).into_owned()).collect();
            let error = Cli::try_parse_from(&args).err().filter(clap::Error::use_stderr);
            let message = error.map_or_else(
                || "error: the arguments hold characters that have no place in them".to_owned(),
                |error| error.to_string(),
            );
            output::usage_error(&message);
            return ExitCode::from(2);
        }
        // What was asked for: help, or the version.
        Err(error) => error.exit(),
    };
    let outcome = edgectl::commands::run(cli).unwrap_or_else(|error| {
        output::error(&error);
        Outcome::of_error(&error)
    });
    outcome.into()
}
