//! Tests of the crate as its users see it.

/// Helpers: configurations and batches.
mod common;
/// Logits, loss and every gradient against `PyTorch`'s.
mod golden;
/// Every gradient of the model against finite differences.
mod gradients;
/// Laws: threads, padding, order of windows, dropout, wrong shapes.
mod laws;
/// Answers for one window at a time.
mod predict;
/// Answers while a window grows.
mod stream;
