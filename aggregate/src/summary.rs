//! What there is to say of a merge.

use crate::cohort::Cohort;
use crate::dtype::{Kind, kind};
use crate::plan::Plan;
use crate::run::Run;
use crate::totals::Totals;
use crate::{Admitted, Change, PrivacyReport, Summary};

/// All that is known but the sums over the blocks.
#[derive(Clone, Copy)]
pub(crate) struct About<'a> {
    pub(crate) run: &'a Run<'a>,
    pub(crate) plan: &'a Plan,
    /// The tensors in the order of the output.
    pub(crate) layout: &'a [usize],
    /// Number of the server step, if it has a state.
    pub(crate) step: Option<u64>,
    pub(crate) privacy: Option<PrivacyReport>,
}

impl About<'_> {
    /// What there is to say once the sums are known.
    pub(crate) fn summary(&self, totals: &Totals) -> Summary {
        let Self { run, plan, layout, step, privacy } = *self;
        let (cohort, tensors) = (run.cohort, run.cohort.tensors);
        let is_private = run.private.is_some();
        // What each has would tell how far it moved.
        let equal = || vec![1.0 / cohort.len() as f64; cohort.len()];
        let shares = if is_private { equal() } else { shares(plan, cohort) };
        let mut members = cohort.members.iter().enumerate().peekable();
        let admitted: Vec<Admitted> = run
            .admission
            .inputs
            .iter()
            .zip(&run.admission.weights)
            .map(|(&input, &counted)| {
                // The cohort has the same order, without the inputs of weight 0.
                let member = members.next_if(|(_, member)| std::ptr::eq(member.input, input));
                let member = member.map(|(i, _)| i);
                // Of adapters it is the products that count, which nobody has made.
                let known = member.filter(|_| !is_private && run.stack.is_none());
                let norm = |i: usize| totals.moments[i][0].sqrt();
                let distance = |i: usize| {
                    let [square, product] = totals.moments[i];
                    ((square + totals.square) - 2.0 * product).max(0.0).sqrt()
                };
                let cosine = |i: usize| {
                    let product = totals.moments[i][0].sqrt() * totals.square.sqrt();
                    let cosine = totals.moments[i][1] / product;
                    (product > 0.0 && cosine.is_finite()).then(|| cosine.clamp(-1.0, 1.0))
                };
                let update = &input.update;
                Admitted {
                    path: update.path.clone(),
                    node: update.node.clone(),
                    base: update.base.clone(),
                    weight: update.weight,
                    counted,
                    share: member.map_or(0.0, |i| shares[i]),
                    fingerprint: input.fingerprint.clone(),
                    norm: known.map(norm),
                    distance: known.map(distance),
                    cosine: known.and_then(cosine),
                }
            })
            .collect();
        let mut changes: Vec<Change> = layout
            .iter()
            .filter(|&&i| kind(tensors[i].dtype) == Kind::Float)
            .map(|&i| {
                let [norm, base] = totals.changes[i].map(f64::sqrt);
                let relative = (base > 0.0).then(|| norm / base);
                Change { tensor: tensors[i].name.clone(), norm, relative }
            })
            .collect();
        changes.sort_by(|a, b| a.tensor.cmp(&b.tensor));
        Summary {
            total_weight: admitted.iter().map(|update| update.counted).sum(),
            admitted,
            rejected: run.admission.rejected.clone(),
            base_hash: run.admission.base_hash.clone(),
            reducer: run.options.rules.reduce,
            server_step: run.options.rules.server,
            step,
            changes,
            privacy,
            adapters: run.stack.map(|stack| stack.report.clone()),
        }
    }
}

/// What each member has in the result.
fn shares(plan: &Plan, cohort: &Cohort<'_>) -> Vec<f64> {
    let n = cohort.len();
    match plan {
        Plan::Linear(linear) => linear.weights.iter().map(|w| w / linear.total).collect(),
        Plan::Columns(columns) => {
            let members: Vec<usize> = columns.groups.concat();
            let mut shares = vec![0.0; n];
            for &i in &members {
                shares[i] = 1.0 / members.len() as f64;
            }
            shares
        }
        Plan::Sparse(_) => {
            let total: f64 = cohort.members.iter().map(|member| member.weight).sum();
            cohort.members.iter().map(|member| member.weight / total).collect()
        }
        Plan::Sphere(sphere) => sphere.shares(),
    }
}
