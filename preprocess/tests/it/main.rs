//! The integration tests, as one binary.

// Streaming gives the bits of the batch.
mod stream;
// Scale then unscale, exact storage, fitted statistics, data that cannot be handled.
mod pipeline;
// Windows stay within their series, for all sizes.
mod window;
