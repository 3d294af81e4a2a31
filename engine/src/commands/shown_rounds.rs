//! How the rounds of a center are shown: a bar for the updates, and a line for every round.

use std::collections::BTreeSet;
use std::time::Instant;

use indicatif::ProgressBar;
use rounds::{Outcome, Plan, Verdict};

use crate::checkpoint::CappedNote;
use crate::fleet::CenterProgress;
use crate::output::Output;

/// A bar for the updates of a round, and a line for every round.
pub(super) struct Shown {
    pub(super) output: Output,
    rounds: u32,
    bar: Option<ProgressBar>,
    asked: Instant,
    /// Rounds whose merged model was refused.
    pub(super) not_taken: u32,
    /// Who counts less than they say, which is said once.
    capped: BTreeSet<String>,
}

impl Shown {
    pub(super) fn new(output: Output, rounds: u32) -> Self {
        let capped = BTreeSet::new();
        Self { output, rounds, bar: None, asked: Instant::now(), not_taken: 0, capped }
    }

    /// Says something above the bar.
    pub(super) fn above(&self, say: impl FnOnce(Output)) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say(self.output)),
            None => say(self.output),
        }
    }
}

impl CenterProgress for Shown {
    fn asked(&mut self, plan: &Plan) {
        self.asked = Instant::now();
        if let (Some(age), 1) = (plan.max_age, plan.round) {
            let all = if plan.quorum == plan.nodes {
                "; --quorum is all nodes, so it waits for the slowest"
            } else {
                ""
            };
            self.output.note(&format!(
                "asynchronous rounds: each closes with {} updates, which may have started up to {age} rounds before{all}",
                plan.quorum
            ));
        }
        if plan.nodes == 1 {
            self.output.warn(
                "the roster has one node that counts: nodes send only among --min-nodes, two unless they say otherwise",
            );
        }
        self.bar = Some(
            self.output.bar(plan.nodes.into(), &format!("round {}/{}", plan.round, self.rounds)),
        );
    }

    fn stands(&mut self, plan: &Plan) {
        self.output.note(&format!(
            "round {} was asked for before: its quorum of {}, its deadline and its encoding ({}) stand",
            plan.round, plan.quorum, plan.encoding
        ));
    }

    fn no_roster(&mut self, problem: &str) {
        self.output.warn(&format!("no roster for the next round, trying on: {problem}"));
    }

    fn arrived(&mut self, verdict: &Verdict) {
        let Some(bar) = &self.bar else { return };
        bar.inc(1);
        if let Some(reason) = &verdict.refused {
            bar.suspend(|| self.output.warn(&format!("{}: not counted: {reason}", verdict.node)));
        }
    }

    fn not_counted(&mut self, verdict: &Verdict) {
        let reason = verdict.refused.as_deref().unwrap_or_default();
        self.above(|output| output.warn(&format!("{}: not counted: {reason}", verdict.node)));
    }

    fn waits(&mut self, there: usize, quorum: usize) {
        let text = format!(
            "the deadline is over with {there} updates, waiting for the quorum of {quorum}"
        );
        self.bar.iter().for_each(|bar| bar.suspend(|| self.output.warn(&text)));
    }

    fn capped(&mut self, capped: &[CappedNote]) {
        for CappedNote { node, claimed, counted } in capped {
            if self.capped.insert(node.clone()) {
                let text = format!(
                    "{node} says {claimed:.0} windows and counts as {counted:.0}: no single one more than all others, or far more than most (max_weight)"
                );
                self.above(|output| output.note(&text));
            }
        }
    }

    fn closed(&mut self, outcome: &Outcome, ours: bool) {
        self.not_taken += u32::from(outcome.refused.is_some());
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        let metrics =
            outcome.metrics.map(|m| format!(", loss {:.4}, accuracy {:.4}", m.loss, m.accuracy));
        let refused = outcome.refused.as_ref().map(|why| format!("; NOT TAKEN: {why}"));
        let by = if ours { "" } else { ", closed by another center" };
        self.output.note(&format!(
            "round {:>3}/{}: {} of {} updates{}{by} ({:.1} s){}",
            outcome.round,
            self.rounds,
            outcome.merged(),
            outcome.updates.len(),
            metrics.unwrap_or_default(),
            self.asked.elapsed().as_secs_f64(),
            refused.unwrap_or_default()
        ));
    }
}
