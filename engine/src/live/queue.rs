//! From the source to the model: of every series the newest window, or all of them.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::quality::Quality;
use super::reply::Reply;
use crate::job::Keep;

/// Windows that wait where all are kept.
const MOST_WAITING: usize = 64;

/// A window that waits for its answer.
#[derive(Debug)]
pub struct Due {
    /// Number of the window.
    pub id: u64,
    /// Which series it is of: a newer window of the same takes its place.
    pub track: usize,
    /// The series' name.
    pub series: Arc<str>,
    /// The time of its last row.
    pub t: Option<f64>,
    /// The time of its first row.
    pub from: Option<f64>,
    /// Whether it shares no row with the last of its series of which this is so.
    pub is_fresh: bool,
    /// When that came.
    pub arrived: Instant,
    /// What is wrong with its rows.
    pub quality: Quality,
    /// Whether all values are there.
    pub is_whole: bool,
    /// `[len, channels]`, as the model takes them.
    pub values: Vec<f32>,
    /// Who waits for its answer, beside those who read all of them.
    pub reply: Option<Arc<Reply>>,
}

/// What became of a window that was to wait.
#[derive(Debug)]
pub enum Pushed {
    /// It waits.
    Waits,
    /// It waits in the place of this one.
    Instead(Box<Due>),
    /// Nobody answers any more.
    Closed(Box<Due>),
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Box<Due>>,
    /// Windows that are used again.
    free: VecDeque<Box<Due>>,
    closed: bool,
}

/// The windows that wait.
#[derive(Debug)]
pub struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    keep: Keep,
}

impl Queue {
    /// Without windows.
    pub fn new(keep: Keep) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), keep }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A window to fill: one that was answered, if there is one.
    pub fn blank(&self, series: &Arc<str>) -> Box<Due> {
        let free = self.state().free.pop_back();
        if let Some(mut due) = free {
            if !Arc::ptr_eq(&due.series, series) {
                due.series = Arc::clone(series);
            }
            return due;
        }
        Box::new(Due {
            id: 0,
            track: 0,
            series: Arc::clone(series),
            t: None,
            from: None,
            is_fresh: true,
            arrived: Instant::now(),
            quality: Quality::GOOD,
            is_whole: true,
            values: Vec::new(),
            reply: None,
        })
    }

    /// Lets a window wait for its answer.
    pub fn push(&self, mut due: Box<Due>) -> Pushed {
        let mut state = self.state();
        if self.keep == Keep::All {
            while state.waiting.len() >= MOST_WAITING && !state.closed {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
        if state.closed {
            return Pushed::Closed(due);
        }
        let older = match self.keep {
            Keep::Newest => state.waiting.iter_mut().find(|older| older.track == due.track),
            Keep::All => None,
        };
        if let Some(older) = older {
            // In its place, so that a series that is fast takes no other's turn.
            std::mem::swap(older, &mut due);
            return Pushed::Instead(due);
        }
        state.waiting.push_back(due);
        drop(state);
        self.changed.notify_all();
        Pushed::Waits
    }

    /// The window whose turn it is; waits for one. Nothing once the queue is closed and empty.
    pub fn pop(&self) -> Option<Box<Due>> {
        let mut state = self.state();
        loop {
            if let Some(due) = state.waiting.pop_front() {
                let was_full = state.waiting.len() + 1 == MOST_WAITING;
                drop(state);
                if was_full {
                    self.changed.notify_all();
                }
                return Some(due);
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The window whose turn it is, if one waits.
    pub fn try_pop(&self) -> Option<Box<Due>> {
        self.state().waiting.pop_front()
    }

    /// Gives a window back to be used again.
    pub fn give_back(&self, mut due: Box<Due>) {
        due.reply = None;
        self.state().free.push_back(due);
    }

    /// No more windows come.
    pub fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(queue: &Queue, id: u64, track: usize) -> Pushed {
        let mut due = queue.blank(&"s".into());
        (due.id, due.track) = (id, track);
        queue.push(due)
    }

    #[test]
    fn the_newest_of_each_series_waits_in_the_place_of_the_older() {
        let queue = Queue::new(Keep::Newest);
        for (id, track) in [(0, 7), (1, 8)] {
            assert!(matches!(push(&queue, id, track), Pushed::Waits));
        }
        let Pushed::Instead(older) = push(&queue, 2, 7) else { panic!("it waits") };
        assert_eq!(older.id, 0);
        queue.close();
        assert!(matches!(push(&queue, 3, 7), Pushed::Closed(due) if due.id == 3));
        let ids: Vec<u64> = std::iter::from_fn(|| queue.pop()).map(|due| due.id).collect();
        assert_eq!(ids, [2, 1]);
    }

    #[test]
    fn where_all_are_kept_the_source_waits() {
        let queue = Queue::new(Keep::All);
        let n = 10 * MOST_WAITING as u64;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for id in 0..n {
                    assert!(matches!(push(&queue, id, 0), Pushed::Waits));
                }
                queue.close();
            });
            let mut next = 0;
            while let Some(due) = queue.pop() {
                assert_eq!(due.id, next);
                next += 1;
                queue.give_back(due);
            }
            assert_eq!(next, n);
        });
        assert!(queue.state().free.len() <= MOST_WAITING + 2, "windows are used again");
    }
}
