//! A federated run as a person watches it.

use indicatif::ProgressBar;

use crate::checkpoint::Checkpoint;
use crate::federation::{Arm, ArmReport, Round, RoundProgress, simulate_arm};
use crate::output::Output;

/// A bar over all rounds, and a line per round.
struct RoundBar {
    steps: ProgressBar,
    output: Output,
    rounds: u32,
}

impl RoundProgress for RoundBar {
    fn step(&self) {
        self.steps.tick();
    }

    fn round(&self, round: &Round) {
        self.steps.inc(1);
        self.steps.suspend(|| {
            let val = round.val.as_ref().map(|val| {
                format!(", held-out loss {:.4}, accuracy {:.4}", val.loss, val.accuracy)
            });
            self.output.note(&format!(
                "round {:>3}/{}: train loss {:.4}{}, test loss {:.4}, accuracy {:.4} ({:.1} s)",
                round.round,
                self.rounds,
                round.train_loss,
                val.unwrap_or_default(),
                round.metrics.loss,
                round.metrics.accuracy,
                round.wall_s
            ));
            for refused in &round.rejected {
                self.output.note(&format!("left out: {}: {}", refused.path, refused.reason));
            }
        });
    }
}

/// Runs all rounds of a federation, and shows how it goes.
///
/// # Errors
/// As [`simulate_arm`].
pub(super) fn run_arm(
    start: &Checkpoint,
    arm: Arm<'_>,
    what: &str,
    output: Output,
) -> anyhow::Result<ArmReport> {
    let rounds = start.meta.run.federation().rounds;
    let bar = output.bar(u64::from(rounds), what);
    let report = simulate_arm(start, arm, &RoundBar { steps: bar.clone(), output, rounds })?;
    bar.finish_and_clear();
    Ok(report)
}
