//! What the crate promises, seen from outside.

// Helpers: a folder of small weight files, and values of any dtype.
mod support;

// Reading and writing weight files, and what other readers and writers make of them.
mod files;
// Every rule against plain numpy code in f64.
mod golden;
// Files made to break a reader: every problem by name, mutated files and random bytes.
mod hostile;
// Which updates count, and that their order never matters.
mod admission;
// What updates say of themselves is not believed, and none ends the merge of the others.
mod claims;
// The mean: fixed points, bounds, weights, order and threads, in every dtype.
mod laws;
// The server step against its formula over many rounds, and its state between them.
mod server_step;
// Laws of all reducers: fixed points, bounds, order and threads, bad updates, partial models.
mod rules;
// Files in memory and open files beside files on a disk.
mod memory;
// Files of different float dtypes, and results of one.
mod dtype;
// Low-rank adapters, stacked: the mean of products.
mod adapter_kinds;
mod adapters;
// Models in several files with an index.
mod sharded;
// Twenty thousand updates, good and bad.
mod growth;
// Tensors that are not averaged: what becomes of them under every rule, in every dtype.
mod carry;
// Updates as differences to a base, in few bits, with error feedback.
mod difference;
