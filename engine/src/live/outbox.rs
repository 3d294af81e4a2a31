//! From the model to whoever reads the answers: one line for every due window, in their order, in bounded memory.
//!
//! A window that is due reserves the place of its answer. While nobody takes answers away, places run out: the windows
//! that are due then are dropped unseen, and all that is kept of them is from which to which, so that their lines can
//! be written when somebody reads again.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::answer::{Answer, Status};

/// Bytes of answers that are kept while nobody reads them, about.
const ROOM: usize = 2 << 20;

/// The place of one answer, or of those of windows that were dropped for want of places.
#[derive(Debug)]
enum Place {
    Waits(u64),
    Done(Answer),
    Lost(RangeInclusive<u64>),
}

impl Place {
    /// The first window that it stands for.
    fn first(&self) -> u64 {
        match self {
            Self::Waits(id) => *id,
            Self::Done(answer) => answer.id,
            Self::Lost(ids) => *ids.start(),
        }
    }
}

#[derive(Debug)]
struct State {
    places: VecDeque<Place>,
    /// Number of the next window.
    next: u64,
    /// Lists of probabilities that are used again.
    spare: Vec<Vec<f32>>,
    /// Lines of the row of lost windows that is being written.
    lost: u64,
    closed: bool,
}

/// Answers on their way out.
#[derive(Debug)]
pub struct Outbox {
    state: Mutex<State>,
    changed: Condvar,
    most: usize,
    /// Whether a window waits for a place instead of being dropped.
    waits: bool,
}

/// Lines that were taken out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// How many.
    pub lines: u64,
    /// How many of them, and of those before, are of windows that were dropped for want of places: told with the last
    /// of such a row of them.
    pub lost: u64,
}

/// What a window that is due gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserved {
    /// The place of its answer; this is its number.
    Place(u64),
    /// No place: it is dropped, and its line comes when somebody reads again.
    Lost(u64),
    /// No more answers are written.
    Closed,
}

impl Outbox {
    /// For answers with so many probabilities, from a number on. With `waits`, whoever reserves a place waits for one.
    pub fn new(n_probs: usize, waits: bool, next: u64) -> Self {
        let most = (ROOM / (size_of::<Place>() + 4 * n_probs)).max(64);
        let state = State {
            places: VecDeque::with_capacity(most + 1),
            next,
            spare: Vec::new(),
            lost: 0,
            closed: false,
        };
        Self { state: Mutex::new(state), changed: Condvar::new(), most, waits }
    }

    /// The number of the next window.
    pub fn next(&self) -> u64 {
        self.state().next
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Numbers a window that is due, and keeps a place for its answer.
    pub fn reserve(&self) -> Reserved {
        let mut state = self.state();
        while self.waits && state.places.len() >= self.most && !state.closed {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return Reserved::Closed;
        }
        let id = state.next;
        state.next += 1;
        if state.places.len() < self.most {
            state.places.push_back(Place::Waits(id));
            return Reserved::Place(id);
        }
        match state.places.back_mut() {
            Some(Place::Lost(ids)) => *ids = *ids.start()..=id,
            _ => state.places.push_back(Place::Lost(id..=id)),
        }
        Reserved::Lost(id)
    }

    /// A list for probabilities.
    pub fn probs(&self) -> Vec<f32> {
        self.state().spare.pop().unwrap_or_default()
    }

    /// Puts an answer in its place.
    pub fn put(&self, answer: Answer) {
        let mut state = self.state();
        let at = state.places.partition_point(|place| place.first() < answer.id);
        let is_first = at == 0;
        if let Some(place) = state.places.get_mut(at) {
            *place = Place::Done(answer);
        }
        drop(state);
        if is_first {
            self.changed.notify_all();
        }
    }

    /// No more windows are due. Answers of those that were can still be put in their places.
    pub fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    /// Adds lines of the answers that are there, in their order, as many as about fill `room` bytes; waits for the
    /// first. None are left once it gives no line.
    pub fn take(&self, lines: &mut Vec<u8>, room: usize) -> Taken {
        let mut state = self.state();
        loop {
            if state.places.is_empty() && state.closed {
                return Taken::default();
            }
            let taken = state.write(lines, room);
            if taken.lines > 0 {
                drop(state);
                if self.waits {
                    self.changed.notify_all();
                }
                return taken;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl State {
    fn write(&mut self, lines: &mut Vec<u8>, room: usize) -> Taken {
        let mut taken = Taken::default();
        while lines.len() < room {
            match self.places.pop_front() {
                Some(Place::Done(answer)) => {
                    answer.write(lines);
                    taken.lines += 1;
                    if answer.probs.capacity() > 0 {
                        self.spare.push(answer.probs);
                    }
                }
                Some(Place::Lost(ids)) => {
                    Answer::without_model(*ids.start(), &nameless(), Status::Dropped).write(lines);
                    taken.lines += 1;
                    self.lost += 1;
                    if ids.start() < ids.end() {
                        self.places.push_front(Place::Lost(ids.start() + 1..=*ids.end()));
                    } else {
                        taken.lost += std::mem::take(&mut self.lost);
                    }
                }
                Some(place @ Place::Waits(_)) => {
                    self.places.push_front(place);
                    break;
                }
                None => break,
            }
        }
        taken
    }
}

/// The series of a window of which nothing but the number is kept.
fn nameless() -> Arc<str> {
    Arc::from("")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(id: u64) -> Answer {
        Answer::without_model(id, &"s".into(), Status::Ok)
    }

    /// Number, series and status of each line.
    fn read(lines: &[u8]) -> Vec<(u64, bool, String)> {
        let text = std::str::from_utf8(lines).expect("text");
        let value = |line| serde_json::from_str::<serde_json::Value>(line).expect("JSON");
        let lines = text.lines().map(value);
        let of = |line: serde_json::Value| {
            let status = line["status"].as_str().expect("text").to_owned();
            (line["id"].as_u64().expect("a number"), line["series"].is_null(), status)
        };
        lines.map(of).collect()
    }

    #[test]
    fn answers_leave_in_the_order_of_their_windows() {
        let outbox = Outbox::new(0, false, 0);
        for id in 0..3 {
            assert_eq!(outbox.reserve(), Reserved::Place(id));
        }
        let mut lines = Vec::new();
        outbox.put(answer(1));
        outbox.put(answer(0));
        assert_eq!(outbox.take(&mut lines, 1 << 20).lines, 2);
        outbox.close();
        assert_eq!(outbox.reserve(), Reserved::Closed);
        outbox.put(answer(2));
        assert_eq!(outbox.take(&mut lines, 1 << 20).lines, 1);
        assert_eq!(outbox.take(&mut lines, 1 << 20), Taken::default());
        assert_eq!(read(&lines).iter().map(|line| line.0).collect::<Vec<_>>(), [0, 1, 2]);
    }

    #[test]
    fn while_nobody_reads_memory_stays_and_every_window_still_gets_its_line() {
        let outbox = Outbox::new(7, false, 0);
        let n = 3 * outbox.most as u64;
        let mut n_lost = 0;
        for id in 0..n {
            match outbox.reserve() {
                Reserved::Place(place) => outbox.put(answer(place)),
                Reserved::Lost(place) => n_lost += u64::from(place == id),
                Reserved::Closed => panic!("it is open"),
            }
        }
        assert_eq!(n_lost, n - outbox.most as u64);
        assert_eq!(outbox.state().places.len(), outbox.most + 1);
        // Somebody reads again, and windows are due meanwhile.
        let mut lines = Vec::new();
        assert!(outbox.take(&mut lines, 1000).lines > 0);
        let Reserved::Place(id) = outbox.reserve() else { panic!("there is room") };
        outbox.put(answer(id));
        outbox.close();
        let mut lost = Vec::new();
        loop {
            // Some at a time, so that a row of lost ones is not taken at once.
            let until = lines.len() + 100_000;
            match outbox.take(&mut lines, until) {
                Taken { lines: 0, .. } => break,
                taken => lost.extend(Some(taken.lost).filter(|&n| n > 0)),
            }
        }
        assert_eq!(lost, [n_lost]);
        let read = read(&lines);
        assert_eq!(read.len() as u64, n + 1);
        for (at, (id, nameless, status)) in read.iter().enumerate() {
            let is_lost = at >= outbox.most && at < n as usize;
            assert_eq!((*id, *nameless), (at as u64, is_lost));
            assert_eq!(status, if is_lost { "dropped" } else { "ok" });
        }
    }
}
