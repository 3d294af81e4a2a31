//! What chooses tensors by name: a pattern, or without the feature `glob` an exact name.

#[cfg(not(feature = "glob"))]
mod disabled;
#[cfg(feature = "glob")]
mod enabled;

#[cfg(not(feature = "glob"))]
pub use disabled::Pattern;
#[cfg(feature = "glob")]
pub use enabled::Pattern;
