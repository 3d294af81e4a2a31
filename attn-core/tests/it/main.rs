//! Tests of the crate as its users see it.

/// Helpers: configurations and batches.
mod common;
/// What attention looks at, and what values an answer is owed to.
mod explained;
/// Logits, loss and every gradient against `PyTorch`'s.
mod golden;
/// Every gradient of the model against finite differences, under losses of every kind.
mod gradients;
/// Laws: threads, padding, order of windows, dropout, wrong shapes.
mod laws;
/// Losses that the caller brings: what they are called with, and how their results are summed.
mod losses;
/// Answers for one window at a time.
mod predict;
/// What the README says about the crate itself.
mod readme;
/// Answers while a window grows.
mod stream;
/// Token states and the head's answers to tokens.
mod tokens;
