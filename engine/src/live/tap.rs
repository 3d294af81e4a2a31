//! From the thread that answers to the one that watches: every answered window, without waiting and without
//! allocating.
//!
//! A fixed number of boxes goes round. The thread that answers puts the window into an empty one and hands it on; the
//! one that watches gives it back. While all are on their way, a window is passed over and counted, unless the run
//! waits for everything (`--queue all`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use super::answer::{Label, Status};
use super::quality::Quality;
use super::queue::Due;
use super::truth::Truth;

/// Windows that are under way at a time.
const BOXES: usize = 64;

/// Labels that are under way at a time.
const MOST_TRUTHS: usize = 1024;

/// A window that was answered.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Number of the window.
    pub id: u64,
    /// Which series it is of, of all that began.
    pub track: usize,
    /// The series' name.
    pub series: Arc<str>,
    /// The time of its last row.
    pub t: Option<f64>,
    /// The time of its first row.
    pub from: Option<f64>,
    /// Whether it shares no row with the last of its series of which this is so: what depends on values that are not
    /// the same ones looks at these windows alone.
    pub is_fresh: bool,
    /// When the last row came.
    pub arrived: Instant,
    /// What is wrong with its rows.
    pub quality: Quality,
    /// What became of it.
    pub status: Status,
    /// The class, if there is an answer, and its probability; also where the answer was kept back.
    pub class: Option<(u32, f32)>,
    /// The model, if one saw the window.
    pub model: Option<Arc<Label>>,
    /// `[classes]`, as they leave the model; empty without an answer.
    pub logits: Vec<f32>,
    /// `[classes]`; empty without an answer.
    pub probs: Vec<f32>,
    /// `[len, channels]`, as the model saw them.
    pub values: Vec<f32>,
}

/// What comes to the thread that watches.
#[derive(Debug)]
pub enum Heard {
    /// A window was answered.
    Window(Box<Seen>),
    /// The class of a window that was answered before, or will be.
    Truth(Truth),
    /// No more windows are answered.
    End,
}

/// The end of the thread that answers.
#[derive(Debug)]
pub struct Tap {
    sender: SyncSender<Heard>,
    /// Boxes that came back.
    empty: Receiver<Box<Seen>>,
    /// Windows that were passed over.
    passed: Arc<AtomicU64>,
    waits: bool,
}

/// The end of those who know classes.
#[derive(Debug, Clone)]
pub struct Truths {
    sender: SyncSender<Heard>,
    /// Labels that are under way.
    waiting: Arc<AtomicUsize>,
    waits: bool,
}

/// The end of the thread that watches.
#[derive(Debug)]
pub struct Watched {
    receiver: Receiver<Heard>,
    back: SyncSender<Box<Seen>>,
    waiting: Arc<AtomicUsize>,
    passed: Arc<AtomicU64>,
    waits: bool,
}

/// What came within a time.
#[derive(Debug)]
pub enum Next {
    /// This.
    Heard(Heard),
    /// Nothing.
    Nothing,
}

/// The ends of a tap for windows of so many values and models of so many classes. With `waits`, no window is passed
/// over.
pub fn tap(width: usize, classes: usize, waits: bool) -> (Tap, Truths, Watched) {
    // There is room for all, and the end.
    let (sender, receiver) = sync_channel(BOXES + MOST_TRUTHS + 1);
    let (back, empty) = sync_channel(BOXES);
    for _ in 0..BOXES {
        // The other end is here.
        let _ = back.send(Box::new(Seen::empty(width, classes)));
    }
    let (passed, waiting) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicUsize::new(0)));
    let truths = Truths { sender: sender.clone(), waiting: Arc::clone(&waiting), waits };
    let tap = Tap { sender, empty, passed: Arc::clone(&passed), waits };
    (tap, truths, Watched { receiver, back, waiting, passed, waits })
}

impl Seen {
    /// A box for windows of so many values and models of so many classes.
    pub fn empty(width: usize, classes: usize) -> Self {
        Self {
            id: 0,
            track: 0,
            series: "".into(),
            t: None,
            from: None,
            is_fresh: true,
            arrived: Instant::now(),
            quality: Quality::GOOD,
            status: Status::Ok,
            class: None,
            model: None,
            logits: Vec::with_capacity(classes),
            probs: Vec::with_capacity(classes),
            values: Vec::with_capacity(width),
        }
    }

    /// Becomes another window, with these values.
    pub(super) fn copy(&mut self, other: &Self, values: &[f32]) {
        let keep = |list: &mut Vec<f32>, other: &[f32]| {
            let mut list = std::mem::take(list);
            list.clear();
            list.extend_from_slice(other);
            list
        };
        *self = Self {
            series: Arc::clone(&other.series),
            model: other.model.clone(),
            logits: keep(&mut self.logits, &other.logits),
            probs: keep(&mut self.probs, &other.probs),
            values: keep(&mut self.values, values),
            ..*other
        };
    }
}

impl Tap {
    /// Hands a window on, with what became of it; `fill` adds status, class and model. Its values change places with
    /// those of a box that came back. Says whether it was handed on.
    pub fn offer(&self, due: &mut Due, fill: impl FnOnce(&mut Seen)) -> bool {
        let empty = if self.waits {
            self.empty.recv().map_err(|_| TryRecvError::Disconnected)
        } else {
            self.empty.try_recv()
        };
        let Ok(mut seen) = empty else {
            self.passed.fetch_add(1, Ordering::Relaxed);
            return false;
        };
        (seen.id, seen.track, seen.arrived) = (due.id, due.track, due.arrived);
        (seen.t, seen.from, seen.is_fresh) = (due.t, due.from, due.is_fresh);
        seen.quality = due.quality;
        if !Arc::ptr_eq(&seen.series, &due.series) {
            seen.series = Arc::clone(&due.series);
        }
        std::mem::swap(&mut seen.values, &mut due.values);
        seen.logits.clear();
        seen.probs.clear();
        fill(&mut seen);
        self.send(Heard::Window(seen))
    }

    fn send(&self, heard: Heard) -> bool {
        if self.waits {
            self.sender.send(heard).is_ok()
        } else {
            self.sender.try_send(heard).is_ok()
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.send(Heard::End);
    }
}

impl Truths {
    /// Tells a class. Says whether it was taken: not while more wait than there is room for, or where nobody watches.
    pub fn tell(&self, truth: Truth) -> bool {
        if self.waits {
            return self.sender.send(Heard::Truth(truth)).is_ok();
        }
        // Places of windows are not for labels.
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= MOST_TRUTHS {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        self.sender.try_send(Heard::Truth(truth)).is_ok()
    }
}

impl Watched {
    /// What comes next.
    pub fn next(&self, within: Duration) -> Next {
        match self.receiver.recv_timeout(within) {
            Ok(heard) => {
                if matches!(heard, Heard::Truth(_)) && !self.waits {
                    self.waiting.fetch_sub(1, Ordering::Relaxed);
                }
                Next::Heard(heard)
            }
            Err(RecvTimeoutError::Timeout) => Next::Nothing,
            Err(RecvTimeoutError::Disconnected) => Next::Heard(Heard::End),
        }
    }

    /// Gives a box back.
    pub fn give_back(&self, seen: Box<Seen>) {
        // There is room for all; nobody waits for it at the end.
        let _ = self.back.try_send(seen);
    }

    /// Windows that were passed over.
    pub fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Keep;
    use crate::live::{Place, Queue};

    #[expect(clippy::unnecessary_box_returns, reason = "a queue has them so")]
    fn due(queue: &Queue, id: u64) -> Box<Due> {
        let mut due = queue.blank(&"s".into());
        due.id = id;
        due.values.clear();
        due.values.extend([id as f32; 4]);
        due
    }

    #[test]
    fn windows_go_over_and_boxes_come_back() {
        let queue = Queue::new(Keep::Newest);
        let (tap, truths, watched) = tap(4, 2, false);
        for id in 0..5 * BOXES as u64 {
            let mut due = due(&queue, id);
            assert!(tap.offer(&mut due, |seen| seen.class = Some((1, 0.5))));
            queue.give_back(due);
            let Next::Heard(Heard::Window(seen)) = watched.next(Duration::ZERO) else {
                panic!("it was sent")
            };
            assert_eq!(
                (seen.id, seen.class, &seen.values[..]),
                (id, Some((1, 0.5)), &[id as f32; 4][..])
            );
            watched.give_back(seen);
        }
        let truth = Truth { label: "a".to_owned(), of: Place::Window(7) };
        assert!(truths.tell(truth.clone()));
        assert!(matches!(watched.next(Duration::ZERO), Next::Heard(Heard::Truth(t)) if t == truth));
        assert!(matches!(watched.next(Duration::ZERO), Next::Nothing));
        drop(tap);
        assert!(matches!(watched.next(Duration::ZERO), Next::Heard(Heard::End)));
        drop(truths);
        assert!(matches!(watched.next(Duration::ZERO), Next::Heard(Heard::End)));
    }

    #[test]
    fn a_watcher_that_stands_still_stops_nobody() {
        let queue = Queue::new(Keep::Newest);
        let (tap, truths, watched) = tap(4, 2, false);
        for id in 0..3 * BOXES as u64 {
            let sent = tap.offer(&mut due(&queue, id), |_| {});
            assert_eq!(sent, id < BOXES as u64);
        }
        assert_eq!(watched.passed(), 2 * BOXES as u64);
        let told = (0..2 * MOST_TRUTHS)
            .filter(|_| truths.tell(Truth { label: String::new(), of: Place::Window(0) }));
        assert_eq!(told.count(), MOST_TRUTHS);
        let mut heard = 0;
        while let Next::Heard(Heard::Window(_) | Heard::Truth(_)) = watched.next(Duration::ZERO) {
            heard += 1;
        }
        assert_eq!(heard, BOXES + MOST_TRUTHS);
        assert!(truths.tell(Truth { label: String::new(), of: Place::Window(0) }));
        drop(watched);
        assert!(!tap.offer(&mut due(&queue, 0), |_| {}));
    }

    #[test]
    fn a_run_that_waits_passes_no_window_over() {
        let queue = Queue::new(Keep::All);
        let (tap, truths, watched) = tap(4, 2, true);
        drop(truths);
        let n = 10 * BOXES as u64;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let tap = tap;
                for id in 0..n {
                    assert!(tap.offer(&mut due(&queue, id), |_| {}));
                }
            });
            let mut next = 0;
            loop {
                match watched.next(Duration::from_mins(1)) {
                    Next::Heard(Heard::Window(seen)) => {
                        assert_eq!(seen.id, next);
                        next += 1;
                        watched.give_back(seen);
                    }
                    Next::Heard(Heard::End) => break,
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!((next, watched.passed()), (n, 0));
        });
    }
}
