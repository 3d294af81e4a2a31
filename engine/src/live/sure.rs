//! How probable an answer has to be to be given: within bounds as labels that come back ask for it.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::json;

use super::answer::Label;
use super::board::{Board, Figure};
use super::events::Events;
use super::level::Level;
use super::observe::Observer;
use super::tap::Seen;
use crate::job::Abstain;

/// Labelled windows that are looked at, and without which nothing is changed.
const LAST: usize = 200;
const FEWEST: usize = 20;

/// A threshold that moves by no more is not told.
const HARDLY: f64 = 0.05;

/// The least threshold within bounds with which enough of the answers that are given are right.
///
/// Of the last 200 labelled windows those with a probability of at least the threshold would have been answered; of
/// these at least a share has to be right. If no threshold up to the upper bound does, it is the upper bound; with
/// fewer than 20 labels it stays as it is, at first the lower bound.
#[derive(Debug, Clone, PartialEq)]
pub struct Sure {
    bounds: Abstain,
    right: f64,
    /// Probabilities, and whether the answers were right, the oldest first.
    last: VecDeque<(f64, bool)>,
    threshold: f64,
}

impl Sure {
    /// Before a label came; `right` is the share of given answers that have to be right.
    pub fn new(bounds: Abstain, right: f64) -> Self {
        let last = VecDeque::with_capacity(LAST);
        Self { bounds, right, last, threshold: bounds.least }
    }

    /// The threshold.
    pub fn threshold(&self) -> f64 {
        self.threshold
    }

    /// A label came of a window whose answer had this probability; gives the threshold.
    pub fn labelled(&mut self, p: f64, is_right: bool) -> f64 {
        if self.last.len() == LAST {
            self.last.pop_front();
        }
        self.last.push_back((p, is_right));
        if self.last.len() >= FEWEST {
            self.threshold = self.least();
        }
        self.threshold
    }

    /// Another model answers, whose probabilities mean something else: the threshold stays until enough is known of it.
    pub fn forget(&mut self) {
        self.last.clear();
    }

    fn least(&self) -> f64 {
        let Abstain { least, most } = self.bounds;
        let mut given: Vec<(f64, bool)> =
            self.last.iter().copied().filter(|&(p, _)| p >= least).collect();
        given.sort_by(|a, b| b.0.total_cmp(&a.0));
        let (mut n, mut right, mut threshold) = (0_u32, 0_u32, most);
        for alike in given.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
            n += alike.len() as u32;
            right += alike.iter().filter(|(_, is_right)| *is_right).count() as u32;
            // Rounding of the share makes no answer wrong.
            let is_enough = f64::from(right) >= self.right * f64::from(n) - 1e-9;
            if is_enough && alike[0].0 < most {
                threshold = alike[0].0;
            }
            if is_enough && n as usize == given.len() {
                threshold = least;
            }
        }
        if given.is_empty() { least } else { threshold }
    }
}

/// Follows labels, and tells what comes of it.
#[derive(Debug)]
pub(super) struct Abstaining<'a> {
    rule: Sure,
    model: Option<Arc<Label>>,
    /// The threshold that was last told.
    told: f64,
    level: &'a Level,
    events: &'a Events,
    board: &'a Board,
}

impl<'a> Abstaining<'a> {
    /// Sets this level, by which answers are kept back.
    pub(super) fn new(rule: Sure, level: &'a Level, events: &'a Events, board: &'a Board) -> Self {
        let told = rule.threshold();
        Self { rule, model: None, told, level, events, board }
    }
}

impl Observer for Abstaining<'_> {
    fn labelled(&mut self, seen: &Seen, class: u32) {
        let (Some((answer, p)), Some(model)) = (seen.class, &seen.model) else { return };
        if self.model.as_ref().is_none_or(|known| known.hash != model.hash) {
            self.rule.forget();
            self.model = Some(Arc::clone(model));
        }
        let threshold = self.rule.labelled(f64::from(p), answer == class);
        self.level.set(Some(threshold));
        self.board.set(Figure::AbstainThreshold, "", threshold);
        if (threshold - self.told).abs() > HARDLY {
            self.events.tell(json!({
                "event": "abstain", "threshold": threshold, "was": self.told,
                "labels": self.rule.last.len(),
            }));
            self.told = threshold;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer::State;
    use super::*;

    fn sure() -> Sure {
        Sure::new(Abstain { least: 0.5, most: 0.9 }, 0.95)
    }

    /// So many answers of a probability, one in so many of which is wrong; 0 for none.
    fn tell(sure: &mut Sure, n: u32, p: f64, wrong: u32) -> f64 {
        for i in 0..n {
            sure.labelled(p, wrong == 0 || i % wrong != 0);
        }
        sure.threshold()
    }

    #[track_caller]
    fn is(threshold: f64, expected: f64) {
        assert!((threshold - expected).abs() < 1e-12, "{threshold} for {expected}");
    }

    #[test]
    fn the_threshold_is_the_least_with_which_enough_are_right() {
        let mut sure = sure();
        is(sure.threshold(), 0.5);
        // Nineteen wrong ones are too few to tell.
        is(tell(&mut sure, 19, 0.6, 1), 0.5);
        // None of them may be given, then; what is wrong below 0.7 leaves that.
        is(tell(&mut sure, 1, 0.6, 1), 0.9);
        is(tell(&mut sure, 100, 0.7, 0), 0.7);
        // 6 of 120 wrong are 5 %.
        let mut sure = self::sure();
        tell(&mut sure, 114, 0.8, 0);
        is(tell(&mut sure, 6, 0.6, 1), 0.5);
        is(tell(&mut sure, 1, 0.6, 1), 0.8);
        // Below the lower bound none is given: they do not count.
        is(tell(&mut self::sure(), 100, 0.4, 1), 0.5);
    }

    #[test]
    fn it_stays_within_its_bounds_and_follows_the_last_labels() {
        let mut sure = sure();
        is(tell(&mut sure, 100, 0.97, 2), 0.9);
        is(tell(&mut sure, 50, 0.95, 0), 0.9);
        // 150 of the last 200 are right.
        is(tell(&mut sure, 50, 0.6, 0), 0.9);
        // The last 200 are right, all of them.
        is(tell(&mut sure, 100, 0.6, 0), 0.5);
        assert_eq!(sure.last.len(), LAST);
        tell(&mut sure, 20, 0.6, 1);
        let before = sure.threshold();
        sure.forget();
        is(tell(&mut sure, 19, 0.55, 0), before);
        is(tell(&mut sure, 1, 0.55, 0), 0.5);
    }

    #[test]
    fn a_move_is_told_once_and_the_answers_follow() {
        let (level, board) = (Level::default(), Board::default());
        let (events, receiver) = Events::new();
        let mut abstaining = Abstaining::new(sure(), &level, &events, &board);
        let mut seen = Seen::empty(0, 2);
        let mut labelled = |hash: &str, n, p, class| {
            let classes = ["a", "b"].map(str::to_owned).to_vec();
            let (hash, state) = (hash.to_owned(), State::default());
            seen.model = Some(Arc::new(Label { hash, round: 0, state, classes, profile: None }));
            seen.class = Some((0, p));
            (0..n).for_each(|_| abstaining.labelled(&seen, class));
            level.get().expect("set")
        };
        is(labelled("1", 40, 0.75, 0), 0.5);
        is(labelled("1", 40, 0.53125, 1), 0.75);
        is(labelled("2", 19, 0.75, 1), 0.75);
        is(labelled("2", 1, 0.75, 1), 0.9);
        let told: Vec<f64> =
            receiver.try_iter().filter_map(|event| event["threshold"].as_f64()).collect();
        assert_eq!(told, [0.75, 0.9]);
        let figure = board.figures().get(&(Figure::AbstainThreshold, String::new())).copied();
        assert_eq!(figure, Some(0.9));
        // Without an answer there is nothing to learn.
        let nothing = Seen::empty(0, 2);
        abstaining.labelled(&nothing, 1);
        assert!(receiver.try_recv().is_err());
    }
}
