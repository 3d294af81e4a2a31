//! What stands now, for whoever looks: detectors, models, figures and the last events; and while somebody looks, the
//! newest rows and answers. None who fills it in on the way of an answer waits for who reads it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;

use super::answer::{Answer, Status};

/// Channels of a row that are shown.
pub const SHOWN_CHANNELS: usize = 12;

/// Rows and answers that are kept from one look to the next.
const MOST_RECENT: usize = 512;

/// Events that are kept for who comes later.
const MOST_EVENTS: usize = 128;

/// Models that are kept; an older one that is nothing any more makes room.
const MOST_MODELS: usize = 16;

/// A detector.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Signal {
    /// What it looks at: `input`, `confidence`, `error`, with its rule where there are several: `confidence-ks`.
    pub signal: &'static str,
    /// Where it is; not finite before there is anything.
    pub statistic: f64,
    /// Above it there is an alarm.
    pub threshold: f64,
    /// How often there was one.
    pub alarms: u64,
    /// Whether it is only a notice: nothing is done about it.
    pub notice: bool,
}

/// A model, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Known {
    /// BLAKE3 of its file.
    pub hash: String,
    /// The round that it came of.
    pub round: u32,
    /// `seen`, `checked`, `shadow`, `canary`, `live`, `previous`, `refused` or `rolled-back`.
    pub state: &'static str,
    /// Why, where it is refused or rolled back.
    pub reason: Option<String>,
}

/// A number that is told beside what is counted on the way of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    /// Labels that came back, by whether they were `matched` or `unmatched`.
    Labels,
    /// The share of right answers among those of which the label came back.
    Accuracy,
    /// The same as it is guessed without labels: true only while nothing but inputs shift.
    AccuracyEstimate,
    /// Models that were rolled back, by the reason in a word.
    Rollbacks,
    /// Steps of training in the slack.
    AdaptSteps,
    /// Seconds of processors that training in the slack took.
    AdaptCpuSeconds,
    /// Windows in the replay.
    ReplayWindows,
    /// Seconds in which the system held the process back.
    ThrottledSeconds,
    /// How often it did.
    ThrottledPeriods,
    /// A less probable answer is kept back.
    AbstainThreshold,
    /// Every how many-th window is due.
    StrideFactor,
    /// Windows that were not due, as others were enough.
    LeftOut,
    /// Windows that the monitor passed over, as it had no time for them.
    Unwatched,
}

/// A row that is shown.
#[derive(Debug, Clone)]
pub struct SeenRow {
    /// Its series.
    pub series: Arc<str>,
    /// Its time, as in the data.
    pub t: Option<f64>,
    /// Its first channels.
    pub values: [f32; SHOWN_CHANNELS],
    /// How many of these there are.
    pub n: usize,
}

/// An answer that is shown.
#[derive(Debug, Clone)]
pub struct SeenAnswer {
    /// Number of the window.
    pub id: u64,
    /// Its series.
    pub series: Arc<str>,
    /// The time of its last row, as in the data.
    pub t: Option<f64>,
    /// The class and its probability, if there is an answer.
    pub class: Option<(u32, f32)>,
    /// What became of the window.
    pub status: Status,
    /// Microseconds from the arrival of its last row.
    pub age_us: u64,
}

/// An event that is shown.
#[derive(Debug, Clone)]
pub struct SeenEvent {
    /// Its number.
    pub number: u64,
    /// When it was told.
    pub at: Instant,
    /// Its line of JSON.
    pub line: Arc<str>,
}

/// What stands now.
#[derive(Debug, Default)]
pub struct Board {
    /// Whether anybody looks at rows and answers.
    watched: AtomicBool,
    rows: Mutex<Recent<SeenRow>>,
    answers: Mutex<Recent<SeenAnswer>>,
    events: Mutex<Events>,
    signals: Mutex<Vec<Signal>>,
    models: Mutex<Vec<Known>>,
    figures: Mutex<BTreeMap<(Figure, String), f64>>,
}

/// The newest of what came since the last look.
#[derive(Debug)]
struct Recent<T>(VecDeque<T>);

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> Recent<T> {
    fn push(&mut self, new: T) {
        if self.0.len() == MOST_RECENT {
            self.0.pop_front();
        }
        self.0.push_back(new);
    }
}

#[derive(Debug, Default)]
struct Events {
    told: u64,
    last: VecDeque<SeenEvent>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Board {
    /// From now on somebody looks at rows and answers, or nobody does.
    pub fn watch(&self, watched: bool) {
        if self.watched.swap(watched, Ordering::Relaxed) == watched {
            return;
        }
        let room = if watched { MOST_RECENT } else { 0 };
        // Room is made here, so that those who fill it allocate nothing.
        locked(&self.rows).0 = VecDeque::with_capacity(room);
        locked(&self.answers).0 = VecDeque::with_capacity(room);
    }

    fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Relaxed)
    }

    /// Shows a row, if somebody looks. Never waits: a row that comes while another thread has the lock is not shown.
    pub fn row(&self, series: &Arc<str>, t: Option<f64>, values: &[f64]) {
        if !self.is_watched() {
            return;
        }
        let Ok(mut rows) = self.rows.try_lock() else { return };
        let n = values.len().min(SHOWN_CHANNELS);
        let mut shown = [0.0; SHOWN_CHANNELS];
        for (shown, &value) in shown.iter_mut().zip(values) {
            *shown = value as f32;
        }
        rows.push(SeenRow { series: Arc::clone(series), t, values: shown, n });
    }

    /// Shows an answer, as [`row`](Self::row) does a row.
    pub fn answer(&self, answer: &Answer) {
        if !self.is_watched() {
            return;
        }
        let Ok(mut answers) = self.answers.try_lock() else { return };
        let Answer { id, t, class, status, age_us, .. } = *answer;
        answers.push(SeenAnswer {
            id,
            series: Arc::clone(&answer.series),
            t,
            class,
            status,
            age_us,
        });
    }

    /// Shows an event, a line of JSON.
    pub fn event(&self, line: &str) {
        let mut events = locked(&self.events);
        events.told += 1;
        if events.last.len() == MOST_EVENTS {
            events.last.pop_front();
        }
        let number = events.told;
        events.last.push_back(SeenEvent { number, at: Instant::now(), line: line.into() });
    }

    /// What detectors say now, all of them.
    pub fn set_signals(&self, signals: &[Signal]) {
        let mut known = locked(&self.signals);
        known.clear();
        known.extend_from_slice(signals);
    }

    /// What became of a model. Where one becomes live, the one that was is `previous`, and the one before that is
    /// nothing any more.
    pub fn model(&self, hash: &str, round: u32, state: &'static str, reason: Option<&str>) {
        let mut models = locked(&self.models);
        if state == "live" {
            models.retain(|model| model.state != "previous" || model.hash == hash);
            for model in models.iter_mut().filter(|model| model.state == "live") {
                model.state = "previous";
            }
        }
        models.retain(|model| model.hash != hash);
        let is_over = |model: &Known| matches!(model.state, "refused" | "rolled-back");
        if models.len() == MOST_MODELS {
            let over = models.iter().position(is_over);
            models.remove(over.unwrap_or(0));
        }
        let (hash, reason) = (hash.to_owned(), reason.map(str::to_owned));
        models.push(Known { hash, round, state, reason });
    }

    /// Says all models anew.
    pub fn set_models(&self, models: Vec<Known>) {
        *locked(&self.models) = models;
    }

    /// Sets a figure, of a word where it has several.
    pub fn set(&self, figure: Figure, of: &str, value: f64) {
        locked(&self.figures).insert((figure, of.to_owned()), value);
    }

    /// Adds to a figure, of a word where it has several.
    pub fn add(&self, figure: Figure, of: &str, value: f64) {
        *locked(&self.figures).entry((figure, of.to_owned())).or_insert(0.0) += value;
    }

    /// The rows and answers that came since the last look, in their order.
    pub fn take(&self) -> (Vec<SeenRow>, Vec<SeenAnswer>) {
        // Whoever fills it in does not wait meanwhile; so this is short.
        let rows = locked(&self.rows).0.drain(..).collect();
        let answers = locked(&self.answers).0.drain(..).collect();
        (rows, answers)
    }

    /// The last events behind the one of this number, oldest first.
    pub fn events_since(&self, number: u64) -> Vec<SeenEvent> {
        let events = locked(&self.events);
        events.last.iter().filter(|event| event.number > number).cloned().collect()
    }

    /// What detectors say.
    pub fn signals(&self) -> Vec<Signal> {
        locked(&self.signals).clone()
    }

    /// Models, the newest last.
    pub fn models(&self) -> Vec<Known> {
        locked(&self.models).clone()
    }

    /// All figures, in their order.
    pub fn figures(&self) -> BTreeMap<(Figure, String), f64> {
        locked(&self.figures).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_answers_are_kept_only_while_somebody_looks() {
        let (board, series) = (Board::default(), Arc::from("s"));
        let show = |from: u64, n: u64| {
            for id in from..from + n {
                board.row(&series, Some(id as f64), &[id as f64; 20]);
                board.answer(&Answer::without_model(id, &series, Status::Ok));
            }
        };
        show(0, 10);
        assert!(board.take().0.is_empty());
        board.watch(true);
        show(0, 2 * MOST_RECENT as u64);
        let (rows, answers) = board.take();
        assert_eq!((rows.len(), answers.len()), (MOST_RECENT, MOST_RECENT));
        assert_eq!((rows[0].t, rows[0].n), (Some(MOST_RECENT as f64), SHOWN_CHANNELS));
        assert_eq!(answers[0].id, MOST_RECENT as u64);
        show(0, 3);
        assert_eq!(board.take().1.len(), 3);
        let held = board.answers.lock().expect("free");
        // It does not wait.
        board.answer(&Answer::without_model(7, &series, Status::Ok));
        drop(held);
        board.watch(false);
        show(0, 3);
        assert!(board.take().1.is_empty());
    }

    #[test]
    fn the_last_events_stay_for_who_comes_later() {
        let board = Board::default();
        (0..300).for_each(|n| board.event(&n.to_string()));
        let events = board.events_since(0);
        assert_eq!(events.len(), MOST_EVENTS);
        assert_eq!((events[0].number, &*events[0].line), (173, "172"));
        assert_eq!(board.events_since(299).len(), 1);
        assert!(board.events_since(300).is_empty());
    }

    #[test]
    fn a_model_that_becomes_live_puts_the_others_back() {
        let board = Board::default();
        board.model("a", 1, "live", None);
        board.model("b", 2, "checked", None);
        board.model("b", 2, "live", None);
        let states = || -> Vec<(String, &str)> {
            board.models().into_iter().map(|model| (model.hash, model.state)).collect()
        };
        assert_eq!(states(), [("a".to_owned(), "previous"), ("b".to_owned(), "live")]);
        board.model("a", 1, "live", None);
        board.model("b", 2, "rolled-back", Some("it was bad"));
        assert_eq!(states(), [("a".to_owned(), "live"), ("b".to_owned(), "rolled-back")]);
        assert_eq!(board.models()[1].reason.as_deref(), Some("it was bad"));
        (0..40).for_each(|n| board.model(&format!("r{n}"), n, "refused", Some("no")));
        assert_eq!(board.models().len(), MOST_MODELS);
        assert_eq!(board.models()[0].state, "live");
    }

    #[test]
    fn figures_are_set_and_added_to() {
        let board = Board::default();
        board.add(Figure::Labels, "matched", 2.0);
        board.add(Figure::Labels, "matched", 1.0);
        board.set(Figure::Accuracy, "", 0.5);
        board.set(Figure::Accuracy, "", 0.75);
        let figures: Vec<f64> = board.figures().into_values().collect();
        assert_eq!(figures, [3.0, 0.75]);
    }
}
