//! Tests of the command as its users run it.

/// Low-rank adapters and mixed dtypes through `aggregate`.
mod adapters;
/// The arrows between the crates, and what each leaf may depend on.
mod arrows;
/// Bad tables, recordings and pictures are handled as documented, or refused in one message.
mod bad_data;
/// Temperature and calibration error.
mod calibrated;
/// How many classes there may be, in data and in models.
mod classes;
/// What describe says of data that training refuses as it stands.
mod described;
/// How commands end: signals, closed readers, text that steers, runs that cannot learn.
#[cfg(unix)]
mod ends;
/// Every wrong input ends in one clear error, and harms no file.
mod errors;
/// Options that exclude each other, by file, by flag and by checkpoint.
mod exclusions;
/// What an answer is owed to: a table, and a picture.
#[cfg(unix)]
mod explains;
/// Rounds between machines: center and nodes as processes.
#[cfg(feature = "store")]
mod fleet;
/// The main job by hand: init, train, aggregate, eval, predict, inspect.
mod flow;
/// Files of other programs: every dtype is shown and carried, and readers take what is merged.
mod foreign;
/// Files of checkpoint format 1 are read, and go on.
mod format1;
/// Many updates: the work grows with their number, not with its square.
mod growth;
/// What one node alone can do to a round: nothing, by default.
mod harm;
/// A committed table of hashes, by kind of machine.
mod hashes;
/// Training rows that are held out: by series, by time, fold by fold.
mod held_out;
mod held_out_nodes;
/// Merges that are killed, or that the system refuses a write: the old file or the new one, whole.
#[cfg(unix)]
mod interrupted;
/// Answers while rows come: one line for every window.
#[cfg(unix)]
mod live;
/// The arrows between the modules of each crate: an order, and no circle of files.
mod modules;
/// Steps that each node fits for itself: rounds by hand and simulated, values by rows and by statistics.
mod node_fit;
/// What the `[train]` section offers: optimizers, groups, private training, `auto`.
mod optimizers;
/// Options reach the job, the checkpoint, `inspect` and the flags.
mod options;
/// Random and damaged bytes at the readers of jobs, checkpoints and tables.
mod readers;
/// The commands of README.md and `--help`, run on small files.
#[cfg(unix)]
mod readme;
/// Recordings, videos and pictures: as other programs read them, and with what a table tells of them.
mod recordings;
/// The same seed gives the same bytes: threads, resume, order of files, simulate.
mod repeat;
/// Models have the tensor bytes that were recorded for their jobs.
mod same_bytes;
/// Columns, rows, splits and joins are chosen in `[data]`.
mod selection;
/// Strategies end to end: by hand as simulated, trees, quarantine, privacy, attackers.
mod strategies;
// Preprocessing that is fitted across nodes.
mod statistics;
/// Helpers: a small federation on disk, and runs of the command.
mod support;
/// What an output may replace: all commands, all kinds of target.
#[cfg(unix)]
mod targets;
/// Transcripts of `tests/cmd`.
mod transcripts;
/// Settings found by `tune`.
mod tuned;
/// What was taken from the data is shown, with warnings of what is strange.
mod understood;
/// Data that the command writes, it reads.
mod written_data;
