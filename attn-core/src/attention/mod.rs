//! Multi-head attention over one sequence, forward and backward, in tiles.
//!
//! Both passes take a panel of queries and walk over tiles of keys; the scores of one tile are all
//! that is ever stored (FlashAttention-2, [arXiv 2307.08691](https://arxiv.org/abs/2307.08691)).
//! Memory grows with the length of the sequence, not with its square.

mod backward;
mod forward;
mod options;
mod panel;
mod problem;
pub(crate) mod reference;
mod rotary;
mod softmax;
mod tile;

#[cfg(test)]
mod tests;

use std::ops::Range;

use faer::MatMut;

use crate::dims::AttnDims;
use backward::{Gradients, Saved, backward_kv_head};
use forward::{Stats, forward_group};
use panel::{GROUP, PANEL, row_mut};

pub(crate) use panel::padded;
pub(crate) use problem::Problem;
pub(crate) use tile::{Scalars, Start, Strided, multiply};

pub use options::{AttnDropout, AttnOptions, Mask, alibi_slopes};
pub use problem::Rows;
pub use rotary::Rotary;

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

/// Parts of the work that may run side by side; more than threads where there is much to do, as
/// parts under a mask are of unequal size.
fn forward_leaves(dims: AttnDims, threads: usize) -> usize {
    let panels = dims.n_heads * dims.seq_q.div_ceil(PANEL);
    let threads = threads.clamp(1, panels);
    if threads > 1 && panels >= 16 * threads { 4 * threads } else { threads }
}

fn backward_leaves(dims: AttnDims, threads: usize) -> usize {
    threads.clamp(1, dims.n_kv_heads)
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
/// - `out`: `[seq_q, n_heads * head_dim]`, row-major, overwritten
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
/// If the sizes, a length or an option do not fit, or `out` is not row-major.
///
/// ```
/// use attn_core::{AttnDims, AttnOptions, Rows, attention_forward, attention_forward_scratch};
/// use faer::MatMut;
///
/// let dims = AttnDims::new(3, 1, 2)?;
/// let qkv = [0.0; 3 * 6]; // all scores are equal, so the output is the mean of the values
/// let (mut out, mut stats) = ([1.0; 6], [0.0; 6]);
/// let mut scratch = vec![0.0; attention_forward_scratch(dims, 1)];
/// attention_forward(
///     MatMut::from_row_major_slice_mut(&mut out, 3, 2),
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
    out: MatMut<'_, f32>,
    stats: &mut [f32],
    qkv: [Rows<'_>; 3],
    dims: AttnDims,
    options: &AttnOptions<'_>,
    threads: usize,
    scratch: &mut [f32],
) {
    let problem = Problem::new(qkv, dims, options);
    check_matrix("out", &out, dims.seq_q, dims.q_width());
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
        max: MatMut::from_row_major_slice_mut(max, dims.n_heads, dims.seq_q),
        inverse_sum: MatMut::from_row_major_slice_mut(inverse_sum, dims.n_heads, dims.seq_q),
        scratch: &mut scratch[..needed],
    };
    part.run(&problem, leaves);
}

/// Some heads and queries of the output.
struct ForwardPart<'a> {
    heads: Range<usize>,
    queries: Range<usize>,
    out: MatMut<'a, f32>,
    max: MatMut<'a, f32>,
    inverse_sum: MatMut<'a, f32>,
    scratch: &'a mut [f32],
}

impl ForwardPart<'_> {
    fn run(self, problem: &Problem<'_>, leaves: usize) {
        let (n_heads, panels) = (self.heads.len(), self.queries.len().div_ceil(PANEL));
        if leaves == 1 || n_heads * panels == 1 {
            return self.run_here(problem);
        }
        let left_leaves = leaves / 2;
        let share = |n: usize| (n * left_leaves).div_ceil(leaves).clamp(1, n - 1);
        let Self { heads, queries, out, max, inverse_sum, scratch } = self;
        let (scratch, right_scratch) =
            scratch.split_at_mut(left_leaves * forward::scratch(problem.dims.head_dim));
        let (left, right) = if n_heads > 1 && (n_heads.is_multiple_of(2) || panels == 1) {
            let n = share(n_heads);
            let mid = heads.start + n;
            let (out, right_out) = out.split_at_col_mut(n * problem.dims.head_dim);
            let (max, right_max) = max.split_at_row_mut(n);
            let (inverse_sum, right_sum) = inverse_sum.split_at_row_mut(n);
            (
                ForwardPart {
                    heads: heads.start..mid,
                    queries: queries.clone(),
                    out,
                    max,
                    inverse_sum,
                    scratch,
                },
                ForwardPart {
                    heads: mid..heads.end,
                    queries,
                    out: right_out,
                    max: right_max,
                    inverse_sum: right_sum,
                    scratch: right_scratch,
                },
            )
        } else {
            let n = share(panels) * PANEL;
            let mid = queries.start + n;
            let (out, right_out) = out.split_at_row_mut(n);
            let (max, right_max) = max.split_at_col_mut(n);
            let (inverse_sum, right_sum) = inverse_sum.split_at_col_mut(n);
            (
                ForwardPart {
                    heads: heads.clone(),
                    queries: queries.start..mid,
                    out,
                    max,
                    inverse_sum,
                    scratch,
                },
                ForwardPart {
                    heads,
                    queries: mid..queries.end,
                    out: right_out,
                    max: right_max,
                    inverse_sum: right_sum,
                    scratch: right_scratch,
                },
            )
        };
        rayon::join(|| left.run(problem, left_leaves), || right.run(problem, leaves - left_leaves));
    }

    fn run_here(mut self, problem: &Problem<'_>) {
        let head_dim = problem.dims.head_dim;
        for (h, head) in self.heads.enumerate() {
            let max = row_mut(self.max.as_mut(), h);
            let inverse_sum = row_mut(self.inverse_sum.as_mut(), h);
            let groups = max.chunks_mut(GROUP).zip(inverse_sum.chunks_mut(GROUP));
            for (g, (max, inverse_sum)) in groups.enumerate() {
                let (first, n) = (g * GROUP, max.len());
                let queries = self.queries.start + first..self.queries.start + first + n;
                let out = self.out.as_mut().submatrix_mut(first, h * head_dim, n, head_dim);
                let mut stats = Stats { max, inverse_sum };
                forward_group(problem, head, queries, out, &mut stats, self.scratch);
            }
        }
    }
}

/// f32 values of workspace that [`forward_rows`] needs.
pub(crate) fn forward_rows_scratch(dims: AttnDims) -> usize {
    forward::scratch(dims.head_dim)
}

/// Some query rows of the forward pass, all heads, without what a backward pass needs.
pub(crate) fn forward_rows(
    problem: &Problem<'_>,
    queries: Range<usize>,
    mut out: MatMut<'_, f32>,
    scratch: &mut [f32],
) {
    let head_dim = problem.dims.head_dim;
    let (mut max, mut inverse_sum) = ([0.0; GROUP], [0.0; GROUP]);
    for head in 0..problem.dims.n_heads {
        for start in queries.clone().step_by(GROUP) {
            let group = start..(start + GROUP).min(queries.end);
            let (first, n) = (start - queries.start, group.len());
            let out = out.as_mut().submatrix_mut(first, head * head_dim, n, head_dim);
            let mut stats = Stats { max: &mut max[..n], inverse_sum: &mut inverse_sum[..n] };
            forward_group(problem, head, group, out, &mut stats, scratch);
        }
    }
}

/// Backward of [`attention_forward`]; overwrites the gradients of queries, keys and values.
///
/// With `p = exp(scale·(score − m))/Σ` and `δ = Σ d_out·out` per row: `d_v = pᵀ·d_out`,
/// `d_score = p·(d_out·vᵀ − δ)`, `d_q = scale·d_score·k`, `d_k = scale·d_scoreᵀ·q`
/// (section 3.1 of [arXiv 2307.08691](https://arxiv.org/abs/2307.08691)).
///
/// # Shapes
/// Gradients as what they belong to, row-major: parts of one fused buffer come from
/// `split_at_col_mut`. `d_out` as `out`; `scratch`: at least [`attention_backward_scratch`].
///
/// # Threads
/// As in the forward pass, over key and value heads.
///
/// # Panics
/// If the sizes, a length or an option do not fit, or a gradient is not row-major.
#[expect(clippy::too_many_arguments, reason = "each is a different array of the formula")]
pub fn attention_backward(
    [d_q, d_k, d_v]: [MatMut<'_, f32>; 3],
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
    check_matrix("d_q", &d_q, dims.seq_q, dims.q_width());
    check_matrix("d_k", &d_k, dims.seq_kv, dims.kv_width());
    check_matrix("d_v", &d_v, dims.seq_kv, dims.kv_width());
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

/// Some key and value heads of the gradients.
fn backward_part(
    problem: &Problem<'_>,
    saved: &Saved<'_>,
    kv_heads: Range<usize>,
    gradients: Gradients<'_>,
    scratch: &mut [f32],
    leaves: usize,
) {
    let dims = problem.dims;
    let group_width = dims.group() * dims.head_dim;
    let Gradients { mut q, mut k, mut v } = gradients;
    if leaves == 1 {
        for (h, kv_head) in kv_heads.enumerate() {
            let gradients = Gradients {
                q: q.as_mut().subcols_mut(h * group_width, group_width),
                k: k.as_mut().subcols_mut(h * dims.head_dim, dims.head_dim),
                v: v.as_mut().subcols_mut(h * dims.head_dim, dims.head_dim),
            };
            backward_kv_head(problem, saved, kv_head, gradients, scratch);
        }
        return;
    }
    let left_leaves = leaves / 2;
    let n = (kv_heads.len() * left_leaves).div_ceil(leaves).clamp(1, kv_heads.len() - 1);
    let mid = kv_heads.start + n;
    let (scratch, right_scratch) =
        scratch.split_at_mut(left_leaves * backward::scratch(dims.seq_kv, dims.head_dim));
    let (q, right_q) = q.split_at_col_mut(n * group_width);
    let (k, right_k) = k.split_at_col_mut(n * dims.head_dim);
    let (v, right_v) = v.split_at_col_mut(n * dims.head_dim);
    let right = Gradients { q: right_q, k: right_k, v: right_v };
    let left = Gradients { q, k, v };
    rayon::join(
        || backward_part(problem, saved, kv_heads.start..mid, left, scratch, left_leaves),
        || {
            let (heads, leaves) = (mid..kv_heads.end, leaves - left_leaves);
            backward_part(problem, saved, heads, right, right_scratch, leaves);
        },
    );
}

fn check_length(name: &str, found: usize, expected: usize) {
    assert_eq!(found, expected, "attention: {name} has {found} values, expected {expected}");
}

fn check_scratch(found: usize, needed: usize) {
    assert!(found >= needed, "attention: scratch has {found} values, {needed} are needed");
}

fn check_matrix(name: &str, matrix: &MatMut<'_, f32>, seq: usize, width: usize) {
    let (rows, columns) = (matrix.nrows(), matrix.ncols());
    assert_eq!(
        (rows, columns),
        (seq, width),
        "attention: {name} is {rows} x {columns}, expected {seq} x {width}"
    );
    assert!(
        columns == 1 || matrix.col_stride() == 1,
        "attention: {name} must be a row-major matrix"
    );
}
