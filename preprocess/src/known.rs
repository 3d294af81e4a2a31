//! What is known of rows that are not here: statistics, taken along through the steps.

use crate::scale::Line;
use crate::stats::{ChannelStats, Needs, Stats};
use crate::steps::{FittedKind, StepKind};
use crate::{FittedStep, ImputeMethod, Stage, StepConfig};

/// Which statistics the next steps are fitted on, as far as one round can go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Wanted {
    /// Of the values as they are.
    pub(crate) needs: Needs,
    /// How gaps are filled from their neighbours by one of the steps, if one does: then the same
    /// statistics of the values so filled are wanted too, as the raw ones do not say what comes out.
    pub(crate) filled_by: Option<ImputeMethod>,
}

impl Wanted {
    /// What steps want that follow each other.
    pub(crate) fn by(configs: &[StepConfig]) -> Self {
        let mut wanted = Self { needs: Needs::Nothing, filled_by: None };
        for config in configs {
            if wanted.needs == Needs::Nothing || config.kind.needs() == Needs::Quantiles {
                wanted.needs = config.kind.needs();
            }
            if let StepKind::Impute(impute) = &config.kind {
                let method = Some(impute.method).filter(|&method| looks_at_neighbours(method));
                wanted.filled_by = wanted.filled_by.or(method);
            }
            if !can_follow(&config.kind) {
                break;
            }
        }
        wanted
    }
}

/// Whether statistics of what comes in tell those of what comes out; see [`Known::after`].
fn can_follow(kind: &StepKind) -> bool {
    matches!(
        kind,
        StepKind::Impute(_)
            | StepKind::ZScore(_)
            | StepKind::MinMax(_)
            | StepKind::RobustScale(_)
            | StepKind::WindowNormalize(_)
    )
}

/// Whether what is put into a gap depends on the rows about it.
fn looks_at_neighbours(method: ImputeMethod) -> bool {
    matches!(method, ImputeMethod::Linear | ImputeMethod::Previous)
}

/// What is known of the rows that come into a step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Known {
    pub(crate) filled_by: Option<ImputeMethod>,
    pub(crate) channels: Vec<Channel>,
}

/// What is known of one channel.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Channel {
    /// As it comes in.
    pub(crate) now: ChannelStats,
    /// As it would be with its gaps filled from their neighbours; what these cannot fill is missing.
    pub(crate) filled: Option<ChannelStats>,
}

impl Known {
    /// Whether it tells what a step must know.
    pub(crate) fn has(&self, needs: Needs) -> bool {
        match needs {
            Needs::Nothing | Needs::Moments => true,
            Needs::Quantiles => {
                self.channels.iter().all(|c| c.now.count == 0 || !c.now.quantiles.is_empty())
            }
        }
    }

    /// Statistics of the channels in these places, or of all.
    pub(crate) fn stats(&self, places: Option<&[usize]>) -> Stats {
        let of = |place: usize| self.channels[place].now.clone();
        let channels = match places {
            None => (0..self.channels.len()).map(of).collect(),
            Some(places) => places.iter().map(|&place| of(place)).collect(),
        };
        Stats { channels }
    }

    /// What is known behind a step that got this, if that can be told.
    pub(crate) fn after(mut self, step: &FittedStep, input: &Stage) -> Option<Self> {
        if step.kind.kind().is_per_window() {
            return Some(self);
        }
        if let Some(lines) = step.lines(input) {
            for (channel, line) in self.channels.iter_mut().zip(lines) {
                channel.go_along(line);
            }
            return Some(self);
        }
        let FittedKind::Impute(impute) = &step.kind else { return None };
        let all: Vec<usize> = (0..input.channels()).collect();
        let places = step.channels.as_ref().unwrap_or(&all);
        let mut masks = Vec::new();
        for (&place, &fill) in places.iter().zip(&impute.fill) {
            let channel = &mut self.channels[place];
            masks.push(channel.mask());
            channel.impute(impute.method, fill, self.filled_by)?;
        }
        if impute.mask {
            let kept = (0..input.channels()).filter(|place| !places.contains(place));
            let order: Vec<usize> = kept.chain(places.iter().copied()).collect();
            let old = self.channels;
            self.channels = order.iter().map(|&place| old[place].clone()).chain(masks).collect();
        }
        Some(self)
    }
}

impl Channel {
    fn go_along(&mut self, line: Line) {
        self.now = self.now.mapped(line);
        self.filled = self.filled.as_ref().map(|filled| filled.mapped(line));
    }

    /// Where values are missing: 1, elsewhere 0.
    fn mask(&self) -> Self {
        let zeros =
            ChannelStats { missing: self.now.missing, ..ChannelStats::atom(self.now.count, 0.0) };
        Self { now: zeros.filled(1.0), filled: None }
    }

    /// None where it is not known what was put into the gaps.
    fn impute(
        &mut self,
        method: ImputeMethod,
        fill: f64,
        filled_by: Option<ImputeMethod>,
    ) -> Option<()> {
        let filled = self.filled.take();
        if self.now.missing == 0 {
            return Some(());
        }
        let gaps_left = if looks_at_neighbours(method) {
            filled.as_ref().filter(|_| filled_by == Some(method))?
        } else {
            &self.now
        };
        self.now = gaps_left.filled(fill);
        Some(())
    }
}
