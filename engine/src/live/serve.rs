//! The thread that answers: one window after the other, with nothing in the way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answer::{Answer, Status};
use super::counters::Counters;
use super::hand_over::HandOver;
use super::level::Level;
use super::outbox::Outbox;
use super::queue::{Due, Queue};
use super::ready::Ready;
use super::tap::Tap;
use crate::job::Late;

/// Answers windows.
#[derive(Debug)]
pub struct Server<'a> {
    /// Windows that wait.
    pub queue: &'a Queue,
    /// Where answers go.
    pub outbox: &'a Outbox,
    /// Where new models come from.
    pub models: &'a HandOver<Ready>,
    /// What is counted.
    pub counters: &'a Counters,
    /// From the arrival of a window's last row to its answer.
    pub deadline: Option<Duration>,
    /// What becomes of later ones.
    pub late: Late,
    /// Whether answers tell every class's probability.
    pub probs: bool,
    /// How many times as long the model takes, to try out what happens then.
    pub slow: f64,
    /// An answer that is less probable is kept back.
    pub abstain: &'a Level,
    /// How often sets of classes may miss the true one.
    pub level: &'a Level,
    /// To those who watch, if any do.
    pub tap: Option<&'a Tap>,
}

impl Server<'_> {
    /// Answers until the queue is closed and empty.
    pub fn run(&self, mut ready: Box<Ready>) {
        while let Some(due) = self.queue.pop() {
            self.one(due, &mut ready);
        }
    }

    /// Answers one window. Allocates nothing once windows and lists of probabilities come back to be used again.
    pub fn one(&self, mut due: Box<Due>, ready: &mut Box<Ready>) {
        self.models.take(ready);
        let answer = self.answer(&due, ready);
        self.counters.answered(&answer);
        let (status, class) = (answer.status, answer.class);
        if let Some(reply) = &due.reply {
            reply.put(&answer);
        }
        self.outbox.put(answer);
        // Who waits for the answer has it by now.
        if let Some(tap) = self.tap {
            tap.offer(&mut due, |seen| {
                (seen.status, seen.class) = (status, class);
                seen.model = Some(Arc::clone(&ready.label));
                if class.is_some() {
                    let (logits, probs) = ready.last();
                    seen.logits.extend_from_slice(logits);
                    seen.probs.extend_from_slice(probs);
                }
            });
        }
        self.queue.give_back(due);
    }

    fn answer(&self, due: &Due, ready: &mut Ready) -> Answer {
        let is_late = |now: Instant| {
            self.deadline.is_some_and(|deadline| now.duration_since(due.arrived) > deadline)
        };
        let began = Instant::now();
        let mut answer = Answer::of(due, Status::Ok, began);
        answer.model = Some(Arc::clone(&ready.label));
        answer.canary = ready.label.state.is_canary();
        if !due.is_whole {
            answer.status = Status::BadInput;
            return answer;
        }
        if is_late(began) && self.late == Late::Drop {
            answer.status = Status::Late;
            return answer;
        }
        let found = ready.answer(&due.values).map(|(class, p, _)| (class, p));
        if self.slow > 1.0 {
            std::thread::sleep(began.elapsed().mul_f64(self.slow - 1.0));
        }
        let now = Instant::now();
        answer.age_us = micros(now.duration_since(due.arrived));
        answer.infer_us = Some(micros(now.duration_since(began)));
        match found {
            // Values that are finite, and too large for the model.
            None => answer.status = Status::BadInput,
            Some(_) if is_late(now) && self.late == Late::Drop => answer.status = Status::Late,
            Some((class, p)) => {
                answer.class = Some((class, p));
                let asked = due.reply.as_ref().is_some_and(|reply| reply.wants_probs);
                answer.tells_probs = self.probs || asked;
                if answer.tells_probs || ready.label.profile.is_some() {
                    answer.probs = self.outbox.probs();
                    answer.probs.clear();
                    answer.probs.extend_from_slice(ready.last().1);
                    answer.set = ready.set(self.level.get());
                }
                if self.abstain.get().is_some_and(|least| f64::from(p) < least) {
                    answer.status = Status::Abstain;
                }
                if is_late(now) {
                    answer.status = Status::Late;
                }
            }
        }
        answer
    }
}

impl Answer {
    /// What became of a window now, without an answer.
    pub fn of(due: &Due, status: Status, now: Instant) -> Self {
        Self {
            t: due.t,
            quality: due.quality,
            age_us: micros(now.duration_since(due.arrived)),
            ..Self::without_model(due.id, &due.series, status)
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
