//! The thread that watches: windows as they were answered, classes as they become known, and who looks at them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::json;

use super::counters::{Counters, add};
use super::events::Events;
use super::tap::{Heard, Next, Seen, Watched};
use super::truth::{Place, Truth};

/// Looks at what is answered. All is called from one thread, in the order in which windows were answered; nothing
/// waits for it, unless the run waits for everything.
pub trait Observer: Send {
    /// A window was answered, or kept back, or was bad: its status tells.
    fn answered(&mut self, seen: &Seen) {
        let _ = seen;
    }

    /// The class of a window that was answered became known; each window once at most.
    fn labelled(&mut self, seen: &Seen, class: u32) {
        let _ = (seen, class);
    }

    /// About once a second, also while nothing comes.
    fn tick(&mut self) {}

    /// No more windows come.
    fn end(&mut self) {}

    /// Whether [`labelled`](Self::labelled) needs the windows' values, which take memory until labels come.
    fn wants_values(&self) -> bool {
        false
    }
}

/// How often [`Observer::tick`] is called.
const TICK: Duration = Duration::from_secs(1);

/// Bytes of windows that are kept until their classes are known: without their values, and with them.
const ROOM: usize = 2 << 20;
const ROOM_FOR_VALUES: usize = 32 << 20;

/// Most windows that are kept, and fewest.
const MOST_KEPT: usize = 8192;
const FEWEST_KEPT: usize = 16;

/// A label waits for so many windows: as many may be on their way when it comes.
const PATIENCE: u64 = 256;

/// Why a label is of no use.
const UNKNOWN: &str = "the model has no such class";

/// Labels that wait; one more takes the place of the oldest.
const MOST_WAITING: usize = 1024;

/// Who looks, and what they need to know of before.
pub struct Watching<'a> {
    observers: Vec<Box<dyn Observer + 'a>>,
    /// The last windows, the oldest first, and whether their class was told.
    kept: VecDeque<(Box<Seen>, bool)>,
    /// Labels, until which window they wait, and whether they found one.
    waiting: VecDeque<(Truth, u64, bool)>,
    keeps_values: bool,
    /// Windows that came.
    n: u64,
    events: &'a Events,
    counters: &'a Counters,
}

impl std::fmt::Debug for Watching<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watching").field("observers", &self.observers.len()).finish_non_exhaustive()
    }
}

impl<'a> Watching<'a> {
    /// By these observers.
    pub fn new(
        observers: Vec<Box<dyn Observer + 'a>>,
        events: &'a Events,
        counters: &'a Counters,
    ) -> Self {
        let keeps_values = observers.iter().any(|observer| observer.wants_values());
        let (kept, waiting) = (VecDeque::new(), VecDeque::new());
        Self { observers, kept, waiting, keeps_values, n: 0, events, counters }
    }

    /// Looks until no more windows come.
    pub fn run(&mut self, watched: &Watched) {
        let mut next_tick = Instant::now() + TICK;
        loop {
            let now = Instant::now();
            if now >= next_tick {
                self.observers.iter_mut().for_each(|observer| observer.tick());
                next_tick = now + TICK;
            }
            match watched.next(next_tick.saturating_duration_since(now)) {
                Next::Heard(Heard::Window(seen)) => {
                    self.window(&seen);
                    watched.give_back(seen);
                }
                Next::Heard(Heard::Truth(truth)) => self.truth(truth),
                Next::Heard(Heard::End) => break,
                Next::Nothing => {}
            }
        }
        self.end();
    }

    /// A window was answered.
    pub fn window(&mut self, seen: &Seen) {
        self.n += 1;
        self.observers.iter_mut().for_each(|observer| observer.answered(seen));
        if seen.class.is_none() {
            return;
        }
        let (mut class, mut unknown) = (None, None);
        for (truth, _, found) in &mut self.waiting {
            if truth.is_of(seen) {
                let of_truth = seen.class_of(&truth.label);
                if of_truth.is_none() && !*found {
                    unknown = Some(truth.clone());
                }
                *found = true;
                class = class.or(of_truth);
            }
        }
        if let Some(truth) = unknown {
            self.unmatched(&truth, UNKNOWN);
        }
        if let Some(class) = class {
            self.tell(seen, class);
        }
        self.keep(seen, class.is_some());
        while self.waiting.front().is_some_and(|&(_, until, _)| until <= self.n) {
            self.lose_oldest();
        }
    }

    /// A class became known.
    pub fn truth(&mut self, truth: Truth) {
        let (mut found, mut unknown) = (false, false);
        let mut kept = std::mem::take(&mut self.kept);
        for (seen, told) in &mut kept {
            if !truth.is_of(seen) {
                continue;
            }
            found = true;
            match seen.class_of(&truth.label) {
                Some(class) if !*told => {
                    *told = true;
                    self.tell(seen, class);
                }
                Some(_) => {}
                None => unknown = true,
            }
        }
        self.kept = kept;
        if unknown {
            self.unmatched(&truth, UNKNOWN);
            return;
        }
        if self.waiting.len() >= MOST_WAITING {
            self.lose_oldest();
        }
        self.waiting.push_back((truth, self.n + PATIENCE, found));
    }

    /// No more windows come.
    fn end(&mut self) {
        while !self.waiting.is_empty() {
            self.lose_oldest();
        }
        self.observers.iter_mut().for_each(|observer| observer.end());
    }

    fn tell(&mut self, seen: &Seen, class: u32) {
        add(&self.counters.labels, 1);
        self.observers.iter_mut().for_each(|observer| observer.labelled(seen, class));
    }

    /// The oldest label waits no more.
    fn lose_oldest(&mut self) {
        if let Some((truth, _, false)) = self.waiting.pop_front() {
            self.unmatched(&truth, "no window that was answered and is still known");
        }
    }

    fn unmatched(&self, truth: &Truth, reason: &str) {
        let n = &self.counters.labels_lost;
        let n = 1 + n.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.events.tell_some(n, || {
            json!({ "event": "label-unmatched", "label": truth.label, "reason": reason, "count": n })
        });
    }

    /// Keeps a window until its class is known.
    fn keep(&mut self, seen: &Seen, told: bool) {
        let values = if self.keeps_values { &seen.values[..] } else { &[] };
        let bytes = size_of::<Seen>() + 4 * (2 * seen.probs.len() + values.len());
        let room = if self.keeps_values { ROOM_FOR_VALUES } else { ROOM };
        let most = (room / bytes).clamp(FEWEST_KEPT, MOST_KEPT);
        let mut place = None;
        while self.kept.len() >= most {
            place = self.kept.pop_front();
        }
        let mut place = place.map_or_else(|| Box::new(Seen::empty(0, 0)), |(place, _)| place);
        place.copy(seen, values);
        self.kept.push_back((place, told));
    }
}

impl Truth {
    /// Whether it is of this window.
    fn is_of(&self, seen: &Seen) -> bool {
        match &self.of {
            Place::Window(id) => *id == seen.id,
            Place::Span { series, from, to } => {
                let first = seen.from.or(seen.t);
                (series.is_empty() || **series == *seen.series)
                    && first.is_some_and(|first| first >= *from)
                    && seen.t.is_some_and(|last| last <= *to)
            }
        }
    }
}

impl Seen {
    /// The number of a class by its name, of those that the window's model knows.
    fn class_of(&self, name: &str) -> Option<u32> {
        let classes = &self.model.as_ref()?.classes;
        classes.iter().position(|class| class == name).map(|class| class as u32)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::super::answer::{Label, State};
    use super::*;

    /// Notes what it is told.
    #[derive(Default)]
    struct Notes(Arc<Mutex<Vec<(u64, u32)>>>);

    impl Observer for Notes {
        fn labelled(&mut self, seen: &Seen, class: u32) {
            self.0.lock().expect("free").push((seen.id, class));
        }
    }

    fn seen(id: u64) -> Seen {
        let mut seen = Seen::empty(0, 2);
        let classes = ["a", "b"].map(str::to_owned).to_vec();
        let state = State::default();
        let label = Label { hash: String::new(), round: 0, state, classes, profile: None };
        (seen.id, seen.class, seen.model) = (id, Some((0, 0.5)), Some(Arc::new(label)));
        (seen.from, seen.t) = (Some(10.0 * id as f64), Some(10.0 * id as f64 + 9.0));
        seen
    }

    fn of(label: &str, of: Place) -> Truth {
        Truth { label: label.to_owned(), of }
    }

    #[test]
    fn labels_find_their_windows_before_and_after_and_each_once() {
        let (events, _receiver) = Events::new();
        let counters = Counters::default();
        let notes = Notes::default();
        let found = Arc::clone(&notes.0);
        let mut watching = Watching::new(vec![Box::new(notes)], &events, &counters);
        for id in 0..5 {
            watching.window(&seen(id));
        }
        watching.truth(of("b", Place::Window(3)));
        watching.truth(of("a", Place::Window(3)));
        watching.truth(of("a", Place::Window(6)));
        let span = |series: &str, from, to| Place::Span { series: series.to_owned(), from, to };
        watching.truth(of("b", span("", 10.0, 29.0)));
        watching.truth(of("b", span("other", 0.0, 9.0)));
        watching.truth(of("c", Place::Window(0)));
        watching.truth(of("c", Place::Window(7)));
        for id in 5..8 {
            watching.window(&seen(id));
        }
        let expected = [(3, 1), (1, 1), (2, 1), (6, 0)];
        assert_eq!(*found.lock().expect("free"), expected);
        watching.end();
        let lost = counters.labels_lost.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(lost, 3, "an unknown class twice, and an unknown series");
    }

    #[test]
    fn windows_and_labels_are_kept_in_bounded_memory() {
        let (events, _receiver) = Events::new();
        let counters = Counters::default();
        let mut watching = Watching::new(Vec::new(), &events, &counters);
        for id in 0..3 * MOST_KEPT as u64 {
            watching.window(&seen(id));
            watching.truth(of("a", Place::Window(1 << 40)));
        }
        assert!(watching.kept.len() <= MOST_KEPT && watching.waiting.len() <= MOST_WAITING);
        let newest = watching.kept.back().expect("some").0.id;
        assert_eq!(newest, 3 * MOST_KEPT as u64 - 1);
    }
}
