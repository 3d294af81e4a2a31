//! The integration tests, as one binary.

// Series, pipelines and strategies that the tests share.
mod support;
// What every step in the list must do.
mod laws;
// Streaming gives the bits of the batch.
mod stream;
// Scale then unscale, exact storage, fitted statistics, data that cannot be handled.
mod pipeline;
// The steps that change the rate give the numbers of scipy and numpy.
mod golden_rate;
// Waves keep their amplitude at another rate; sources come onto one clock.
mod rate;
// Windows stay within their series, for all sizes.
mod window;
// Fitted across nodes: the rounds give what all rows together give.
mod rounds;
// Steps that each node fits for itself.
mod per_node;
// What nodes hand out: merged in any order, stored, refused, capped.
mod statistics;
// Steps that reduce against scikit-learn, scipy and numpy.
mod golden_reduce;
// Distances and variances after PCA.
mod reduce;
// Denoising steps with gaps, with options that are refused, and on a stream.
mod denoise;
// Denoising steps against scipy, pandas and PyWavelets.
mod golden_denoise;
