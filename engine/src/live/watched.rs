//! Where the detectors of a run are, and what is usual where it runs: what goes on behind a restart.

use monitor::{AdaptiveLevel, Adwin, AdwinConfig, AnyDetector, Cusum, Detector, Scores, Watch};
use serde::{Deserialize, Serialize};

use crate::signals::Profile;

/// What is added to allowances while it is not known what a place is like: half a change of two deviations more.
const CAUTION: f64 = 1.0;

/// How fast the level of sets follows labels.
const GAMMA: f64 = 0.005;

/// What goes on behind a restart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    /// The model's hash.
    pub(super) model: String,
    /// Windows that were watched.
    pub(super) windows: u64,
    /// In the order of the profile.
    pub(super) detectors: Vec<At>,
    /// What is usual here of input and confidence.
    pub(super) places: [Place; 2],
    /// Looks at errors.
    pub(super) adwin: Option<Adwin>,
    /// That of sets, if there are any.
    pub(super) level: Option<AdaptiveLevel>,
    /// Windows whose class was told, and for how many of them the answer was right.
    pub(super) labels: u64,
    /// See [`labels`](Self::labels).
    pub(super) right: u64,
}

/// What is usual of a signal here.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    /// As it was learned; or nothing, as long as it is as where the model was calibrated.
    pub(super) scores: Option<Scores>,
    /// The first windows with their classes, while they are collected.
    pub(super) first: Option<Vec<(f64, u32)>>,
}

impl Place {
    /// Where nothing is known yet.
    pub(super) fn new(is_learning: bool) -> Self {
        Self { scores: None, first: is_learning.then(Vec::new) }
    }
}

/// A detector with what it has said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct At {
    /// With what it has seen.
    pub(super) watch: Watch,
    /// Alarms that it gave.
    pub(super) alarms: u64,
    /// How many of these are one story, and the window of the last.
    pub(super) story: (u64, u64),
}

impl Default for State {
    /// Of no model.
    fn default() -> Self {
        Self {
            model: String::new(),
            windows: 0,
            detectors: Vec::new(),
            places: [Place::default(), Place::default()],
            adwin: Adwin::new(AdwinConfig::default()).ok(),
            level: None,
            labels: 0,
            right: 0,
        }
    }
}

impl State {
    /// Before the first window of a model.
    pub(super) fn new(model: &str, profile: &Profile, refit: usize) -> Self {
        let is_learning = refit > 0;
        let of = |watch: &Watch| {
            let watch = if is_learning { cautious(watch) } else { watch.clone() };
            At { watch, alarms: 0, story: (0, 0) }
        };
        let level = AdaptiveLevel::new(1.0 - profile.coverage, GAMMA).ok();
        Self {
            model: model.to_owned(),
            windows: 0,
            detectors: profile.watches.iter().map(of).collect(),
            places: [(); 2].map(|()| Place::new(is_learning)),
            adwin: Adwin::new(AdwinConfig::default()).ok(),
            level: level.filter(|_| profile.conformal.is_some()),
            labels: 0,
            right: 0,
        }
    }
}

/// The same detector, for large changes alone.
fn cautious(watch: &Watch) -> Watch {
    let detector = match &watch.detector {
        AnyDetector::Cusum(cusum) if watch.scored => {
            let (mean, deviation) = cusum.reference();
            let allowance = cusum.allowance() + CAUTION;
            Cusum::new(mean, deviation, cusum.side(), allowance, cusum.threshold())
                .map_or_else(|_| watch.detector.clone(), AnyDetector::Cusum)
        }
        other => other.clone(),
    };
    Watch { detector, ..watch.clone() }
}
