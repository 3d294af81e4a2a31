//! What a federation is compared with: plain averaging, and one model on all nodes' rows.

use super::round_bar::run_arm;
use crate::checkpoint::{Checkpoint, NodeValues};
use crate::data::{Node, train_segments};
use crate::federation::{Arm, Round};
use crate::metrics::Metrics;
use crate::output::Output;
use crate::run::Run;
use crate::training::{TrainOptions, train_together};

/// How good another way to train is.
#[derive(Debug, Clone)]
pub(super) struct Compared {
    /// On the test rows.
    pub(super) test: Metrics,
    /// On what the nodes hold out of their training rows, if they do.
    pub(super) val: Option<Metrics>,
}

impl Compared {
    /// What a run's last round made, or of no round, its model.
    ///
    /// # Errors
    /// As [`Arm::evaluate`] and [`Arm::evaluate_held_out`].
    pub(super) fn last(rounds: &[Round], model: &Checkpoint, arm: Arm<'_>) -> anyhow::Result<Self> {
        Ok(match rounds.last() {
            Some(Round { metrics, val, .. }) => Self { test: metrics.clone(), val: val.clone() },
            None => {
                Self { test: arm.evaluate(model, arm.test)?, val: arm.evaluate_held_out(model)? }
            }
        })
    }
}

/// Plain federated averaging and one model on all nodes' rows, after a run that ended with `last`; none
/// of what was stopped.
///
/// # Errors
/// As [`run_arm`], or if the one model cannot train or its file be written.
pub(super) fn compared(
    start: &Checkpoint,
    last: &Compared,
    arm: Arm<'_>,
    output: Output,
) -> anyhow::Result<(Option<Compared>, Option<Compared>)> {
    let own = &start.meta.run;
    let plain = own.plain_fedavg()?;
    let fedavg =
        if plain == *own { Some(last.clone()) } else { plain_fedavg(start, &plain, arm, output)? };
    Ok((fedavg, centralised(start, arm, output)?))
}

/// The same rounds of plain federated averaging; none if it was stopped.
fn plain_fedavg(
    start: &Checkpoint,
    plain: &Run,
    arm: Arm<'_>,
    output: Output,
) -> anyhow::Result<Option<Compared>> {
    output.note("plain federated averaging, to compare");
    let folder = arm.folder.join("fedavg");
    let start = start.clone().with_run(plain.clone())?;
    let report = run_arm(&start, Arm { folder: &folder, ..arm }, "fedavg", output)?;
    if report.rounds.len() < plain.federation().rounds as usize {
        return Ok(None);
    }
    let test = arm.evaluate(&report.model, arm.test)?;
    Ok(Some(Compared { test, val: report.rounds.last().and_then(|round| round.val.clone()) }))
}

/// One model on all nodes' rows, less what each node holds out, with as many epochs as the federation
/// has in all; none if it was stopped.
fn centralised(
    start: &Checkpoint,
    arm: Arm<'_>,
    output: Output,
) -> anyhow::Result<Option<Compared>> {
    output.note("one model on all nodes' rows, to compare");
    let mut start = start.clone().with_run(start.meta.run.centralised()?)?;
    let options = TrainOptions {
        node: "centralised",
        base: None,
        threads: arm.threads,
        stop: arm.stop,
        state: None,
        resume: false,
        variate: None,
        rounds: 1,
    };
    let of = |node: &Node| train_segments(arm.dataset, &node.segments);
    let nodes = arm.nodes.iter().map(of).collect::<anyhow::Result<Vec<_>>>()?;
    // One model on all rows has one node.
    NodeValues::of_rows(&mut start.meta.preprocess, arm.dataset, &nodes.concat(), &[])?;
    let mut bar = output.training("centralised");
    let (model, report) = train_together(start, arm.dataset, &nodes, options, &mut bar)?;
    drop(bar);
    if report.stopped.is_some() {
        return Ok(None);
    }
    model.write(&arm.folder.join("centralised.safetensors"))?;
    let arm = Arm { node_fit: None, ..arm };
    let (test, val) = (arm.evaluate(&model, arm.test)?, arm.evaluate_held_out(&model)?);
    Ok(Some(Compared { test, val }))
}
