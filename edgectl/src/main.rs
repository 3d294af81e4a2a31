//! The `edgectl` command.
fn main() {}
