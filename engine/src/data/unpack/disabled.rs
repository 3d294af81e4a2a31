//! Without the feature `compression`: packed files stay packed, and tables say what they are.

use std::io::{BufRead, Read};

/// No packing is known.
#[derive(Debug, Clone, Copy)]
pub(in super::super) enum Packing {}

/// How a file is packed that begins so: none that is known.
pub(in super::super) fn packing(_: &[u8]) -> Option<Packing> {
    None
}

/// What is inside.
pub(in super::super) fn reader<'s>(
    packing: Packing,
    _: Box<dyn BufRead + 's>,
) -> Box<dyn Read + 's> {
    match packing {}
}
