//! How the work of a call is cut into parts that run side by side: heads, then panels of queries.

use std::ops::Range;

use super::backward::{self, Gradients, Saved, backward_kv_head};
use super::forward::{self, Stats, forward_group};
use super::panel::{GROUP, PANEL};
use super::problem::Problem;
use super::rows::RowsMut;
use crate::dims::AttnDims;

/// Parts of the work that may run side by side; more than threads where there is much to do, as
/// parts under a mask are of unequal size.
pub(crate) fn forward_leaves(dims: AttnDims, threads: usize) -> usize {
    let panels = dims.n_heads * dims.seq_q.div_ceil(PANEL);
    let threads = threads.clamp(1, panels);
    if threads > 1 && panels >= 16 * threads { 4 * threads } else { threads }
}

pub(crate) fn backward_leaves(dims: AttnDims, threads: usize) -> usize {
    threads.clamp(1, dims.n_kv_heads)
}

/// Some heads and queries of the output.
pub(crate) struct ForwardPart<'a> {
    pub(crate) heads: Range<usize>,
    pub(crate) queries: Range<usize>,
    pub(crate) out: RowsMut<'a>,
    pub(crate) max: RowsMut<'a>,
    pub(crate) inverse_sum: RowsMut<'a>,
    pub(crate) scratch: &'a mut [f32],
}

impl ForwardPart<'_> {
    pub(crate) fn run(self, problem: &Problem<'_>, leaves: usize) {
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
            let (out, right_out) = out.split_at_column(n * problem.dims.head_dim);
            let (max, right_max) = max.split_at_row(n);
            let (inverse_sum, right_sum) = inverse_sum.split_at_row(n);
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
            let (out, right_out) = out.split_at_row(n);
            let (max, right_max) = max.split_at_column(n);
            let (inverse_sum, right_sum) = inverse_sum.split_at_column(n);
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
            let max = self.max.row_mut(h);
            let inverse_sum = self.inverse_sum.row_mut(h);
            let groups = max.chunks_mut(GROUP).zip(inverse_sum.chunks_mut(GROUP));
            for (g, (max, inverse_sum)) in groups.enumerate() {
                let (first, n) = (g * GROUP, max.len());
                let queries = self.queries.start + first..self.queries.start + first + n;
                let out = self.out.part([first, h * head_dim], [n, head_dim]);
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
    mut out: RowsMut<'_>,
    scratch: &mut [f32],
) {
    let head_dim = problem.dims.head_dim;
    let (mut max, mut inverse_sum) = ([0.0; GROUP], [0.0; GROUP]);
    for head in 0..problem.dims.n_heads {
        for start in queries.clone().step_by(GROUP) {
            let group = start..(start + GROUP).min(queries.end);
            let (first, n) = (start - queries.start, group.len());
            let out = out.part([first, head * head_dim], [n, head_dim]);
            let mut stats = Stats { max: &mut max[..n], inverse_sum: &mut inverse_sum[..n] };
            forward_group(problem, head, group, out, &mut stats, scratch);
        }
    }
}

/// Some key and value heads of the gradients.
pub(crate) fn backward_part(
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
                q: q.columns(h * group_width, group_width),
                k: k.columns(h * dims.head_dim, dims.head_dim),
                v: v.columns(h * dims.head_dim, dims.head_dim),
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
    let (q, right_q) = q.split_at_column(n * group_width);
    let (k, right_k) = k.split_at_column(n * dims.head_dim);
    let (v, right_v) = v.split_at_column(n * dims.head_dim);
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
