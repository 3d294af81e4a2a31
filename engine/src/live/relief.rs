//! Looks once a second at what was counted, and lets fewer or more windows be due.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::answer::Status;
use super::board::Figure;
use super::counters::{Counters, get};
use super::events::Events;
use super::load::{Load, Second};
use super::thin::Thin;

/// How often it looks.
const EACH: Duration = Duration::from_secs(1);

/// Looks after the load.
#[derive(Debug)]
pub(super) struct Relief {
    load: Load,
    is_on: bool,
    thin: Arc<Thin>,
    looked: Instant,
    before: Counted,
    /// Seconds for which every n-th window was due.
    seconds: BTreeMap<u64, f64>,
}

/// What was counted until now.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    due: u64,
    missed: u64,
    busy_us: u64,
}

impl Counted {
    fn of(counters: &Counters) -> Self {
        // What was dropped as nobody reads answers is no load.
        let dropped = counters.answers(Status::Dropped).saturating_sub(get(&counters.lost_output));
        Self {
            due: get(&counters.due),
            missed: dropped + counters.answers(Status::Late),
            busy_us: counters.inference.sum(),
        }
    }
}

impl Relief {
    /// Before anything was counted. At least every `most`-th window stays due; if that is each, it does nothing.
    pub(super) fn new(most: u64, thin: &Arc<Thin>, now: Instant) -> Self {
        Self {
            load: Load::new(most),
            is_on: most > 1,
            thin: Arc::clone(thin),
            looked: now,
            before: Counted::default(),
            seconds: BTreeMap::new(),
        }
    }

    /// Looks, if it is time.
    pub(super) fn look(&mut self, counters: &Counters, events: &Events, now: Instant) {
        if !self.is_on || now.saturating_duration_since(self.looked) < EACH {
            return;
        }
        let (before, after) = (self.before, Counted::of(counters));
        let passed = self.pass(now);
        self.before = after;
        let (was, due) = (self.thin.every(), after.due - before.due);
        let missed = after.missed.saturating_sub(before.missed);
        let busy = (after.busy_us - before.busy_us) as f64 / 1e6 / passed;
        if let Some(turn) = self.load.second(Second { due, missed, busy }) {
            self.thin.set(turn.every);
            events.tell(json!({
                "event": "load", "stride": turn.every, "was": was, "reason": turn.reason,
            }));
        }
        counters.board.set(Figure::StrideFactor, "", self.thin.every() as f64);
        counters.board.set(Figure::LeftOut, "", self.thin.left_out() as f64);
    }

    /// The seconds since the last look, which count for what was due meanwhile.
    fn pass(&mut self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.looked).as_secs_f64();
        *self.seconds.entry(self.thin.every()).or_default() += passed;
        self.looked = now;
        passed
    }

    /// Windows that were left out, and the seconds for which every n-th was due, by n; none where it did nothing.
    pub(super) fn end(mut self, now: Instant) -> (u64, BTreeMap<u64, f64>) {
        if self.is_on {
            self.pass(now);
        }
        (self.thin.left_out(), self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::super::answer::Answer;
    use super::super::counters::add;
    use super::*;

    #[test]
    fn what_is_counted_in_a_second_is_the_load() {
        let (counters, thin) = (Counters::default(), Arc::new(Thin::default()));
        let (events, receiver) = Events::new();
        let start = Instant::now();
        let mut relief = Relief::new(4, &thin, start);
        let answered = |status, n| {
            add(&counters.due, n);
            let answer = Answer::without_model(0, &"s".into(), status);
            (0..n).for_each(|_| counters.answered(&answer));
        };
        let mut look = |ms| {
            relief.look(&counters, &events, start + Duration::from_millis(ms));
            thin.every()
        };
        answered(Status::Ok, 50);
        add(&counters.due, 50);
        for _ in 0..50 {
            let _ = counters.lost();
        }
        assert_eq!(look(1000), 1, "nobody reads the answers");
        answered(Status::Dropped, 5);
        assert_eq!(look(1999), 1, "it is not time");
        answered(Status::Late, 5);
        assert_eq!((look(2000), look(3000)), (2, 2));
        (0..6).for_each(|_| counters.inference.add(100_000));
        assert_eq!((look(4000), look(8000), look(9000)), (2, 2, 2));
        let event = receiver.try_recv().expect("told");
        assert_eq!((&event["event"], &event["stride"]), (&"load".into(), &2.into()));
        assert!(receiver.try_recv().is_err());
        let figures = counters.board.figures();
        assert_eq!(figures.get(&(Figure::StrideFactor, String::new())), Some(&2.0));
        let ended = relief.end(start + Duration::from_millis(9500));
        assert_eq!(ended, (0, [(1, 2.0), (2, 7.5)].into()));
        let mut off = Relief::new(1, &thin, start);
        off.look(&counters, &events, start + Duration::from_mins(1));
        assert_eq!((off.end(start).1.len(), thin.every()), (0, 2));
    }
}
