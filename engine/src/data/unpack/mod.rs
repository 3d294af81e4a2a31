//! Files that are packed with gzip or zstd, unpacked as they are read.

#[cfg(not(feature = "compression"))]
mod disabled;
#[cfg(feature = "compression")]
mod enabled;

#[cfg(not(feature = "compression"))]
pub(super) use disabled::{packing, reader};
#[cfg(feature = "compression")]
pub(super) use enabled::{packing, reader};
