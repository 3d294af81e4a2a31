//! What an attention call may vary: scale, mask, key padding, biases, dropout.

use std::ops::Range;

use crate::dims::AttnDims;
use crate::rng::{mix, mix32};

/// Which keys a query may see, by distance.
///
/// Query `i` stands at position `i + seq_kv − seq_q`: the last query beside the last key. (With
/// as many keys as queries that is position `i`; `PyTorch`'s `is_causal` differs where there are
/// more keys.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case", deny_unknown_fields))]
#[non_exhaustive]
pub enum Mask {
    /// Every key.
    #[default]
    None,
    /// Keys at the query's position and before.
    Causal,
    /// Keys from `left` positions before to `right` positions after the query.
    SlidingWindow {
        /// Positions seen before the query.
        left: usize,
        /// Positions seen after it; 0 is causal.
        right: usize,
    },
}

impl Mask {
    /// Whether no query sees a later key: then an answer never changes once it is given.
    pub fn is_causal(self) -> bool {
        matches!(self, Self::Causal | Self::SlidingWindow { right: 0, .. })
    }

    /// Keys that query `i`, below `seq_q`, sees.
    pub fn keys(self, i: usize, dims: AttnDims) -> Range<usize> {
        let end = |right: usize| {
            (i + 1).saturating_add(right).saturating_add(dims.seq_kv).saturating_sub(dims.seq_q)
        };
        match self {
            Self::None => 0..dims.seq_kv,
            Self::Causal => 0..end(0).min(dims.seq_kv),
            Self::SlidingWindow { left, right } => {
                let end = end(right).min(dims.seq_kv);
                let first = (i + dims.seq_kv).saturating_sub(dims.seq_q.saturating_add(left));
                first.min(end)..end
            }
        }
    }
}

/// Dropout of attention probabilities: which ones is a function of seed, head, query and key, so
/// that the backward pass drops the same ones without storing them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttnDropout {
    /// Share of probabilities dropped, at least 0 and below 1; the others grow by `1/(1 − rate)`.
    pub rate: f32,
    /// Tells steps, layers and sequences apart.
    pub seed: u64,
}

impl AttnDropout {
    /// A probability is dropped when its 32 random bits lie below this.
    pub(crate) fn threshold(self) -> u32 {
        (f64::from(self.rate) * 4_294_967_296.0) as u32
    }

    pub(crate) fn scale(self) -> f32 {
        1.0 / (1.0 - self.rate)
    }

    /// Key of the random bits of one query.
    pub(crate) fn query_key(self, head: usize, query: usize) -> u32 {
        mix(mix(self.seed, head as u64), query as u64) as u32
    }

    /// Random bits of one query and key.
    #[expect(clippy::inline_always, reason = "it runs in vectors, like all elementwise work")]
    #[inline(always)]
    pub(crate) fn bits(query_key: u32, key: u32) -> u32 {
        mix32(query_key ^ key.wrapping_mul(0x9E37_79B9))
    }
}

/// Choices of an attention call; the default is plain attention.
///
/// ```
/// use attn_core::{AttnOptions, Mask};
/// let causal = AttnOptions { mask: Mask::Causal, ..AttnOptions::default() };
/// assert!(causal.scale.is_none());
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct AttnOptions<'a> {
    /// Factor of the scores, from 1e-20 to 1e20; `None` is `1/√head_dim`.
    pub scale: Option<f32>,
    /// Which keys a query may see by distance.
    pub mask: Mask,
    /// `[seq_kv]`, `false` where a key is padding that no query may see.
    pub key_mask: Option<&'a [bool]>,
    /// `[n_heads]` slopes of linear biases: score `− slope · |distance|`
    /// ([arXiv 2108.12409](https://arxiv.org/abs/2108.12409)); [`alibi_slopes`] gives the paper's.
    pub alibi: Option<&'a [f32]>,
    /// Dropout of probabilities, in training.
    pub dropout: Option<AttnDropout>,
}

impl AttnOptions<'_> {
    /// The factor of the scores.
    pub(crate) fn scale(&self, dims: AttnDims) -> f32 {
        self.scale.unwrap_or_else(|| 1.0 / (dims.head_dim as f32).sqrt())
    }

    /// # Panics
    /// If a length or number does not fit.
    pub(crate) fn check(&self, dims: AttnDims) {
        if let Some(scale) = self.scale {
            // Beyond, its products with log2 e and with slopes leave the range of f32.
            let usable = (1e-20..=1e20).contains(&scale);
            assert!(usable, "attention: scale {scale} is not between 1e-20 and 1e20");
        }
        if let Some(mask) = self.key_mask {
            let (n, seq) = (mask.len(), dims.seq_kv);
            assert_eq!(n, seq, "attention: key_mask has {n} values for {seq} keys");
        }
        if let Some(slopes) = self.alibi {
            let (n, heads) = (slopes.len(), dims.n_heads);
            assert_eq!(n, heads, "attention: alibi has {n} slopes for {heads} heads");
            let finite = slopes.iter().all(|slope| slope.is_finite());
            assert!(finite, "attention: a slope of alibi is not finite");
        }
        if let Some(dropout) = self.dropout {
            let rate = dropout.rate;
            assert!((0.0..1.0).contains(&rate), "attention: dropout {rate} is not in [0, 1)");
        }
    }
}

/// The slopes of [arXiv 2108.12409](https://arxiv.org/abs/2108.12409): `2^(−8(h+1)/n)` for `n`
/// heads, a power of two; otherwise those of the power below, then every other one of its double.
///
/// ```
/// assert_eq!(attn_core::alibi_slopes(8)[..2], [0.5, 0.25]);
/// assert_eq!(attn_core::alibi_slopes(3).len(), 3);
/// ```
pub fn alibi_slopes(n_heads: usize) -> Vec<f32> {
    if n_heads == 0 {
        return Vec::new();
    }
    let power = 1_usize << n_heads.ilog2();
    let slope = |h: usize, n: usize| 2_f64.powf(-8.0 * (h + 1) as f64 / n as f64) as f32;
    let extra = (0..n_heads - power).map(|i| slope(2 * i, 2 * power));
    (0..power).map(|h| slope(h, power)).chain(extra).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_a_query_sees() {
        let square = AttnDims::new(6, 1, 1).expect("valid");
        assert_eq!(Mask::None.keys(2, square), 0..6);
        assert_eq!(Mask::Causal.keys(2, square), 0..3);
        assert_eq!(Mask::SlidingWindow { left: 1, right: 0 }.keys(2, square), 1..3);
        assert_eq!(Mask::SlidingWindow { left: 0, right: 2 }.keys(5, square), 5..6);
        let wide = AttnDims { seq_q: 2, seq_kv: 6, ..square };
        assert_eq!(Mask::Causal.keys(0, wide), 0..5);
        let tall = AttnDims { seq_q: 6, seq_kv: 2, ..square };
        assert_eq!(Mask::Causal.keys(3, tall), 0..0);
        assert_eq!(Mask::Causal.keys(4, tall), 0..1);
        assert!(Mask::SlidingWindow { left: 1, right: 0 }.keys(0, tall).is_empty());
        let huge = Mask::SlidingWindow { left: usize::MAX, right: usize::MAX };
        assert_eq!(huge.keys(0, square), 0..6);
    }

    #[test]
    fn slopes_of_the_paper() {
        assert_eq!(alibi_slopes(4), [0.25, 0.0625, 0.015_625, 0.003_906_25]);
        assert_eq!(alibi_slopes(6)[4..], [0.5, 0.125]);
        assert!(alibi_slopes(0).is_empty());
    }
}
