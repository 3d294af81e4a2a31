//! What is seen of the run: its answers and events, and what they come to.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::recording::Rows;

/// Windows that accuracies of late are of, and without which there is none.
const OF_LATE: usize = 40;
const FEWEST: usize = 20;

/// The share of right answers that the adapted model has to gain.
const GAIN: f64 = 0.05;

/// An answer's line, as far as it is of interest.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Answer {
    pub(super) id: u64,
    pub(super) series: Option<String>,
    pub(super) t: Option<f64>,
    #[serde(rename = "answer")]
    pub(super) class: Option<String>,
    pub(super) model: Option<String>,
}

/// A hash as people tell it from others.
fn short(hash: &str) -> String {
    hash.chars().take(8).collect()
}

/// So many right of so many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Share {
    pub(super) right: usize,
    pub(super) of: usize,
}

impl Share {
    fn add(&mut self, right: bool) {
        self.right += usize::from(right);
        self.of += 1;
    }

    /// Of the last few.
    fn of_late(all: &[bool]) -> Self {
        let mut share = Self::default();
        all[all.len().saturating_sub(OF_LATE)..].iter().for_each(|&right| share.add(right));
        share
    }

    fn share(self) -> f64 {
        self.right as f64 / self.of.max(1) as f64
    }

    pub(super) fn words(self) -> String {
        format!("{:.3} ({} of {} windows)", self.share(), self.right, self.of)
    }
}

/// How drift was found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Found {
    pub(super) signal: String,
    pub(super) rule: String,
    pub(super) statistic: f64,
    pub(super) threshold: Option<f64>,
    /// Windows with changed rows until then.
    pub(super) windows: usize,
}

/// A model that was put in place, and refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Refused {
    pub(super) model: String,
    pub(super) reason: String,
}

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Story {
    /// Windows that had an answer.
    pub(super) answered: usize,
    pub(super) page: Option<String>,
    /// Right answers to what is as it was, and to what is changed, by the first model.
    before: Vec<bool>,
    under: Vec<bool>,
    pub(super) found: Option<Found>,
    /// The first window with changed rows, and how many were answered.
    changed: Option<u64>,
    n_changed: usize,
    /// The adapted model, and whether it has passed its trials.
    adapted: Option<String>,
    promoted: Option<String>,
    is_live: bool,
    /// Right answers of it to windows whose classes are never told, each once, and whether one has come again.
    after: Vec<bool>,
    seen: HashSet<(String, usize)>,
    is_again: bool,
    under_of_late: Share,
    /// The bad model that was put in place.
    bad: Option<String>,
    pub(super) refused: Option<Refused>,
}

impl Story {
    /// Takes an answer to rows of this class; gives what is to be told of it.
    pub(super) fn answer(&mut self, answer: &Answer, of: Option<(Rows, &str)>) -> Option<String> {
        self.answered += usize::from(answer.class.is_some());
        let (rows, class) = of?;
        let (series, said) = (answer.series.as_ref()?, answer.class.as_ref()?);
        let right = said == class;
        let mut line = None;
        if rows.is_before() {
            self.before.push(right);
            let n = self.before.len();
            line = n.is_multiple_of(OF_LATE).then(|| {
                let right = self.before.iter().filter(|right| **right).count();
                format!("window {}: {right} of {n} right so far", answer.id)
            });
        } else {
            self.n_changed += usize::from(self.found.is_none());
            if self.changed.is_none() {
                self.changed = Some(answer.id);
                line = Some(format!(
                    "window {}: from here on the sensor is worn on the other arm, and nobody says so",
                    answer.id
                ));
            }
        }
        if rows.is_after() {
            if answer.model.is_some() && answer.model == self.adapted {
                line = line.or(self.adapted_answer(series, rows, right));
            } else if self.promoted.is_none() {
                self.under.push(right);
            }
        }
        line
    }

    /// An answer of the adapted model to changed rows.
    fn adapted_answer(&mut self, series: &str, rows: Rows, right: bool) -> Option<String> {
        if !rows.are_apart() {
            return None;
        }
        if !self.seen.insert((series.to_owned(), rows.last % rows.lap)) {
            self.is_again = true;
            return None;
        }
        self.after.push(right);
        (self.after.len() == OF_LATE).then(|| {
            format!(
                "adapted: accuracy {:.2} -> {:.2}, the last {} windows before and these {OF_LATE}, whose classes \
                 are never told",
                self.under_of_late.share(),
                Share::of_late(&self.after).share(),
                self.under_of_late.of,
            )
        })
    }

    /// A bad model was put in place; gives what is to be told of it.
    pub(super) fn put(&mut self, bad: String) -> String {
        let line = format!("a model with a permuted head is put in its place: {}", short(&bad));
        self.bad = Some(bad);
        line
    }

    /// Takes an event; gives what is to be told of it.
    pub(super) fn event(&mut self, event: &Value) -> Option<String> {
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        match (event["event"].as_str()?, event["result"].as_str().unwrap_or_default()) {
            ("http", _) => {
                let page = format!("http://{}/", text("address"));
                self.page = Some(page.clone());
                Some(format!("page: {page}"))
            }
            ("drift", _) => self.drift(event),
            ("adapt", "begun") => Some(format!(
                "adapting to {} windows whose classes were told, beside {} of before",
                event["windows"], event["replay"]
            )),
            ("adapt", result) => Some(format!("not adapted, {result}: {}", text("reason"))),
            ("adapted", _) => {
                self.adapted = Some(text("model"));
                let share = |part: &str| {
                    let of = |key: &str| event["gate"][part][key].as_u64().unwrap_or(0);
                    format!("{} of {}", of("right"), of("of"))
                };
                Some(format!(
                    "adapted model {} by {} steps: right for {} windows set apart, {} before; it answers unheard beside \
                     the live one",
                    short(&text("model")),
                    event["steps"],
                    share("fresh"),
                    share("fresh_before")
                ))
            }
            ("promote", _) if self.adapted == Some(text("model")) => {
                self.promoted = self.adapted.clone();
                self.under_of_late = Share::of_late(&self.under);
                Some(format!(
                    "adapted model {} has passed its trial and answers",
                    short(&text("model"))
                ))
            }
            ("rollback", _) => {
                (self.promoted, self.is_live) = (None, false);
                Some(format!("model {} was taken back: {}", short(&text("model")), text("reason")))
            }
            ("reload", "live") if self.promoted == Some(text("model")) => {
                self.is_live = true;
                Some(format!("adapted model {} is live", short(&text("model"))))
            }
            ("reload", "refused") => {
                let (model, reason) = (text("model"), text("reason"));
                let line = if self.bad.as_ref() == Some(&model) {
                    format!("model {} was refused: {reason}", short(&model))
                } else {
                    format!("a model was refused: {reason}")
                };
                if self.bad.as_ref() == Some(&model) {
                    self.refused = Some(Refused { model, reason });
                }
                Some(line)
            }
            _ => None,
        }
    }

    fn drift(&mut self, event: &Value) -> Option<String> {
        if event["level"] != "alarm" || self.found.is_some() {
            return None;
        }
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        let (signal, rule) = (text("signal"), text("rule"));
        let (statistic, threshold) =
            (event["statistic"].as_f64().unwrap_or(f64::NAN), event["threshold"].as_f64());
        let over = threshold.map(|over| format!(" over threshold {over:.2}")).unwrap_or_default();
        let what = format!("{signal}: {rule} {statistic:.2}{over}");
        if self.changed.is_none() {
            return Some(format!("false alarm ({what}): nothing has changed yet"));
        }
        let windows = self.n_changed;
        self.found = Some(Found { signal, rule, statistic, threshold, windows });
        Some(format!("drift found after {windows} windows ({what})"))
    }

    /// Whether a bad model is to be put in the place of the one that answers.
    pub(super) fn wants_bad(&self) -> bool {
        self.is_live && self.bad.is_none()
    }

    /// Whether all was seen.
    pub(super) fn is_over(&self) -> bool {
        (self.after.len() >= OF_LATE || self.is_again) && self.missing().is_empty()
    }

    /// Accuracies: as it was, changed, and changed with the adapted model.
    pub(super) fn accuracies(&self) -> [Share; 3] {
        let all = |all: &[bool]| Share {
            right: all.iter().filter(|right| **right).count(),
            of: all.len(),
        };
        [all(&self.before), all(&self.under), all(&self.after)]
    }

    /// What was not seen, in words.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        let [before, under, after] = self.accuracies();
        let is_better = after.of >= FEWEST && after.share() > under.share() + GAIN;
        let seen = [
            (before.of >= FEWEST, "answers"),
            (self.found.is_some(), "drift that is found"),
            (self.is_live && is_better, "a model that is adapted, and better"),
            (self.refused.is_some(), "a bad model that is refused"),
        ];
        seen.into_iter().filter(|(seen, _)| !seen).map(|(_, what)| what).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Answers to windows of ten rows of a series of a hundred, from this row on in tens; its last digit names the
    /// series, and every so many is wrong.
    fn answers(
        story: &mut Story,
        first: usize,
        n: usize,
        model: &str,
        wrong: usize,
    ) -> Vec<String> {
        let answer = |i: usize| {
            let start = first / 10 * 10 + 10 * i;
            let rows = Rows { first: start, last: start + 9, lap: 100 };
            let said = if i.is_multiple_of(wrong) { "b" } else { "a" };
            let answer = Answer {
                id: (first / 10 + i) as u64,
                series: Some(format!("s{}", first % 10)),
                t: Some(rows.last as f64),
                class: Some(said.to_owned()),
                model: Some(model.to_owned()),
            };
            story.answer(&answer, Some((rows, "a")))
        };
        (0..n).filter_map(answer).collect()
    }

    fn drift() -> Value {
        json!({ "event": "drift", "signal": "error", "rule": "cusum", "level": "alarm", "statistic": 3.5,
                "threshold": 3.0, "window": 13 })
    }

    /// Up to an adapted model that is live.
    fn adapted() -> Story {
        let mut story = Story::default();
        for series in 0..4 {
            answers(&mut story, series, 10, "first", 10);
        }
        answers(&mut story, 100, 40, "first", 2);
        story.event(&drift()).expect("a line");
        story.event(&json!({ "event": "adapted", "model": "second", "steps": 9 })).expect("a line");
        story.event(&json!({ "event": "promote", "model": "second" })).expect("a line");
        assert!(!story.wants_bad());
        story
            .event(&json!({ "event": "reload", "result": "live", "model": "second" }))
            .expect("a line");
        story
    }

    #[test]
    fn all_four_are_needed() {
        let mut story = Story::default();
        assert_eq!(story.missing().len(), 4);
        assert!(story.event(&drift()).is_some_and(|line| line.contains("false alarm")));
        assert!(story.found.is_none(), "nothing had changed");
        let mut story = adapted();
        assert_eq!(
            story.missing(),
            ["a model that is adapted, and better", "a bad model that is refused"]
        );
        assert!(story.wants_bad());
        story.put("third".to_owned());
        let refused = |model: &str| json!({ "event": "reload", "result": "refused", "model": model, "reason": "so" });
        story.event(&refused("fourth"));
        assert!(story.refused.is_none(), "another one");
        story.event(&refused("third"));
        assert!(!story.is_over() && !story.wants_bad());
        for series in 0..10 {
            answers(&mut story, 400 + series, 10, "second", 10);
        }
        assert!(story.is_over(), "{:?}", story.missing());
        let [before, under, after] = story.accuracies();
        assert_eq!((before, under), (Share { right: 36, of: 40 }, Share { right: 20, of: 40 }));
        assert_eq!(after, Share { right: 40, of: 40 }, "of the last four windows of each");
    }

    #[test]
    fn a_window_counts_once_for_the_adapted_model_and_only_without_its_class() {
        let mut story = adapted();
        answers(&mut story, 200, 40, "second", 50);
        let [.., after] = story.accuracies();
        assert_eq!(after.of, 4, "those from row 60 of each lap on, whatever lap");
        answers(&mut story, 600, 10, "first", 50);
        assert_eq!(story.accuracies()[2], after);
    }

    #[test]
    fn one_that_is_no_better_or_was_taken_back_does_not_count() {
        let mut story = adapted();
        for series in 0..10 {
            answers(&mut story, 400 + series, 10, "second", 2);
        }
        assert!(story.missing().contains(&"a model that is adapted, and better"));
        let mut story = adapted();
        for series in 0..10 {
            answers(&mut story, 400 + series, 10, "second", 10);
        }
        assert_eq!(story.missing(), ["a bad model that is refused"]);
        let line = story.event(&json!({ "event": "rollback", "model": "second", "reason": "so" }));
        assert!(line.is_some_and(|line| line.contains("taken back: so")));
        assert_eq!(story.missing().len(), 2);
    }
}
