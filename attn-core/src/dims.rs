//! The one error of this crate: sizes that do not fit together.

use std::fmt;

/// A size, or a set of sizes, that the caller took from a file or a flag and that cannot work.
///
/// Shape mistakes inside a program panic instead; this type is for what comes from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DimsError {
    message: String,
}

impl DimsError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

impl fmt::Display for DimsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for DimsError {}

/// Sizes of an attention over one sequence, checked once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttnDims {
    /// Number of query tokens.
    pub seq_q: usize,
    /// Number of key and value tokens.
    pub seq_kv: usize,
    /// Number of query heads.
    pub n_heads: usize,
    /// Number of key and value heads, which divides `n_heads`: query head `h` reads head
    /// `h / (n_heads / n_kv_heads)` ([arXiv 2305.13245](https://arxiv.org/abs/2305.13245)).
    pub n_kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
}

impl AttnDims {
    /// Self-attention, each head with keys and values of its own.
    ///
    /// # Errors
    /// As [`AttnDims::validate`].
    pub fn new(seq: usize, n_heads: usize, head_dim: usize) -> Result<Self, DimsError> {
        Self { seq_q: seq, seq_kv: seq, n_heads, n_kv_heads: n_heads, head_dim }.validate()
    }

    /// Checks the sizes.
    ///
    /// # Errors
    /// If a size is zero, `n_kv_heads` does not divide `n_heads`, a sequence has 2³¹ tokens or more,
    /// or a product of sizes overflows.
    pub fn validate(self) -> Result<Self, DimsError> {
        let Self { seq_q, seq_kv, n_heads, n_kv_heads, head_dim } = self;
        if [seq_q, seq_kv, n_heads, n_kv_heads, head_dim].contains(&0) {
            return Err(DimsError::new(format!(
                "attention sizes must be at least 1, found seq_q {seq_q}, seq_kv {seq_kv}, n_heads {n_heads}, n_kv_heads {n_kv_heads}, head_dim {head_dim}"
            )));
        }
        if !n_heads.is_multiple_of(n_kv_heads) {
            return Err(DimsError::new(format!(
                "n_kv_heads must divide n_heads, found n_kv_heads {n_kv_heads} and n_heads {n_heads}"
            )));
        }
        if seq_q.max(seq_kv) > i32::MAX as usize {
            return Err(DimsError::new("a sequence is longer than 2^31 - 1 tokens"));
        }
        n_heads
            .checked_mul(head_dim)
            .and_then(|d| d.checked_mul(3))
            .and_then(|d| d.checked_mul(seq_q.max(seq_kv)))
            .filter(|&n| isize::try_from(n).is_ok_and(|n| n < isize::MAX / 16))
            .ok_or_else(|| DimsError::new("attention sizes are too large for this machine"))?;
        Ok(self)
    }

    /// Width of the queries and of the output, `n_heads * head_dim`.
    pub fn q_width(&self) -> usize {
        self.n_heads * self.head_dim
    }

    /// Width of the keys and of the values, `n_kv_heads * head_dim`.
    pub fn kv_width(&self) -> usize {
        self.n_kv_heads * self.head_dim
    }

    /// Query heads that share one key and value head.
    pub fn group(&self) -> usize {
        self.n_heads / self.n_kv_heads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_and_huge_sizes_are_errors() {
        assert!(AttnDims::new(0, 1, 1).is_err());
        assert!(AttnDims::new(usize::MAX / 2, 8, 64).is_err());
        assert_eq!(AttnDims::new(5, 2, 8).map(|d| d.q_width()), Ok(16));
        let grouped = AttnDims { seq_q: 1, seq_kv: 9, n_heads: 6, n_kv_heads: 2, head_dim: 4 };
        assert_eq!(grouped.validate().map(|d| (d.kv_width(), d.group())), Ok((8, 3)));
        assert!(AttnDims { n_kv_heads: 4, ..grouped }.validate().is_err());
    }
}
