//! Where a step drops values, and which ones.

use super::lanes::Lane;
use super::model::Encoder;
use crate::attention::{AttnDropout, AttnOptions};
use crate::dropout::Dropout;
use crate::rng::mix;

/// Where values are dropped in each block: after its two branches, and inside the MLP.
#[derive(Clone, Copy)]
pub(crate) enum DropSite {
    Attention(usize),
    Hidden(usize),
    Mlp(usize),
}

impl Encoder {
    /// The dropout at a place in this step; `None` when nothing is dropped.
    pub(crate) fn dropout(&self, seed: Option<u64>, site: DropSite) -> Option<Dropout> {
        let number = match site {
            DropSite::Attention(block) => 3 * block as u64,
            DropSite::Hidden(block) => 3 * block as u64 + 1,
            DropSite::Mlp(block) => 3 * block as u64 + 2,
        };
        let rate = self.config.dropout;
        seed.filter(|_| rate > 0.0).map(|seed| Dropout::new(rate, seed, number))
    }

    /// The options of one window's attention in one block; `window` counts through the batch.
    pub(crate) fn attn_options(
        &self,
        seed: Option<u64>,
        block: usize,
        window: usize,
    ) -> AttnOptions<'_> {
        let rate = self.config.attention_dropout();
        // Beside the sites of `dropout`, which count from 0.
        let site = u64::MAX - block as u64;
        AttnOptions {
            scale: None,
            mask: self.config.attention.mask,
            key_mask: None,
            alibi: self.slopes.as_deref(),
            dropout: seed
                .filter(|_| rate > 0.0)
                .map(|seed| AttnDropout { rate, seed: mix(mix(seed, site), window as u64) }),
        }
    }

    /// Number of the chunk's first token row for the dropout masks: windows have numbers of their
    /// own in the batch, whatever lane they are in.
    pub(crate) fn drop_rows(&self, chunk: &Lane<'_>) -> impl Iterator<Item = u64> {
        let rows = self.config.tokens(self.config.seq_len) as u64;
        let first = chunk.first_window as u64;
        (0..chunk.lengths.len() as u64).map(move |w| (first + w) * rows)
    }

    /// Applies a dropout to token rows of `width` values.
    pub(crate) fn drop(
        &self,
        dropout: Option<Dropout>,
        chunk: &Lane<'_>,
        tokens: &[usize],
        width: usize,
        x: &mut [f32],
    ) {
        let Some(dropout) = dropout else { return };
        let mut rest = x;
        for (first_row, &seq) in self.drop_rows(chunk).zip(tokens) {
            let (window, others) = rest.split_at_mut(seq * width);
            dropout.apply(window, width, first_row);
            rest = others;
        }
    }
}
