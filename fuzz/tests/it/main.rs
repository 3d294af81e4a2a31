//! Every reader, given files that nobody wrote: an error or a success, in bounded memory.

/// Adapters that are stacked: a damaged file, or its configuration, among good ones.
mod adapters;
/// Checkpoints: the metadata of edgectl inside a weight file.
mod checkpoint;
/// Tables and samples in every format.
mod data;
/// Job files.
mod job;
/// The whole merge: a damaged update among good ones, a damaged base.
mod merge;
/// Records, videos, pictures and sound, and tables that tell of them.
mod recordings;
/// A round of edgectl: a damaged update among those of three nodes.
mod round;
/// Models in several files: the index and its shards.
mod shards;
/// The states that a merge leaves for the next one.
mod state;
/// Single weight files: open, and read every value.
mod weights;
