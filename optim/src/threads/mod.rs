//! Several threads, where the feature `rayon` has them; the same functions without it.

#[cfg(not(feature = "rayon"))]
mod disabled;
#[cfg(feature = "rayon")]
mod enabled;

#[cfg(not(feature = "rayon"))]
pub(crate) use disabled::{available, join, map_chunks};
#[cfg(feature = "rayon")]
pub(crate) use enabled::{available, join, map_chunks};
