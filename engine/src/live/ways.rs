//! Where windows that are due go: each to its place among the answers, and to the model if it can be answered.

use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use super::answer::{Answer, Status};
use super::counters::{Counters, add};
use super::events::Events;
use super::outbox::{Outbox, Reserved};
use super::queue::{Pushed, Queue};
use super::reply::Reply;
use super::tap::Truths;
use super::track::Cut;
use super::tracks::Silent;

/// Where windows and what is said of them go.
#[derive(Debug, Clone, Copy)]
pub struct Ways<'a> {
    /// Windows that wait for their answers.
    pub queue: &'a Queue,
    /// Places of answers.
    pub outbox: &'a Outbox,
    /// What is counted.
    pub counters: &'a Counters,
    /// What is told.
    pub events: &'a Events,
    /// Where classes go that are told later.
    pub truths: &'a Truths,
}

impl Ways<'_> {
    /// A place for an answer that is due; if there is none, it is counted as dropped.
    fn reserve(&self) -> Reserved {
        let reserved = self.outbox.reserve();
        if reserved != Reserved::Closed {
            add(&self.counters.due, 1);
        }
        if let Reserved::Lost(_) = reserved {
            let n = self.counters.lost();
            if n.is_power_of_two() {
                self.events.tell(json!({ "event": "output-blocked", "dropped": n }));
            }
        }
        reserved
    }

    /// A window is due whose last row was old when it came.
    pub(super) fn stale(
        &self,
        series: &Arc<str>,
        cut: &Cut<'_>,
        arrived: Instant,
        reply: Option<&Arc<Reply>>,
    ) {
        let id = match self.reserve() {
            Reserved::Closed => return,
            Reserved::Place(id) => id,
            Reserved::Lost(id) => return lost(id, series, reply),
        };
        let answer = Answer {
            t: cut.t,
            quality: cut.quality,
            age_us: u64::try_from(arrived.elapsed().as_micros()).unwrap_or(u64::MAX),
            ..Answer::without_model(id, series, Status::Stale)
        };
        self.counters.answered(&answer);
        if let Some(reply) = reply {
            reply.expect();
            reply.put(&answer);
        }
        self.outbox.put(answer);
    }

    /// Nothing comes of a series: it has an answer that says so.
    pub(super) fn silent(&self, silent: &Silent<'_>, now: Instant) {
        let Reserved::Place(id) = self.reserve() else { return };
        let age = now.saturating_duration_since(silent.since);
        let answer = Answer {
            t: silent.t,
            age_us: u64::try_from(age.as_micros()).unwrap_or(u64::MAX),
            ..Answer::without_model(id, silent.series, Status::NoSignal)
        };
        self.counters.answered(&answer);
        self.outbox.put(answer);
    }

    /// A window is due: it gets a number, and waits for its answer, which is also put into the reply, if there is one.
    /// Says whether anybody answers.
    pub fn due(
        &self,
        track: usize,
        series: &Arc<str>,
        cut: &Cut<'_>,
        arrived: Instant,
        reply: Option<&Arc<Reply>>,
    ) -> bool {
        let id = match self.reserve() {
            Reserved::Closed => return false,
            Reserved::Place(id) => id,
            Reserved::Lost(id) => {
                lost(id, series, reply);
                return true;
            }
        };
        let mut due = self.queue.blank(series);
        (due.id, due.track, due.arrived) = (id, track, arrived);
        (due.t, due.from, due.quality) = (cut.t, cut.from, cut.quality);
        due.is_fresh = cut.is_fresh;
        due.is_whole = cut.fill(&mut due.values);
        due.reply = reply.cloned();
        if let Some(reply) = reply {
            reply.expect();
        }
        let (dropped, answered) = match self.queue.push(due) {
            Pushed::Waits => return true,
            Pushed::Instead(older) => (older, true),
            Pushed::Closed(due) => (due, false),
        };
        let answer = Answer::of(&dropped, Status::Dropped, Instant::now());
        self.counters.answered(&answer);
        if let Some(reply) = &dropped.reply {
            reply.put(&answer);
        }
        self.outbox.put(answer);
        self.queue.give_back(dropped);
        answered
    }
}

/// Who waits hears that there was no place for a window's answer.
fn lost(id: u64, series: &Arc<str>, reply: Option<&Arc<Reply>>) {
    if let Some(reply) = reply {
        reply.expect();
        reply.put(&Answer::without_model(id, series, Status::Dropped));
    }
}
