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

/// Sizes of a self-attention over one sequence, checked once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttnDims {
    /// Number of tokens, query and key alike.
    pub seq: usize,
    /// Number of heads.
    pub n_heads: usize,
    /// Width of one head; `n_heads * head_dim` is `d_model`.
    pub head_dim: usize,
}

impl AttnDims {
    /// Checks the sizes.
    ///
    /// # Errors
    /// If a size is zero or their product overflows.
    pub fn new(seq: usize, n_heads: usize, head_dim: usize) -> Result<Self, DimsError> {
        if seq == 0 || n_heads == 0 || head_dim == 0 {
            return Err(DimsError::new(format!(
                "attention sizes must be at least 1, found seq {seq}, n_heads {n_heads}, head_dim {head_dim}"
            )));
        }
        n_heads
            .checked_mul(head_dim)
            .and_then(|d| d.checked_mul(3))
            .and_then(|d| d.checked_mul(seq))
            .filter(|&n| isize::try_from(n).is_ok_and(|n| n < isize::MAX / 16))
            .ok_or_else(|| DimsError::new("attention sizes are too large for this machine"))?;
        Ok(Self { seq, n_heads, head_dim })
    }

    /// Width of a token, `n_heads * head_dim`.
    pub fn d_model(&self) -> usize {
        self.n_heads * self.head_dim
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_and_huge_sizes_are_errors() {
        assert!(AttnDims::new(0, 1, 1).is_err());
        assert!(AttnDims::new(usize::MAX / 2, 8, 64).is_err());
        assert_eq!(AttnDims::new(5, 2, 8).map(|d| d.d_model()), Ok(16));
    }
}
