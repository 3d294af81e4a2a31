//! Tests of the command as its users run it.

/// The arrows between the crates, and what each leaf may depend on.
mod arrows;
/// Every wrong input ends in one clear error, and harms no file.
mod errors;
/// Options that exclude each other, by file, by flag and by checkpoint.
mod exclusions;
/// The main job by hand: init, train, aggregate, eval, predict, inspect.
mod flow;
/// Merges that are killed, or that the system refuses a write: the old file or the new one, whole.
#[cfg(unix)]
mod interrupted;
/// What the `[train]` section offers: optimizers, groups, private training, `auto`.
mod optimizers;
/// Random and damaged bytes at the readers of jobs, checkpoints and tables.
mod readers;
/// The same seed gives the same bytes: threads, resume, order of files, simulate.
mod repeat;
/// Strategies end to end: by hand as simulated, trees, quarantine, privacy, attackers.
mod strategies;
/// Helpers: a small federation on disk, and runs of the command.
mod support;
/// Transcripts of `tests/cmd`.
mod transcripts;
/// Data that the command writes, it reads.
mod written_data;
