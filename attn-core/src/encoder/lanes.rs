//! How a batch is cut: lanes run in parallel, chunks of a lane one after the other.
//!
//! The cut depends on the batch alone, so that sums have the same order on any number of threads.

use std::sync::Mutex;

use super::batch::Batch;
use crate::config::EncoderConfig;

/// Most lanes of a batch; each has a gradient of its own.
const MAX_LANES: usize = 16;

/// Fewest tokens for which a lane is worth its gradient.
const LANE_TOKENS: usize = 128;

/// Tokens of a chunk, unless one window has more: enough for full-speed products, few enough for
/// activations of some megabytes.
const CHUNK_TOKENS: usize = 128;

/// Consecutive windows of a batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lane<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) lengths: &'a [usize],
    /// Place of the first window in the batch.
    pub(crate) first_window: usize,
}

impl<'a> Lane<'a> {
    /// The lane in chunks of about [`CHUNK_TOKENS`] tokens.
    pub(crate) fn chunks(self, config: &EncoderConfig) -> impl Iterator<Item = Lane<'a>> {
        let mut rest = self;
        std::iter::from_fn(move || {
            let mut tokens = 0;
            let n = rest
                .lengths
                .iter()
                .take_while(|&&len| {
                    tokens += config.tokens(len);
                    tokens <= CHUNK_TOKENS
                })
                .count()
                .max(1);
            (!rest.lengths.is_empty()).then(|| rest.take(n, config.channels))
        })
    }

    /// Cuts the first `n` windows off.
    fn take(&mut self, n: usize, channels: usize) -> Self {
        let (lengths, other_lengths) = self.lengths.split_at(n);
        let (values, other_values) = self.values.split_at(lengths.iter().sum::<usize>() * channels);
        let taken = Self { values, lengths, first_window: self.first_window };
        *self = Self {
            values: other_values,
            lengths: other_lengths,
            first_window: self.first_window + n,
        };
        taken
    }
}

/// Cuts a batch into lanes: a power of two of them, with as even a number of windows as can be.
pub(crate) fn split<'a>(config: &EncoderConfig, batch: &Batch<'a>) -> Vec<Lane<'a>> {
    let tokens: usize = batch.lengths.iter().map(|&len| config.tokens(len)).sum();
    let wanted = (tokens / LANE_TOKENS).clamp(1, MAX_LANES).min(batch.len());
    let n_lanes = 1 << wanted.ilog2();
    let mut rest = Lane { values: batch.values, lengths: batch.lengths, first_window: 0 };
    (0..n_lanes)
        .map(|lane| {
            let (start, end) = (lane * batch.len() / n_lanes, (lane + 1) * batch.len() / n_lanes);
            rest.take(end - start, config.channels)
        })
        .collect()
}

/// Runs `job` once for each lane; each worker takes the next lane when it is free.
pub(crate) fn run_lanes<W: Send, L: Send>(
    workers: &mut [W],
    lanes: Vec<L>,
    job: impl Fn(&mut W, L) + Sync,
) {
    if workers.len() == 1 || lanes.len() == 1 {
        let worker = workers.first_mut().expect("a workspace has at least one worker");
        for lane in lanes {
            job(worker, lane);
        }
        return;
    }
    let queue = Mutex::new(lanes.into_iter());
    let next = || queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
    rayon::scope(|scope| {
        for worker in workers {
            scope.spawn(|_| {
                while let Some(lane) = next() {
                    job(worker, lane);
                }
            });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::small;

    #[test]
    fn lanes_and_chunks_cover_every_window_once() {
        let config = small();
        for n in [1, 2, 3, 63, 64, 257, 1000] {
            let lengths: Vec<usize> = (0..n).map(|i| 1 + i % 7).collect();
            let values = vec![0.0; lengths.iter().sum::<usize>() * config.channels];
            let batch = Batch::new(&config, &values, &lengths).expect("valid");
            let mut seen = Vec::new();
            for lane in split(&config, &batch) {
                for chunk in lane.chunks(&config) {
                    assert_eq!(chunk.first_window, seen.len());
                    assert_eq!(chunk.values.len(), 2 * chunk.lengths.iter().sum::<usize>());
                    seen.extend_from_slice(chunk.lengths);
                }
            }
            assert_eq!(seen, lengths);
        }
    }
}
