//! What is known of rows that are not here: statistics, taken along through the steps.

use crate::covariance::Covariance;
use crate::scale::{Back, Line, Undo};
use crate::stats::{ChannelStats, Needs, Stats};
use crate::steps::{FittedKind, StepKind};
use crate::{FitBy, FittedStep, ImputeMethod, Stage, StepConfig};

/// Most channels of which it is known how all vary together, for a step that runs on all of them and
/// for one that runs on some: a matrix of them leaves each node.
const MOST_TOGETHER: [usize; 2] = [1 << 12, 1 << 8];

/// Which statistics the next steps are fitted on, as far as one round can go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Wanted {
    /// Moments of the values as they are, or quantiles too.
    pub(crate) needs: Needs,
    /// How channels vary together.
    pub(crate) covariance: bool,
    /// How gaps are filled from their neighbours by one of the steps, if one does: then the same
    /// statistics of the values so filled are wanted too, as the raw ones do not say what comes out.
    pub(crate) filled_by: Option<ImputeMethod>,
}

impl Wanted {
    /// What steps want that follow each other, of so many channels.
    pub(crate) fn by(configs: &[StepConfig], channels: usize) -> Self {
        let mut wanted = Self { needs: Needs::Moments, covariance: false, filled_by: None };
        for (at, config) in configs.iter().enumerate() {
            if config.fit == FitBy::Node {
                // Of what each node makes of its rows nothing is known here.
                break;
            }
            match config.kind.needs() {
                Needs::Nothing | Needs::Moments => {}
                Needs::Quantiles => wanted.needs = Needs::Quantiles,
                Needs::Covariance => {
                    let most = MOST_TOGETHER[usize::from(config.channels.is_some())];
                    wanted.covariance = at == 0 || channels <= most;
                }
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
    pub(crate) covariance: Option<Together>,
}

/// What is known of how channels vary together, over the rows that miss nothing of them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Together {
    /// The places of these channels where the statistics were made, or all.
    pub(crate) of: Option<Vec<usize>>,
    pub(crate) covariance: Covariance,
    /// Whether gaps were filled since, so that rows are complete which were not.
    pub(crate) is_filled: bool,
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
    /// Whether it tells what a step must know of the channels in these places, or of all.
    pub(crate) fn has(&self, needs: Needs, places: Option<&[usize]>) -> bool {
        match needs {
            Needs::Nothing | Needs::Moments => true,
            Needs::Quantiles => {
                self.channels.iter().all(|c| c.now.count == 0 || !c.now.quantiles.is_empty())
            }
            Needs::Covariance => self.covariance.as_ref().is_some_and(|known| {
                let same_rows = !known.is_filled && known.of.as_deref() == places;
                same_rows || (known.of.is_none() && known.covariance.incomplete == 0)
            }),
        }
    }

    /// Statistics of the channels in these places, or of all, as far as they are known.
    pub(crate) fn stats(&self, places: Option<&[usize]>) -> Stats {
        let all: Vec<usize> = (0..self.channels.len()).collect();
        let channels = places.unwrap_or(&all);
        let covariance = self.covariance.as_ref().map(|known| match places {
            Some(places) if known.of.is_none() => {
                known.covariance.of_channels(&places.iter().copied().map(Some).collect::<Vec<_>>())
            }
            _ => known.covariance.clone(),
        });
        let channels = channels.iter().map(|&place| self.channels[place].now.clone()).collect();
        Stats { channels, covariance }
    }

    /// What is known behind a step that got this, if that can be told.
    pub(crate) fn after(mut self, step: &FittedStep, input: &Stage) -> Option<Self> {
        if step.kind.kind().is_per_window() {
            return Some(self);
        }
        if let Undo::Values(values) = step.undo(input) {
            let line = |back: &Back| match back {
                Back::Line(line) => Some(*line),
                Back::Expm1 => None,
            };
            let lines: Vec<Line> = values.iter().map(line).collect::<Option<_>>()?;
            // Of some channels alone it is only known for a step that comes first.
            self.covariance = self.covariance.filter(|known| known.of.is_none());
            if let Some(known) = &mut self.covariance {
                known.covariance = known.covariance.mapped(&lines);
            }
            for (channel, line) in self.channels.iter_mut().zip(lines) {
                channel.go_along(line);
            }
            return Some(self);
        }
        let FittedKind::Impute(impute) = &step.kind else { return None };
        let all: Vec<usize> = (0..input.channels()).collect();
        let places = step.channels.as_ref().unwrap_or(&all);
        let has_gaps = places.iter().any(|&place| self.channels[place].now.missing > 0);
        let mut masks = Vec::new();
        for (&place, &fill) in places.iter().zip(&impute.fill) {
            let channel = &mut self.channels[place];
            masks.push(channel.mask());
            channel.impute(impute.method, fill, self.filled_by)?;
        }
        self.covariance = self.covariance.filter(|known| known.of.is_none());
        if let Some(known) = &mut self.covariance {
            known.is_filled |= has_gaps;
        }
        if impute.mask {
            let kept = (0..input.channels()).filter(|place| !places.contains(place));
            let order: Vec<usize> = kept.chain(places.iter().copied()).collect();
            let old = self.channels;
            self.channels = order.iter().map(|&place| old[place].clone()).chain(masks).collect();
            // Where nothing is missing, masks are 0.
            self.covariance = self.covariance.filter(|known| known.covariance.incomplete == 0);
            if let Some(known) = &mut self.covariance {
                let places = order.iter().map(|&place| Some(place));
                let places: Vec<_> = places.chain(impute.fill.iter().map(|_| None)).collect();
                known.covariance = known.covariance.of_channels(&places);
            }
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
