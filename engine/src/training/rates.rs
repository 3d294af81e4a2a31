//! The learning rates of a run's steps, and whether there is one that can teach anything.

use anyhow::bail;
use optim::Schedule;

/// Where a run's steps are in the schedule, which all rounds of a federation share.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rates {
    schedule: Schedule,
    /// Steps of this run.
    steps: u64,
    /// Rounds before it, as the model's file says.
    round: u32,
    /// Rounds that the schedule spans.
    rounds: u32,
}

/// Steps that are asked for a rate above 0: a rise that begins later than that is none.
const MOST_ASKED: u64 = 100_000;

impl Rates {
    pub(super) fn new(schedule: Schedule, steps: u64, round: u32, rounds: u32) -> Self {
        Self { schedule, steps, round, rounds }
    }

    /// The rate of a step of the run, if the schedule starts from `base`, times `plateau`.
    pub(super) fn at(&self, step: u64, base: f32, plateau: f64) -> f32 {
        // The round stands in a file: it may be any number.
        let before = u64::from(self.round).saturating_mul(self.steps);
        let total = u64::from(self.rounds).saturating_mul(self.steps);
        let factor = self.schedule.factor(before.saturating_add(step), total) * plateau;
        (f64::from(base) * factor) as f32
    }

    /// The mean rate of the first `steps` steps.
    pub(super) fn mean(&self, steps: u64, base: f32, plateau: f64) -> f32 {
        let sum: f64 = (0..steps).map(|step| f64::from(self.at(step, base, plateau))).sum();
        (sum / steps.max(1) as f64) as f32
    }

    /// Refuses a run with a rate of 0 in every step, which would change nothing. That `base` is above
    /// 0 was checked with the job.
    pub(super) fn check(&self, base: f32) -> anyhow::Result<()> {
        let mut asked = 0..self.steps.min(MOST_ASKED);
        if self.steps == 0 || asked.any(|step| self.at(step, base, 1.0) != 0.0) {
            return Ok(());
        }
        let (round, rounds) = (self.round, self.rounds);
        if round >= rounds {
            bail!(
                "the planned rounds are over: the model has {round} rounds behind it, the schedule spans {rounds} ([federation] rounds), and its rate is 0 from there on, so that nothing would be learned; start from a model whose job has more rounds, or give [train] schedule a min_ratio above 0 or name = \"constant\""
            );
        }
        bail!(
            "the learning rate is 0 in every step of the run, so that nothing would be learned: change [train] schedule or lr"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSINE: Schedule = Schedule::Cosine { warmup: 0.0, min_ratio: 0.0 };

    #[test]
    fn a_run_that_cannot_learn_is_refused() {
        let message = |rates: Rates, base| rates.check(base).map_err(|e| e.to_string());
        let over = message(Rates::new(COSINE, 10, 3, 3), 0.1).unwrap_err();
        assert!(over.contains("planned rounds are over"), "{over}");
        assert!(message(Rates::new(COSINE, 10, u32::MAX, 3), 0.1).is_err());
        let tiny = Schedule::Step { every: 1, gamma: 1e-30 };
        let none = message(Rates::new(tiny, 10, 2, 3), 0.1).unwrap_err();
        assert!(none.contains("in every step"), "{none}");
    }

    #[test]
    fn a_run_with_one_rate_above_0_is_not() {
        let floor = Schedule::Cosine { warmup: 0.0, min_ratio: 0.1 };
        let warm = Schedule::LinearWarmup { warmup: 1.0 };
        for rates in [
            Rates::new(COSINE, 10, 2, 3),
            Rates::new(floor, 10, 7, 3),
            Rates::new(warm, 10, 0, 3),
            Rates::new(Schedule::Constant, 10, 9, 3),
            Rates::new(Schedule::Step { every: 1, gamma: 1e-30 }, 10, 0, 3),
            Rates::new(COSINE, 0, 3, 3),
        ] {
            rates.check(0.1).unwrap();
        }
    }
}
