//! What lists have.

/// An object that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its path in the store.
    pub path: String,
    /// How many bytes it has.
    pub bytes: u64,
}
