//! Answers that somebody waits for, beside those who read all of them.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::answer::Answer;

/// Answers that are kept for one who waits; of more, only the number.
const MOST_ANSWERS: usize = 20_000;

/// What became of some lines.
#[derive(Debug, Default)]
pub struct Told {
    /// Answers of windows that became due by them.
    pub answers: Vec<Answer>,
    /// Answers that were not kept, as there were too many.
    pub left_out: u64,
    /// Windows that became due and have no answer yet.
    pub waiting: u64,
    /// Rows that were taken.
    pub rows: u64,
    /// Lines that were no row.
    pub bad_lines: u64,
    /// What was wrong with the first of these.
    pub reason: Option<String>,
}

/// Collects what becomes of some lines.
#[derive(Debug, Default)]
pub struct Reply {
    told: Mutex<Told>,
    changed: Condvar,
    /// Whether answers are to tell every class's probability.
    pub wants_probs: bool,
}

impl Reply {
    /// Without probabilities of all classes, or with them.
    pub fn new(wants_probs: bool) -> Self {
        Self { wants_probs, ..Self::default() }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A window became due, and its answer will be put here.
    pub fn expect(&self) {
        self.told().waiting += 1;
    }

    /// Puts an answer.
    pub fn put(&self, answer: &Answer) {
        let mut told = self.told();
        if told.answers.len() < MOST_ANSWERS {
            told.answers.push(answer.clone());
        } else {
            told.left_out += 1;
        }
        told.waiting = told.waiting.saturating_sub(1);
        if told.waiting == 0 {
            self.changed.notify_all();
        }
    }

    /// A row was taken.
    pub fn row(&self) {
        self.told().rows += 1;
    }

    /// A line was no row.
    pub fn bad(&self, reason: &str) {
        let mut told = self.told();
        told.bad_lines += 1;
        told.reason.get_or_insert_with(|| reason.to_owned());
    }

    /// All that became of the lines, answers in the order of their windows; waits for answers that are not there yet,
    /// but no longer than that.
    pub fn wait(&self, longest: Duration) -> Told {
        let until = Instant::now() + longest;
        let mut told = self.told();
        while told.waiting > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            told = self
                .changed
                .wait_timeout(told, left)
                .map_or_else(|poisoned| poisoned.into_inner().0, |(told, _)| told);
        }
        let waiting = told.waiting;
        let mut told = std::mem::take(&mut *told);
        told.waiting = waiting;
        told.answers.sort_by_key(|answer| answer.id);
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::Status;

    #[test]
    fn answers_come_in_the_order_of_their_windows_and_are_waited_for() {
        let reply = Reply::new(false);
        let answer = |id| Answer::without_model(id, &"s".into(), Status::Ok);
        (0..3).for_each(|_| reply.expect());
        reply.put(&answer(2));
        reply.row();
        reply.bad("first");
        reply.bad("second");
        std::thread::scope(|scope| {
            scope.spawn(|| [1, 0].map(|id| reply.put(&answer(id))));
            let told = reply.wait(Duration::from_mins(10));
            let ids: Vec<u64> = told.answers.iter().map(|answer| answer.id).collect();
            assert_eq!((ids, told.waiting, told.rows), (vec![0, 1, 2], 0, 1));
            assert_eq!((told.bad_lines, told.reason.as_deref()), (2, Some("first")));
        });
        reply.expect();
        assert_eq!(reply.wait(Duration::ZERO).waiting, 1);
    }

    #[test]
    fn of_too_many_answers_only_the_number_is_kept() {
        let reply = Reply::new(false);
        for id in 0..MOST_ANSWERS as u64 + 5 {
            reply.expect();
            reply.put(&Answer::without_model(id, &"s".into(), Status::Ok));
        }
        let told = reply.wait(Duration::ZERO);
        assert_eq!((told.answers.len(), told.left_out), (MOST_ANSWERS, 5));
    }
}
