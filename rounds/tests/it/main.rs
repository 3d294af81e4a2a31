//! What the protocol promises.

/// What somebody who writes into the store can do, and what becomes of it.
mod attacks;
/// A center, a node and a store in a folder.
mod bench;
/// Nodes without a key of the store.
mod by_urls;
/// Documents, keys and rosters as files.
mod files;
/// Two centers at a time, and centers that were killed.
mod races;
/// A folder as a server shows it.
mod server;
