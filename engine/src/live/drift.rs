//! Watches the signals of a calibrated model: how unusual inputs are, how sure answers, and with labels how wrong.
//!
//! All series of a run are watched together, each by windows that share no row. For the first windows a place is
//! measured by what was calibrated, and only large changes count; then by what these windows were like, as every
//! person and every sensor is a little different. Behind a notice what is usual of the input is taken anew, and until
//! it is known only larger changes count: a place is told of a change once, and not again and again of a beginning
//! that was not like the rest.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aggregate::atomic_write;
use monitor::{AdaptiveLevel, AnyDetector, Detector, Watch, settle};
use serde_json::json;

use super::board::{Figure, Signal};
use super::counters::{Counters, get};
use super::events::Events;
use super::level::Level;
use super::observe::Observer;
use super::quality::Quality;
use super::tap::Seen;
use super::watched::{At, State};
use crate::signals::{CONFIDENCE, ERROR, INPUT, NAMES, Profile, Statistics};

/// How often the state is written.
const WRITE: Duration = Duration::from_secs(10);

/// Alarms of one detector that follow each other within so many windows are one story, told ever more rarely.
const ONE_STORY: u64 = 300;

/// Series whose faults are remembered.
const MOST_SERIES: usize = 2048;

/// Where events go, what is counted, and the level of sets.
#[derive(Debug, Clone, Copy)]
pub struct Tells<'a> {
    /// What is told.
    pub events: &'a Events,
    /// What is counted.
    pub counters: &'a Counters,
    /// The level that answers go by.
    pub level: &'a Level,
}

/// Watches.
#[derive(Debug)]
pub struct Drift<'a> {
    told: Tells<'a>,
    /// Windows after which what is usual is taken from them, if that is said; 0 for never.
    asked: Option<usize>,
    /// The same for this model.
    refit: usize,
    /// Where the state is kept.
    path: Option<PathBuf>,
    written: Instant,
    profile: Option<Arc<Profile>>,
    state: State,
    statistics: Statistics,
    /// What was wrong with the last window of each series, and how often something was.
    faults: HashMap<usize, Quality>,
    n_faults: u64,
}

impl<'a> Drift<'a> {
    /// Watches whatever model answers, if it is calibrated. Takes up what is kept at `path`, if it is of that model.
    pub fn new(
        told: Tells<'a>,
        asked: Option<usize>,
        path: Option<PathBuf>,
        started: Instant,
    ) -> Self {
        Self {
            told,
            asked,
            refit: 0,
            path,
            written: started,
            profile: None,
            state: State::default(),
            statistics: Statistics::default(),
            faults: HashMap::new(),
            n_faults: 0,
        }
    }

    /// Another model answers.
    fn begin(&mut self, seen: &Seen) {
        let Some(label) = &seen.model else { return };
        self.profile.clone_from(&label.profile);
        label.hash.clone_into(&mut self.state.model);
        let Some(profile) = &self.profile else {
            self.told.level.set(None);
            return;
        };
        let kept = self.path.as_ref().and_then(|path| std::fs::read(path).ok());
        let kept = kept.and_then(|text| match serde_json::from_slice::<State>(&text) {
            Ok(state) => Some(state),
            Err(error) => {
                let reason = format!("monitor.json: damaged, and begun anew: {error}");
                self.told.events.tell(json!({
                    "event": "monitor", "result": "not-taken-up", "reason": reason,
                }));
                None
            }
        });
        let fits = |state: &State| {
            state.model == label.hash && state.detectors.len() == profile.watches.len()
        };
        self.refit = self.asked.unwrap_or(profile.first);
        if self.refit > 0 && self.refit < profile.first {
            self.told.events.tell(json!({
                "event": "monitor", "result": "refit-early", "windows": self.refit, "calibrated": profile.first,
            }));
        }
        let fresh = || State::new(&label.hash, profile, self.refit);
        self.state = kept.filter(fits).unwrap_or_else(fresh);
        self.told.level.set(self.state.level.as_ref().map(AdaptiveLevel::level));
    }

    /// Takes a value of a signal of a window that was answered with this class.
    fn value(&mut self, signal: usize, x: f64, class: u32, window: u64) {
        let Some(profile) = self.profile.clone() else { return };
        let place = self.state.places.get(signal);
        let is_learning = place.is_some_and(|place| place.first.is_some());
        let learned = place.and_then(|place| place.scores.as_ref());
        let scores = learned.or_else(|| profile.scores.get(signal)?.as_ref());
        let score = scores.map_or(x, |scores| scores.score(x, class));
        let mut rang = false;
        for at in &mut self.state.detectors {
            let is_ks = matches!(at.watch.detector, AnyDetector::Ks(_));
            // A window of values says nothing before it is known what is usual here.
            if at.watch.signal != signal || is_learning && is_ks {
                continue;
            }
            let x = if at.watch.scored { score } else { x };
            if at.watch.detector.update(x).is_alarm() {
                rang = true;
                at.alarms = at.alarms.saturating_add(1);
                let is_one = self.state.windows.saturating_sub(at.story.1) <= ONE_STORY;
                at.story =
                    (if is_one { at.story.0.saturating_add(1) } else { 1 }, self.state.windows);
                let (rule, notice) = (rule(&at.watch.detector), signal == INPUT);
                let is_told = self.told.events.tell_some(at.story.0, || {
                    json!({
                        "event": "drift", "signal": NAMES[signal], "rule": rule,
                        "level": if notice { "notice" } else { "alarm" },
                        "statistic": at.watch.detector.statistic(),
                        "threshold": at.watch.detector.threshold(),
                        "window": window, "count": at.alarms,
                    })
                });
                if !is_told && !notice {
                    self.told.events.count_alarm();
                }
            }
        }
        self.learn(signal, x, class, rang);
    }

    /// Learns what is usual of a signal here.
    fn learn(&mut self, signal: usize, x: f64, class: u32, rang: bool) {
        let (Some(place), Some(profile)) = (self.state.places.get_mut(signal), &self.profile)
        else {
            return;
        };
        let Some(first) = &mut place.first else {
            if rang && signal == INPUT && self.refit > 0 {
                place.first = Some(Vec::new());
                let of_signal =
                    self.state.detectors.iter_mut().filter(|at| at.watch.signal == signal);
                for at in of_signal {
                    let twice = 2.0 * at.watch.detector.threshold();
                    if let Ok(detector) = at.watch.detector.with_threshold(twice) {
                        at.watch.detector = detector;
                    }
                }
            }
            return;
        };
        if rang {
            // What is unusual is not learned as usual.
            first.clear();
            return;
        }
        first.push((x, class));
        let windows = first.len();
        if windows < self.refit {
            return;
        }
        let (values, classes): (Vec<f64>, Vec<u32>) = first.drain(..).unzip();
        place.first = None;
        let watches: Vec<Watch> =
            profile.watches.iter().filter(|watch| watch.signal == signal).cloned().collect();
        // Where nothing ever varies all stays as it was calibrated.
        let settled = settle(&watches, &values, &classes);
        let (scores, watches) = settled.map_or((None, watches), |(scores, w)| (Some(scores), w));
        place.scores = scores;
        let of_signal = self.state.detectors.iter_mut().filter(|at| at.watch.signal == signal);
        for (at, watch) in of_signal.zip(watches) {
            at.watch = watch;
        }
        self.told.events.tell(json!({
            "event": "monitor", "result": "refitted", "signal": NAMES[signal], "windows": windows,
        }));
    }

    /// Tells of faults that a series did not have before.
    fn fault(&mut self, seen: &Seen) {
        if self.faults.len() >= MOST_SERIES && !self.faults.contains_key(&seen.track) {
            self.faults.clear();
        }
        let before = self.faults.insert(seen.track, seen.quality).unwrap_or(Quality::GOOD);
        let old: Vec<&str> = before.names().collect();
        let new: Vec<&str> = seen.quality.names().filter(|name| !old.contains(name)).collect();
        if new.is_empty() {
            return;
        }
        self.n_faults = self.n_faults.saturating_add(1);
        self.told.events.tell_some(self.n_faults, || {
            json!({
                "event": "quality", "what": new, "series": &*seen.series, "window": seen.id,
                "count": self.n_faults,
            })
        });
    }

    /// Shows where detectors stand.
    fn show(&self) {
        let board = &self.told.counters.board;
        let signal = |at: &At| Signal {
            signal: word(at.watch.signal, &at.watch.detector),
            statistic: at.watch.detector.statistic(),
            threshold: at.watch.detector.threshold(),
            alarms: at.alarms,
            notice: at.watch.signal == INPUT,
        };
        board.set_signals(&self.state.detectors.iter().map(signal).collect::<Vec<_>>());
    }

    /// Keeps the state for the next start.
    fn write(&mut self) {
        let Some(path) = self.path.as_ref().filter(|_| self.profile.is_some()) else { return };
        let text = serde_json::to_vec(&self.state).map_err(|error| error.to_string());
        let written =
            text.and_then(|text| atomic_write(path, &text).map_err(|error| error.to_string()));
        if let Err(reason) = written {
            self.told.events.tell(json!({
                "event": "monitor", "result": "not-kept", "reason": reason,
            }));
        }
        self.written = Instant::now();
    }
}

fn rule(detector: &AnyDetector) -> &'static str {
    match detector {
        AnyDetector::Cusum(_) => "cusum",
        AnyDetector::Ks(_) => "ks",
    }
}

/// Signal and rule in a word.
fn word(signal: usize, detector: &AnyDetector) -> &'static str {
    match (signal, detector) {
        (INPUT, AnyDetector::Cusum(_)) => "input",
        (INPUT, AnyDetector::Ks(_)) => "input-ks",
        (CONFIDENCE, AnyDetector::Cusum(_)) => "confidence",
        (CONFIDENCE, AnyDetector::Ks(_)) => "confidence-ks",
        (_, AnyDetector::Cusum(_)) => "error",
        (_, AnyDetector::Ks(_)) => "error-ks",
    }
}

impl Observer for Drift<'_> {
    fn answered(&mut self, seen: &Seen) {
        if seen.model.as_ref().is_some_and(|label| label.hash != self.state.model) {
            self.begin(seen);
        }
        let Some(profile) = self.profile.clone() else { return };
        self.fault(seen);
        let Some((class, p)) = seen.class.filter(|_| seen.is_fresh) else { return };
        self.state.windows = self.state.windows.saturating_add(1);
        self.statistics.take(&seen.values, profile.input.channels());
        let (input, confidence) = (profile.input.signal(&self.statistics), f64::from(p));
        self.value(INPUT, input, class, seen.id);
        self.value(CONFIDENCE, confidence, class, seen.id);
        self.show();
    }

    fn labelled(&mut self, seen: &Seen, class: u32) {
        let Some((answer, _)) = seen.class else { return };
        self.state.labels = self.state.labels.saturating_add(1);
        self.state.right = self.state.right.saturating_add(u64::from(answer == class));
        let board = &self.told.counters.board;
        board.set(Figure::Accuracy, "", self.state.right as f64 / self.state.labels as f64);
        let of_now = seen.model.as_ref().is_some_and(|label| label.hash == self.state.model);
        let Some(profile) = self.profile.clone().filter(|_| of_now) else { return };
        if let (Some(level), Some(sets)) = (&mut self.state.level, &profile.conformal) {
            let missed = !sets.set(&seen.probs, level.level()).any(|known| known == class as usize);
            level.update(missed);
            self.told.level.set(Some(level.level()));
        }
        if seen.is_fresh {
            let error = f64::from(u8::from(answer != class));
            self.value(ERROR, error, class, seen.id);
            if let Some(adwin) = &mut self.state.adwin
                && adwin.update(error).is_alarm()
            {
                let mean = adwin.mean();
                self.told.events.tell(json!({
                    "event": "drift", "signal": NAMES[ERROR], "rule": "adwin", "level": "alarm",
                    "statistic": mean, "window": seen.id,
                }));
            }
            self.show();
        }
    }

    fn tick(&mut self) {
        let counters = self.told.counters;
        for (word, n) in [("matched", &counters.labels), ("unmatched", &counters.labels_lost)] {
            counters.board.set(Figure::Labels, word, get(n) as f64);
        }
        if self.written.elapsed() >= WRITE {
            self.write();
        }
    }

    fn end(&mut self) {
        self.write();
    }
}
