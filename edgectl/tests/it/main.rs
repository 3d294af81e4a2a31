//! Tests of the command as its users run it.

/// The arrows between the crates, and what each leaf may depend on.
mod arrows;
/// Every wrong input ends in one clear error, and harms no file.
mod errors;
/// The main job by hand: init, train, aggregate, eval, predict, inspect.
mod flow;
/// What one node alone can do to a round: nothing, by default.
mod harm;
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
