//! Multi-head attention over one sequence, forward and backward, in tiles.
//!
//! Both passes take a panel of queries and walk over tiles of keys; the scores of one tile are all
//! that is ever stored (FlashAttention-2, [arXiv 2307.08691](https://arxiv.org/abs/2307.08691)).
//! Memory grows with the length of the sequence, not with its square.

mod backward;
mod forward;
mod keys;
mod narrow;
mod options;
mod panel;
mod parts;
mod problem;
pub(crate) mod reference;
mod rotary;
mod rows;
mod softmax;
mod tile;

#[cfg(test)]
mod tests;

use crate::dims::AttnDims;
use backward::{Gradients, Saved};
use parts::{ForwardPart, backward_leaves, backward_part, forward_leaves};

pub(crate) use panel::padded;
pub(crate) use parts::{forward_rows, forward_rows_scratch};
pub(crate) use problem::Problem;
pub(crate) use tile::{Scalars, Start, Strided, multiply};

pub use options::{AttnDropout, AttnOptions, Mask, alibi_slopes};
pub use rotary::Rotary;
pub use rows::{Rows, RowsMut};

/// f32 values of workspace that [`attention_forward`] needs on so many threads.
///
/// It hardly grows with the sequence: up to four panels of queries and a tile of scores for each
/// part of the work, of which there are as many as threads, or four times as many where there is
/// much to do.
pub fn attention_forward_scratch(dims: AttnDims, threads: usize) -> usize {
    forward_leaves(dims, threads) * forward::scratch(dims.head_dim)
}

/// f32 values of workspace that [`attention_backward`] needs on so many threads.
///
/// ```
/// use attn_core::{AttnDims, attention_backward_scratch};
/// let dims = AttnDims::new(16_384, 8, 64)?;
/// // gradients of the keys and values of one head, and little else
/// assert!(attention_backward_scratch(dims, 1) < 3 * 16_384 * 64);
/// # Ok::<(), attn_core::DimsError>(())
/// ```
pub fn attention_backward_scratch(dims: AttnDims, threads: usize) -> usize {
    backward_leaves(dims, threads) * backward::scratch(dims.seq_kv, dims.head_dim)
}

/// `out = softmax(scale·q·kᵀ + bias)·v` for every head, where masked scores count as `−∞`
/// ([arXiv 1706.03762](https://arxiv.org/abs/1706.03762)).
///
/// A query that may see no key gets zeros. A NaN shows in the output of every query that sees it and
/// of no other; so does an infinity, as NaN where there is a mask. (In the backward pass a query that
/// came out as NaN may spoil the gradients of keys it does not see.)
///
/// # Shapes
/// - `q`: `[seq_q, n_heads * head_dim]`, `k`, `v`: `[seq_kv, n_kv_heads * head_dim]`
/// - `out`: `[seq_q, n_heads * head_dim]`, overwritten
/// - `stats`: `[2, n_heads, seq_q]`, overwritten for the backward pass: each row's largest score
///   `m` (not yet scaled) and `1/Σ exp(scale·(score − m))`. Together they are the log-sum-exp
///   `scale·m − ln(stats[1])`, kept apart since their sum loses digits where scores are large.
/// - `scratch`: at least [`attention_forward_scratch`] values
///
/// # Threads
/// 1 stays on the calling thread; more share heads and queries through rayon. The bits are the
/// same. Nothing is allocated.
///
/// # Panics
/// If the sizes, a length or an option do not fit.
///
/// ```
/// use attn_core::{
///     AttnDims, AttnOptions, Rows, RowsMut, attention_forward, attention_forward_scratch,
/// };
///
/// let dims = AttnDims::new(3, 1, 2)?;
/// let qkv = [0.0; 3 * 6]; // all scores are equal, so the output is the mean of the values
/// let (mut out, mut stats) = ([1.0; 6], [0.0; 6]);
/// let mut scratch = vec![0.0; attention_forward_scratch(dims, 1)];
/// attention_forward(
///     RowsMut::new(&mut out, 2),
///     &mut stats,
///     [Rows::new(&qkv, 6), Rows::new(&qkv[2..], 6), Rows::new(&qkv[4..], 6)],
///     dims,
///     &AttnOptions::default(),
///     1,
///     &mut scratch,
/// );
/// assert_eq!(out, [0.0; 6]);
/// # Ok::<(), attn_core::DimsError>(())
/// ```
pub fn attention_forward(
    out: RowsMut<'_>,
    stats: &mut [f32],
    qkv: [Rows<'_>; 3],
    dims: AttnDims,
    options: &AttnOptions<'_>,
    threads: usize,
    scratch: &mut [f32],
) {
    let problem = Problem::new(qkv, dims, options);
    out.check("out", dims.seq_q, dims.q_width());
    let n_stats = dims.n_heads * dims.seq_q;
    check_length("stats", stats.len(), 2 * n_stats);
    let leaves = forward_leaves(dims, threads);
    let needed = attention_forward_scratch(dims, threads);
    check_scratch(scratch.len(), needed);
    let (max, inverse_sum) = stats.split_at_mut(n_stats);
    let part = ForwardPart {
        heads: 0..dims.n_heads,
        queries: 0..dims.seq_q,
        out,
        max: RowsMut::new(max, dims.seq_q),
        inverse_sum: RowsMut::new(inverse_sum, dims.seq_q),
        scratch: &mut scratch[..needed],
    };
    part.run(&problem, leaves);
}

/// Backward of [`attention_forward`]; overwrites the gradients of queries, keys and values.
///
/// With `p = exp(scale·(score − m))/Σ` and `δ = Σ d_out·out` per row: `d_v = pᵀ·d_out`,
/// `d_score = p·(d_out·vᵀ − δ)`, `d_q = scale·d_score·k`, `d_k = scale·d_scoreᵀ·q`
/// (section 3.1 of [arXiv 2307.08691](https://arxiv.org/abs/2307.08691)).
///
/// # Shapes
/// Gradients as what they belong to; parts of one fused buffer come from
/// [`RowsMut::split_at_column`]. `d_out` as `out`; `scratch`: at least [`attention_backward_scratch`].
///
/// # Threads
/// As in the forward pass, over key and value heads.
///
/// # Panics
/// If the sizes, a length or an option do not fit.
#[expect(clippy::too_many_arguments, reason = "each is a different array of the formula")]
pub fn attention_backward(
    [d_q, d_k, d_v]: [RowsMut<'_>; 3],
    d_out: Rows<'_>,
    out: Rows<'_>,
    stats: &[f32],
    qkv: [Rows<'_>; 3],
    dims: AttnDims,
    options: &AttnOptions<'_>,
    threads: usize,
    scratch: &mut [f32],
) {
    let problem = Problem::new(qkv, dims, options);
    d_out.check("d_out", dims.seq_q, dims.q_width());
    out.check("out", dims.seq_q, dims.q_width());
    d_q.check("d_q", dims.seq_q, dims.q_width());
    d_k.check("d_k", dims.seq_kv, dims.kv_width());
    d_v.check("d_v", dims.seq_kv, dims.kv_width());
    let n_stats = dims.n_heads * dims.seq_q;
    check_length("stats", stats.len(), 2 * n_stats);
    let leaves = backward_leaves(dims, threads);
    let needed = attention_backward_scratch(dims, threads);
    check_scratch(scratch.len(), needed);
    let (max, inverse_sum) = stats.split_at(n_stats);
    let saved = Saved { d_out, out, max, inverse_sum };
    let gradients = Gradients { q: d_q, k: d_k, v: d_v };
    backward_part(&problem, &saved, 0..dims.n_kv_heads, gradients, &mut scratch[..needed], leaves);
}

fn check_length(name: &str, found: usize, expected: usize) {
    assert_eq!(found, expected, "attention: {name} has {found} values, expected {expected}");
}

fn check_scratch(found: usize, needed: usize) {
    assert!(found >= needed, "attention: scratch has {found} values, {needed} are needed");
}
